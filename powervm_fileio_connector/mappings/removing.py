# SPDX-License-Identifier: Apache-2.0
"""The edit that removes a file's mappings to an LPAR, and the question which they are."""

from __future__ import annotations

import dataclasses
import functools
import posixpath
from collections.abc import Callable
from collections.abc import Iterable

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings.edit import Change
from powervm_fileio_connector.mappings.edit import NotConfirmed
from powervm_fileio_connector.mappings.edit import Outcome
from powervm_fileio_connector.mappings.edit import belongs_to
from powervm_fileio_connector.mappings.edit import keys_of
from powervm_fileio_connector.mappings.record import MappingRecord
from powervm_fileio_connector.mappings.record import normalised
from powervm_fileio_connector.mappings.table import MappingEntry
from powervm_fileio_connector.mappings.table import MappingTable


@dataclasses.dataclass(frozen=True)
class RemoveMapping:
    """Remove a file's mappings to an LPAR, and the orphans of the file.

    What tells the volume is tried in this order, and the first that finds something counts: UDID,
    each of ``paths``, tag, file name. Mappings of other LPARs, wild cards and other kinds of
    storage are never touched. None found is no error: the volume is detached.

    :ivar spellings: paths that are the same file as the one that is found first
    :ivar file_name: for the case that the file's place is not known for sure: a mapping of a file
        of that name counts if it lies in a directory called ``export_hash``
    """

    lpar_uuid: str
    paths: tuple[str, ...] = ()
    spellings: tuple[str, ...] = ()
    udid: str | None = None
    tag: str | None = None
    file_name: str | None = None
    export_hash: str | None = None

    @property
    def keys(self) -> frozenset[str]:
        """What this edit is about; edits that share one are carried out in their order."""
        return keys_of((*self.paths, *self.spellings), self.udid, self.tag)

    def apply(self, table: MappingTable, may_defer: bool = True) -> Change:
        """Remove the mappings.

        :raises MappingFailed: only the file name is known, and it fits mappings of other places
        :raises LPARIdNeeded: see there
        """
        found = self.matches(table)
        paths = {entry.record.path for entry in found if entry.record.path}
        if found:
            # The same file may be mapped a second time, under another spelling.
            found += [entry for entry in table.of_paths({*paths, *self.spellings})
                      if entry not in found
                      and belongs_to(entry.record, self.lpar_uuid, table)]
        found += [entry for entry in table.of_paths({*paths, *self.paths, *self.spellings})
                  if entry.record.is_orphan and entry not in found]
        if not found:
            return Change(Outcome.UNCHANGED)
        if any(entry in table.added for entry in found):
            return Change(Outcome.DEFERRED)
        for entry in found:
            table.remove(entry)
        return Change(Outcome.CHANGED, tuple(entry.record for entry in found))

    def result(self, table: MappingTable, change: Change) -> tuple[MappingRecord, ...]:
        """Return the mappings that the server's answer no longer shows; empty: they were gone.

        :raises NotConfirmed: it still shows one
        """
        paths = [record.path for record in change.records if record.path]
        for entry in table.of_paths(paths):
            record = entry.record
            if record.is_orphan or belongs_to(record, self.lpar_uuid, table):
                raise NotConfirmed(f'the answer still shows {record.path} mapped in slot '
                                   f'{record.slot}')
        return change.records

    def matches(self, table: MappingTable) -> list[MappingEntry]:
        """Return the LPAR's mappings of the volume; nothing is changed.

        :raises MappingFailed: only the file name is known, and it fits mappings of other places
        :raises LPARIdNeeded: see there
        """
        mine = _file_mappings(table, self.lpar_uuid)
        for is_it in self._criteria():
            found = [entry for entry in mine if is_it(entry.record)
                     and belongs_to(entry.record, self.lpar_uuid, table)]
            if found:
                return found
        return self._find_by_name(table, mine) if self.file_name else []

    def _criteria(self) -> Iterable[Callable[[MappingRecord], bool]]:
        if self.udid is not None:
            udid = self.udid.lower()
            yield lambda record: record.udid is not None and record.udid.lower() == udid
        for path in map(normalised, self.paths):
            yield functools.partial(_is_of_path, path)
        if self.tag is not None:
            yield lambda record: record.tag == self.tag

    def _find_by_name(self, table: MappingTable, mine: list[MappingEntry]) -> list[MappingEntry]:
        named = [entry for entry in mine
                 if posixpath.basename(_path_of(entry.record)) == self.file_name
                 # One that is tagged as another volume is another volume.
                 and (self.tag is None or entry.record.tag in (None, self.tag))
                 and belongs_to(entry.record, self.lpar_uuid, table)]
        if not named:
            return []
        paths = sorted(_path_of(entry.record) for entry in named)
        if len(named) == 1 and (
                posixpath.basename(posixpath.dirname(paths[0])) == self.export_hash):
            return named
        raise exceptions.MappingFailed(
            reason='the volume is known by its file name only, which fits ' + ' and '.join(paths),
            path=paths[0], remedy='Detach it with the device_info that attaching it returned, or '
            'once the share is mounted again.')


def find(table: MappingTable, lpar_uuid: str, paths: Iterable[str],
         tag: str | None = None) -> MappingRecord | None:
    """Return an LPAR's mapping of a file, by path or else by tag; None: there is none.

    :raises LPARIdNeeded: see there
    """
    mine = [entry.record for entry in _file_mappings(table, lpar_uuid)
            if belongs_to(entry.record, lpar_uuid, table)]
    wanted = {normalised(path) for path in paths}
    by_path = [record for record in mine if _path_of(record) in wanted]
    by_tag = [record for record in mine if tag is not None and record.tag == tag]
    return next(iter(by_path + by_tag), None)


def _file_mappings(table: MappingTable, lpar_uuid: str) -> list[MappingEntry]:
    """The mappings of files that are, or may turn out to be, an LPAR's."""
    return [entry for entry in (*table.of_lpar(lpar_uuid), *table.without_link())
            if entry.record.kind == 'file' and entry.record.path]


def _is_of_path(path: str, record: MappingRecord) -> bool:
    return _path_of(record) == path


def _path_of(record: MappingRecord) -> str:
    return normalised(record.path or '')
