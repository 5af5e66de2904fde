# SPDX-License-Identifier: Apache-2.0
"""A NovaLink REST server for one machine, for tests where there is no Power hardware.

    with NovaLinkSimulator(lpars=2) as sim:
        adapter = sim.adapter()

It listens on loopback only. Real, unmodified pypowervm talks to it over HTTP.
"""

from powervm_fileio_connector.simulator.faults import Busy500
from powervm_fileio_connector.simulator.faults import Busy503
from powervm_fileio_connector.simulator.faults import DropAfterApply
from powervm_fileio_connector.simulator.faults import DropBeforeApply
from powervm_fileio_connector.simulator.faults import ExpiredSession
from powervm_fileio_connector.simulator.faults import Fault
from powervm_fileio_connector.simulator.faults import InternalError500
from powervm_fileio_connector.simulator.faults import Latency
from powervm_fileio_connector.simulator.faults import LogonRefused
from powervm_fileio_connector.simulator.faults import OmitLUA
from powervm_fileio_connector.simulator.faults import RefuseConnection
from powervm_fileio_connector.simulator.faults import Restart
from powervm_fileio_connector.simulator.faults import Slow
from powervm_fileio_connector.simulator.faults import StaleEtag412
from powervm_fileio_connector.simulator.faults import TruncatedAnswer
from powervm_fileio_connector.simulator.novalink import NovaLinkSimulator
from powervm_fileio_connector.simulator.process import NovaLinkProcess

__all__ = [
    'Busy500', 'Busy503', 'DropAfterApply', 'DropBeforeApply', 'ExpiredSession', 'Fault',
    'InternalError500', 'Latency', 'LogonRefused', 'NovaLinkProcess', 'NovaLinkSimulator',
    'OmitLUA', 'RefuseConnection', 'Restart', 'Slow', 'StaleEtag412', 'TruncatedAnswer',
]
