# SPDX-License-Identifier: Apache-2.0
"""A NovaLink REST server for one machine, for tests where there is no Power hardware.

    with NovaLinkSimulator(lpars=2) as sim:
        adapter = sim.adapter()

It listens on loopback only. Real, unmodified pypowervm talks to it over HTTP.
"""

from powervm_fileio_connector.simulator.novalink import NovaLinkSimulator

__all__ = ['NovaLinkSimulator']
