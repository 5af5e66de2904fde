# SPDX-License-Identifier: Apache-2.0
"""A NovaLink REST server for one machine, for tests where there is no Power hardware.

    with NovaLinkSimulator(lpars=2) as sim:
        adapter = sim.adapter()

It listens on loopback only. Real, unmodified pypowervm talks to it over HTTP.
"""

from .faults import Busy500
from .faults import Busy503
from .faults import DropAfterApply
from .faults import DropBeforeApply
from .faults import ExpiredSession
from .faults import Fault
from .faults import InternalError500
from .faults import Latency
from .faults import LogonRefused
from .faults import OmitLUA
from .faults import RefuseConnection
from .faults import Restart
from .faults import Slow
from .faults import StaleEtag412
from .faults import TruncatedAnswer
from .novalink import NovaLinkSimulator
from .process import NovaLinkProcess

__all__ = [
    'Busy500', 'Busy503', 'DropAfterApply', 'DropBeforeApply', 'ExpiredSession', 'Fault',
    'InternalError500', 'Latency', 'LogonRefused', 'NovaLinkProcess', 'NovaLinkSimulator',
    'OmitLUA', 'RefuseConnection', 'Restart', 'Slow', 'StaleEtag412', 'TruncatedAnswer',
]
