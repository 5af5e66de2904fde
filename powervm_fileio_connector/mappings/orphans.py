# SPDX-License-Identifier: Apache-2.0
"""Removing orphans: an edit that makes sure of each of them in the document that it changes."""

from __future__ import annotations

import dataclasses

from powervm_fileio_connector.mappings.edit import Change
from powervm_fileio_connector.mappings.edit import NotConfirmed
from powervm_fileio_connector.mappings.edit import Outcome
from powervm_fileio_connector.mappings.edit import keys_of
from powervm_fileio_connector.mappings.record import MappingRecord
from powervm_fileio_connector.mappings.table import MappingTable

_NOBODY = '00000000-0000-0000-0000-000000000000'


@dataclasses.dataclass(frozen=True)
class RemoveOrphans:
    """Remove mappings of files that have lost their client.

    What is no orphan any more when the document is written stays, and so does what looks like one
    but links to an LPAR that is there: that LPAR may just be being made.

    :ivar orphans: as they were seen and shown
    :ivar live_lpars: UUIDs of the LPARs that are there, in capitals
    """

    orphans: tuple[MappingRecord, ...]
    live_lpars: frozenset[str]

    @property
    def paths(self) -> tuple[str, ...]:
        """The orphans' files."""
        return tuple(orphan.path for orphan in self.orphans if orphan.path)

    @property
    def keys(self) -> frozenset[str]:
        """What this edit is about, so that others about the same files wait for it."""
        return keys_of(self.paths)

    @property
    def lpar_uuid(self) -> str:
        """Whom the writer asks about when NovaLink refuses: an LPAR that is gone."""
        return self.orphans[0].lpar_uuid or _NOBODY

    def apply(self, table: MappingTable, may_defer: bool = True) -> Change:
        """Remove those that still are what they were seen to be."""
        found = [entry for entry in table.of_paths(self.paths)
                 if self._is_one(entry.record)]
        for entry in found:
            table.remove(entry)
        outcome = Outcome.CHANGED if found else Outcome.UNCHANGED
        return Change(outcome, tuple(entry.record for entry in found))

    def result(self, table: MappingTable, change: Change) -> tuple[MappingRecord, ...]:
        """Return the orphans that the server's answer no longer shows.

        :raises NotConfirmed: it still shows one
        """
        for entry in table.of_paths([record.path or '' for record in change.records]):
            if entry.record in change.records:
                raise NotConfirmed(f'the answer still shows the orphan of {entry.record.path}')
        return change.records

    def _is_one(self, record: MappingRecord) -> bool:
        return (record.is_orphan and record in self.orphans
                and record.lpar_uuid not in self.live_lpars)
