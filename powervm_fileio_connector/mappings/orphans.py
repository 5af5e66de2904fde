# SPDX-License-Identifier: Apache-2.0
"""The edit that removes what LPARs that are gone have left, and nothing that anybody may use."""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Collection
from collections.abc import Mapping
from typing import ClassVar

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings.edit import Change
from powervm_fileio_connector.mappings.edit import NotConfirmed
from powervm_fileio_connector.mappings.edit import Outcome
from powervm_fileio_connector.mappings.edit import keys_of
from powervm_fileio_connector.mappings.record import MappingRecord
from powervm_fileio_connector.mappings.table import LPARsNeeded
from powervm_fileio_connector.mappings.table import MappingTable

_NOBODY = '00000000-0000-0000-0000-000000000000'


class OrphanState(enum.Enum):
    """What is known of the client of a mapping."""

    HAS_CLIENT = 'it has a client adapter, or waits for any client'
    IN_USE = 'its client adapter is just being made: its LPAR is there'
    DOUBTFUL = 'it has no client adapter, but an LPAR has its id, or its client is an I/O server'
    GONE = 'its LPAR is gone'


def orphan_state(record: MappingRecord, lpars: Mapping[str, int]) -> OrphanState:
    """Return whether a mapping has lost its client.

    :param lpars: the ids of all LPARs, by their UUIDs in capitals
    """
    if not record.is_orphan:
        return OrphanState.HAS_CLIENT
    if record.is_vios_client:
        return OrphanState.DOUBTFUL
    if record.lpar_uuid is not None:
        return OrphanState.IN_USE if record.lpar_uuid in lpars else OrphanState.GONE
    # Ids are reused, so that an LPAR which has this one need not be the client.
    return OrphanState.DOUBTFUL if record.lpar_id in lpars.values() else OrphanState.GONE


def incomplete_list(records: Collection[MappingRecord], lpars: Mapping[str, int]) -> str | None:
    """Return why NovaLink cannot have listed all LPARs; None: nothing speaks against it.

    :param lpars: the ids of those listed, by their UUIDs in capitals
    """
    if not lpars:
        return 'NovaLink lists no LPAR'
    unlisted = _unlisted_lpar(records, lpars)
    return unlisted and f'NovaLink does not list LPAR {unlisted}, which has a disk'


def _unlisted_lpar(records: Collection[MappingRecord], lpars: Mapping[str, int]) -> str | None:
    """Return an LPAR that has a client adapter but is not among those listed; None: there is none.

    A list that leaves out an LPAR, since the user may not see it, tells of no LPAR that it is gone.
    Where a mapping has no link, the id of its client decides.
    """
    ids = set(lpars.values())
    for record in records:
        if record.slot is None or record.is_vios_client:
            continue
        if record.lpar_uuid is not None and record.lpar_uuid not in lpars:
            return record.lpar_uuid
        if record.lpar_uuid is None and record.lpar_id is not None and record.lpar_id not in ids:
            return f'with id {record.lpar_id}'
    return None


@dataclasses.dataclass(frozen=True)
class RemoveOrphans:
    """Remove mappings of files that have lost their client.

    The LPARs are listed after the table was read, and each mapping is judged anew: what is no
    orphan any more stays, and so does one whose LPAR is there, listed or not.

    :ivar orphans: as they were shown; those that have become doubtful stay
    :ivar agreed: doubtful ones that the user agreed to remove, having seen which LPAR has the id
    """

    orphans: tuple[MappingRecord, ...]
    agreed: tuple[MappingRecord, ...] = ()

    open_choices: ClassVar[int] = 0

    @property
    def paths(self) -> tuple[str, ...]:
        """The orphans' files."""
        return tuple(record.path for record in (*self.orphans, *self.agreed) if record.path)

    @property
    def keys(self) -> frozenset[str]:
        """The orphans' paths, so that other edits of these files wait for this one."""
        return keys_of(self.paths)

    @property
    def lpar_uuid(self) -> str:
        """An LPAR that is gone."""
        return next((record.lpar_uuid for record in self.orphans if record.lpar_uuid), _NOBODY)

    def apply(self, table: MappingTable, may_defer: bool = True) -> Change:
        """Remove those that still are what they were shown to be.

        :raises MappingFailed: the list of LPARs is empty or incomplete
        :raises LPARsNeeded: see there
        :raises LPARIdNeeded: see there
        """
        lpars = table.lpars
        if lpars is None:
            raise LPARsNeeded
        self._require_complete(table, lpars)
        found = [entry for entry in table.of_paths(self.paths)
                 if self._is_removable(entry.record, lpars, table)]
        if any(entry.place is None for entry in found):
            return Change(Outcome.DEFERRED)
        for entry in found:
            table.remove(entry)
        outcome = Outcome.CHANGED if found else Outcome.UNCHANGED
        return Change(outcome, tuple(entry.record for entry in found))

    def result(self, table: MappingTable, change: Change) -> tuple[MappingRecord, ...]:
        """Return the orphans that the server's answer no longer shows.

        :raises NotConfirmed: it still shows one
        """
        gone = set(change.records)
        for entry in table.of_paths([record.path or '' for record in gone]):
            if entry.record in gone:
                raise NotConfirmed(f'the answer still shows the orphan of {entry.record.path}')
        return change.records

    @functools.cached_property
    def _agreed(self) -> frozenset[MappingRecord]:
        return frozenset(self.agreed)

    @functools.cached_property
    def _wanted(self) -> frozenset[MappingRecord]:
        return self._agreed.union(self.orphans)

    def _is_removable(self, record: MappingRecord, lpars: Mapping[str, int],
                      table: MappingTable) -> bool:
        state = orphan_state(record, lpars)
        if state is OrphanState.DOUBTFUL:
            return record in self._agreed
        if state is not OrphanState.GONE or record not in self._wanted:
            return False
        # A list that leaves the LPAR out is no proof: the server is asked for that very one.
        return record.lpar_uuid is None or table.lpar_id(record.lpar_uuid) is None

    def _require_complete(self, table: MappingTable, lpars: Mapping[str, int]) -> None:
        reason = incomplete_list([entry.record for entry in table.entries()], lpars)
        if reason is not None:
            raise exceptions.MappingFailed(
                reason=f'{reason}, so that nothing tells which LPARs are gone',
                path=next(iter(self.paths), None),
                remedy='Use a NovaLink user that may see all LPARs.')
