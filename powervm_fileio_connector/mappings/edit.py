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
from typing import TypeVar

from powervm_fileio_connector.mappings.record import MappingRecord
from powervm_fileio_connector.mappings.record import normalised
from powervm_fileio_connector.mappings.search import names_of
from powervm_fileio_connector.mappings.table import MappingTable
from powervm_fileio_connector.volume import UUID

_Item = TypeVar('_Item', bound=Any)


class Outcome(enum.Enum):
    """What applying an edit did to the table."""

    CHANGED = 'the table was changed'
    UNCHANGED = 'nothing is to be done'
    DEFERRED = 'an edit before it in the same table has to be carried out first'


@dataclasses.dataclass(frozen=True)
class Change:
    """What applying an edit did, and to which mappings.

    :ivar is_alone: no other mapping of the file is left, so that one in the answer is the edit's
    """

    outcome: Outcome
    records: tuple[MappingRecord, ...] = ()
    makes_adapters: bool = False
    is_alone: bool = False


class Edit(Protocol):
    """A change of mappings as a value, so that equal edits do equal things."""

    @property
    def keys(self) -> frozenset[str]:
        """The volume's paths and ids; edits that share one are carried out in their order."""

    @property
    def lpar_uuid(self) -> str:
        """The LPAR whose mappings change, and whose state may explain why NovaLink refuses."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The files whose mappings change, as far as they are known."""

    @property
    def open_choices(self) -> int:
        """How many of the slot and the LUA of a new mapping it leaves open."""

    def apply(self, table: MappingTable, may_defer: bool = True) -> Change:
        """Change a table in memory, or find that nothing is to be done.

        :param may_defer: DEFERRED may be the outcome, since it will be applied to a later table
        :raises FileIOConnectorError: it cannot be done; the table is as it was
        :raises LPARIdNeeded: see there; the table is as it was
        :raises LPARsNeeded: see there; the table is as it was
        """

    def result(self, table: MappingTable, change: Change) -> Any:
        """Return the result of a change, as the server's answer shows it.

        :raises NotConfirmed: the answer does not show it
        :raises LPARIdNeeded: see there
        """


class NotConfirmed(Exception):
    """The answer does not show what was asked for; a fresh read decides."""


def in_order(batch: Iterable[_Item]) -> list[_Item]:
    """Return the items of a batch in the order in which their edits are to be applied.

    The more of the place of a mapping they leave open the later, so that they take nothing that
    another edit names. Edits that share a key keep their order.
    """
    ordered = [*batch]
    if len({item.edit.open_choices for item in ordered}) < 2:
        return ordered
    for least in (1, 2):
        first: list[_Item] = []
        last: list[_Item] = []
        keys: set[str] = set()
        for item in reversed(ordered):
            edit = item.edit
            if edit.open_choices >= least and keys.isdisjoint(edit.keys):
                last.append(item)
            else:
                first.append(item)
                keys |= edit.keys
        ordered = [*reversed(first), *reversed(last)]
    return ordered


def belongs_to(record: MappingRecord, lpar_uuid: str, table: MappingTable) -> bool:
    """Whether a mapping is an LPAR's, by its link or else by the id of its adapters.

    :raises LPARIdNeeded: it has no link, and nothing in the table tells the LPAR's id
    """
    if record.is_wild_card:
        return False
    if record.lpar_uuid is not None:
        return record.lpar_uuid == lpar_uuid.upper()
    if record.is_orphan or record.lpar_id is None:
        return False
    return record.lpar_id == table.lpar_id(lpar_uuid)


def attached_to(table: MappingTable, lpar_uuid: str) -> list[MappingRecord]:
    """Return an LPAR's mappings, of every kind of storage.

    :raises LPARIdNeeded: see :func:`belongs_to`
    """
    records = (entry.record for entry in table.entries())
    return [record for record in records if belongs_to(record, lpar_uuid, table)]


def is_left_over(record: MappingRecord, table: MappingTable) -> bool:
    """Whether a mapping has lost its client, and may be removed.

    One without client adapter whose link names an LPAR that lives, or an I/O server, is just being
    made: it is in use.

    :raises LPARIdNeeded: nothing tells whether the LPAR lives
    """
    if not record.is_orphan or record.is_vios_client:
        return False
    return record.lpar_uuid is None or (
        all(entry.record.slot is None for entry in table.of_lpar(record.lpar_uuid))
        and table.lpar_id(record.lpar_uuid) is None)


def is_other_volume(record: MappingRecord, tag: str | None) -> bool:
    """Whether a mapping is tagged as another volume than the one with this tag."""
    return tag is not None and record.tag not in (None, tag)


def unique_names(files: Iterable[str]) -> set[str]:
    """Return the names of files that one volume alone can have: those that a UUID is part of.

    Cinder names files so, unless ``volume_name_template`` is set otherwise. A name such as
    ``disk1`` says nothing about what a path that leads nowhere may have led to.

    :param files: their paths, normalised
    """
    return {name for name in names_of(files) if UUID.search(name)}


def keys_of(paths: Iterable[str], *more: str | None) -> frozenset[str]:
    """The keys of a volume with these paths, and ids of which those that are None are unknown."""
    return frozenset({normalised(path) for path in paths} | {key.lower() for key in more if key})


def file_udid(path: str) -> str:
    """The UDID that a file will get, as recordings show: the MD5 name-based UUID of its path."""
    digest = hashlib.md5(path.encode('utf-8', 'surrogateescape'), usedforsecurity=False).digest()
    return str(uuid.UUID(bytes=digest, version=3))
