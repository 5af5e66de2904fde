# SPDX-License-Identifier: Apache-2.0
"""Removing orphans: an edit that makes sure of each of them in the document that it changes."""

from __future__ import annotations

import dataclasses
import os

from powervm_fileio_connector.document import Document
from powervm_fileio_connector.document import record_of
from powervm_fileio_connector.mappings import Change
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.mappings import NotShown
from powervm_fileio_connector.mappings import Outcome

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
    def keys(self) -> frozenset[str]:
        """What this edit is about, so that others about the same files wait for it."""
        return frozenset(os.path.basename(orphan.path or '') for orphan in self.orphans)

    @property
    def lpar_uuid(self) -> str:
        """Whom the writer asks about when NovaLink refuses: an LPAR that is gone."""
        return self.orphans[0].lpar_uuid or _NOBODY

    def apply(self, document: Document, is_last_chance: bool = False) -> Change:
        """Remove those that still are what they were seen to be."""
        found = [mapping for mapping in document.of_paths([one.path or '' for one in self.orphans])
                 if self._is_one(record_of(mapping))]
        if not found:
            return Change(Outcome.UNCHANGED)
        removed = tuple(record_of(mapping) for mapping in found)
        for mapping in found:
            document.remove(mapping)
        return Change(Outcome.CHANGED, removed)

    def result(self, document: Document, change: Change) -> tuple[MappingRecord, ...]:
        """Return the orphans that the server's answer no longer shows.

        :raises NotShown: it still shows one
        """
        for mapping in document.of_paths([record.path or '' for record in change.records]):
            if record_of(mapping) in change.records:
                raise NotShown(f'the answer still shows the orphan of {record_of(mapping).path}')
        return change.records

    def _is_one(self, record: MappingRecord) -> bool:
        return (record.is_orphan and record in self.orphans
                and record.lpar_uuid not in self.live_lpars)
