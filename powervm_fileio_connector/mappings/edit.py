# SPDX-License-Identifier: Apache-2.0
"""What edits of a VIOS document have in common: their form, their outcomes, whose a mapping is."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import uuid
from collections.abc import Iterable
from typing import Any
from typing import Protocol

from powervm_fileio_connector.mappings.record import MappingRecord
from powervm_fileio_connector.mappings.record import normalised
from powervm_fileio_connector.mappings.table import MappingTable


class Outcome(enum.Enum):
    """What applying an edit did to the table."""

    CHANGED = 'the document was changed'
    UNCHANGED = 'nothing is to be done'
    DEFERRED = 'an edit before it in the same document has to be carried out first'


@dataclasses.dataclass(frozen=True)
class Change:
    """What applying an edit did, and to which mappings."""

    outcome: Outcome
    records: tuple[MappingRecord, ...] = ()
    makes_adapters: bool = False


class Edit(Protocol):
    """What a writer carries out: a value, so that equal edits do equal things."""

    @property
    def keys(self) -> frozenset[str]:
        """What it is about; edits that share one are carried out in their order."""

    @property
    def lpar_uuid(self) -> str:
        """Whose mappings it is about, and who is looked at when NovaLink refuses."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that it is about, as far as they are known."""

    def apply(self, table: MappingTable, may_defer: bool = True) -> Change:
        """Change a document in memory, or find that nothing is to be done.

        :param may_defer: whether DEFERRED may be the outcome: the edit is applied again to a
            later table
        :raises FileIOConnectorError: it cannot be done; the document is as it was
        :raises LPARIdNeeded: see there
        """

    def result(self, table: MappingTable, change: Change) -> Any:
        """Return what came of a change, as the server's answer shows it.

        :raises NotConfirmed: the answer does not show it
        """


class LPARIdNeeded(Exception):
    """Some mappings show only the id of their LPAR, and the document does not tell ours.

    Whoever applies the edit asks the server, notes it in ``table.lpar_ids`` (None: there is no
    such LPAR), and applies the edit again.
    """

    def __init__(self, lpar_uuid: str) -> None:
        super().__init__(lpar_uuid)
        self.lpar_uuid = lpar_uuid


class NotConfirmed(Exception):
    """The answer does not show what was asked for; a fresh read decides."""


def belongs_to(record: MappingRecord, lpar_uuid: str, table: MappingTable) -> bool:
    """Whether a mapping is an LPAR's, by its link or else by the id of its adapters.

    :raises LPARIdNeeded: it has no link, and nothing in the document tells the LPAR's id
    """
    if record.is_wild_card:
        return False
    if record.lpar_uuid is not None:
        return record.lpar_uuid == lpar_uuid.upper()
    if record.is_orphan or record.lpar_id is None:
        return False
    try:
        return record.lpar_id == table.lpar_id(lpar_uuid)
    except KeyError:
        raise LPARIdNeeded(lpar_uuid) from None


def keys_of(paths: Iterable[str], *more: str | None) -> frozenset[str]:
    return frozenset({normalised(path) for path in paths} | {key.lower() for key in more if key})


def file_udid(path: str) -> str:
    """The UDID that a file will get, as recordings show: the MD5 name-based UUID of its path."""
    digest = hashlib.md5(path.encode('utf-8', 'surrogateescape'), usedforsecurity=False).digest()
    return str(uuid.UUID(bytes=digest, version=3))
