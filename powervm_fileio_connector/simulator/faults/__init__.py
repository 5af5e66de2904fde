# SPDX-License-Identifier: Apache-2.0
"""Faults: what can go wrong, as small named objects that combine."""

from .active import FaultSet
from .base import Fault
from .documents import EtagOnlyIn
from .documents import LPARLinksWithoutUUID
from .documents import LPARListCutShort
from .documents import MixedCaseUUIDs
from .documents import NoLPARLinks
from .documents import NoSectionMetadata
from .documents import NotShown
from .documents import OmitLUA
from .documents import ProcessingInstructions
from .kinds import Busy500
from .kinds import Busy503
from .kinds import DropAfterApply
from .kinds import DropBeforeApply
from .kinds import ExpiredSession
from .kinds import Forbidden403
from .kinds import HeldPost
from .kinds import InternalError500
from .kinds import Latency
from .kinds import LogonRefused
from .kinds import RefuseConnection
from .kinds import Restart
from .kinds import Slow
from .kinds import StaleEtag412
from .kinds import Trickle
from .kinds import TruncatedAnswer
from .known import KNOWN
from .known import from_json
from .known import to_json

__all__ = [
    'KNOWN',
    'Busy500',
    'Busy503',
    'DropAfterApply',
    'DropBeforeApply',
    'EtagOnlyIn',
    'ExpiredSession',
    'Fault',
    'FaultSet',
    'Forbidden403',
    'HeldPost',
    'InternalError500',
    'LPARLinksWithoutUUID',
    'LPARListCutShort',
    'Latency',
    'LogonRefused',
    'MixedCaseUUIDs',
    'NoLPARLinks',
    'NoSectionMetadata',
    'NotShown',
    'OmitLUA',
    'ProcessingInstructions',
    'RefuseConnection',
    'Restart',
    'Slow',
    'StaleEtag412',
    'Trickle',
    'TruncatedAnswer',
    'from_json',
    'to_json',
]
