# SPDX-License-Identifier: Apache-2.0
"""A NovaLink REST server for one machine, for tests where there is no Power hardware.

    with NovaLinkSimulator(lpars=2) as sim:
        adapter = sim.adapter()

It listens on loopback only. Real, unmodified pypowervm talks to it over HTTP. A name is imported
when it is first used (PEP 562), since pytest imports this package in every run.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from .faults import Busy500
    from .faults import Busy503
    from .faults import DropAfterApply
    from .faults import DropBeforeApply
    from .faults import EtagOnlyIn
    from .faults import ExpiredSession
    from .faults import Fault
    from .faults import Forbidden403
    from .faults import HeldPost
    from .faults import InternalError500
    from .faults import Latency
    from .faults import LogonRefused
    from .faults import LPARLinksWithoutUUID
    from .faults import LPARListCutShort
    from .faults import MixedCaseUUIDs
    from .faults import NoLPARLinks
    from .faults import NoSectionMetadata
    from .faults import NotShown
    from .faults import OmitLUA
    from .faults import ProcessingInstructions
    from .faults import RefuseConnection
    from .faults import Restart
    from .faults import Slow
    from .faults import StaleEtag412
    from .faults import Trickle
    from .faults import TruncatedAnswer
    from .novalink import NovaLinkSimulator
    from .process import NovaLinkProcess
    from .rules import Refused

__all__ = [
    'Busy500', 'Busy503', 'DropAfterApply', 'DropBeforeApply', 'EtagOnlyIn', 'ExpiredSession',
    'Fault', 'Forbidden403', 'HeldPost', 'InternalError500', 'LPARLinksWithoutUUID',
    'LPARListCutShort', 'Latency', 'LogonRefused', 'MixedCaseUUIDs', 'NoLPARLinks',
    'NoSectionMetadata', 'NotShown', 'NovaLinkProcess', 'NovaLinkSimulator', 'OmitLUA',
    'ProcessingInstructions', 'RefuseConnection', 'Refused', 'Restart', 'Slow', 'StaleEtag412',
    'Trickle', 'TruncatedAnswer',
]

_HOME = {'NovaLinkProcess': 'process', 'NovaLinkSimulator': 'novalink', 'Refused': 'rules'}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = getattr(importlib.import_module(f'.{_HOME.get(name, "faults")}', __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
