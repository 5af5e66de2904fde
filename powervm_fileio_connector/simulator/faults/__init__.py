# SPDX-License-Identifier: Apache-2.0
"""Faults: what can go wrong, as small named objects that combine."""

from .active import FaultSet
from .kinds import KNOWN
from .kinds import Busy500
from .kinds import Busy503
from .kinds import DropAfterApply
from .kinds import DropBeforeApply
from .kinds import ExpiredSession
from .kinds import Fault
from .kinds import InternalError500
from .kinds import Latency
from .kinds import LogonRefused
from .kinds import OmitLUA
from .kinds import RefuseConnection
from .kinds import Restart
from .kinds import Slow
from .kinds import StaleEtag412
from .kinds import TruncatedAnswer
from .kinds import from_json
from .kinds import to_json

__all__ = [
    'KNOWN', 'Busy500', 'Busy503', 'DropAfterApply', 'DropBeforeApply', 'ExpiredSession', 'Fault',
    'FaultSet', 'InternalError500', 'Latency', 'LogonRefused', 'OmitLUA', 'RefuseConnection',
    'Restart', 'Slow', 'StaleEtag412', 'TruncatedAnswer', 'from_json', 'to_json',
]
