# SPDX-License-Identifier: Apache-2.0
"""The edit that removes a file's mappings to an LPAR, and the question which they are."""

from __future__ import annotations

import dataclasses
import functools
import posixpath
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from typing import ClassVar

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings.edit import Change
from powervm_fileio_connector.mappings.edit import NotConfirmed
from powervm_fileio_connector.mappings.edit import Outcome
from powervm_fileio_connector.mappings.edit import belongs_to
from powervm_fileio_connector.mappings.edit import is_left_over
from powervm_fileio_connector.mappings.edit import is_other_volume
from powervm_fileio_connector.mappings.edit import keys_of
from powervm_fileio_connector.mappings.edit import unique_names
from powervm_fileio_connector.mappings.record import MappingRecord
from powervm_fileio_connector.mappings.record import normalised
from powervm_fileio_connector.mappings.table import MappingEntry
from powervm_fileio_connector.mappings.table import MappingTable

_DETACH_BY = ('Detach it with the device_info that attaching it returned, or once the share is '
              'mounted again.')


@dataclasses.dataclass(frozen=True)
class RemoveMapping:
    """Remove a file's mappings to an LPAR, and those of the file that have lost their client.

    Of the latter those stay which are tagged as another volume, unless a path tells the file.

    What tells the volume is tried in this order, and the first that finds something counts: UDID,
    each of ``paths``, tag, file name. Mappings of other LPARs, also those that are just being made,
    wild cards and other kinds of storage are never touched. None found is no error: the volume is
    detached.

    :ivar spellings: paths that are the same file as the one that is found first
    :ivar elsewhere: paths that lead to other files; None: not known. Where nothing is found, a
        mapping of a file of the same name that is none of them, nor tagged as another volume, is an
        error, since its path may have led to this file by a mount that is gone
    :ivar file_name: for the case that the file's place is not known for sure: a mapping of a file
        of that name counts if it lies in a directory called ``export_hash``
    """

    lpar_uuid: str
    paths: tuple[str, ...] = ()
    spellings: tuple[str, ...] = ()
    udid: str | None = None
    tag: str | None = None
    elsewhere: Collection[str] | None = dataclasses.field(default=None, compare=False)
    file_name: str | None = None
    export_hash: str | None = None

    open_choices: ClassVar[int] = 0

    @functools.cached_property
    def keys(self) -> frozenset[str]:
        """The volume's paths and ids; edits that share one are carried out in their order."""
        return keys_of((*self.paths, *self.spellings), self.udid, self.tag)

    def apply(self, table: MappingTable, may_defer: bool = True) -> Change:
        """Remove the mappings.

        :raises MappingFailed: what is known of the volume fits mappings of several files, or one
            may be of the volume's; the field ``unresolved`` then holds paths as for ``AddMapping``
        :raises LPARIdNeeded: see there
        """
        found = self.matches(table)
        paths = {entry.record.path for entry in found if entry.record.path}
        if found:
            # The same file may be mapped a second time, under another spelling.
            found += [entry for entry in table.of_paths({*paths, *self.spellings})
                      if entry not in found
                      and belongs_to(entry.record, self.lpar_uuid, table)]
        told = {normalised(path) for path in (*self.paths, *self.spellings)}
        # Without a link, a mapping of another volume that is just being made passes for left over.
        found += [entry for entry in table.of_paths({*paths, *told})
                  if entry not in found and is_left_over(entry.record, table)
                  and (entry.file in told or not is_other_volume(entry.record, self.tag))]
        if not found:
            return Change(Outcome.UNCHANGED)
        if any(entry.place is None for entry in found):
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
            if record in change.records or belongs_to(record, self.lpar_uuid, table):
                raise NotConfirmed(f'the answer still shows {record.path} mapped in slot '
                                   f'{record.slot}')
        return change.records

    def matches(self, table: MappingTable) -> list[MappingEntry]:
        """Return the LPAR's mappings of the volume; nothing is changed.

        :raises MappingFailed: what is known of the volume fits mappings of several files
        :raises LPARIdNeeded: see there
        """
        if self.udid is not None:
            udid = self.udid.lower()
            found = self._own(table, (*table.of_lpar(self.lpar_uuid), *table.without_link()),
                              lambda entry: (entry.record.udid or '').lower() == udid)
            if found:
                return found
        found = _of_first_path(table, self.lpar_uuid, self.paths)
        if not found and self.tag is not None:
            found = self._own(table, table.containing(self.tag),
                              lambda entry: entry.record.tag == self.tag)
            if len(self._other_files(found)) > 1:
                raise self._ambiguous('tag', found)
        if not found and self.file_name:
            return self._find_by_name(table, self.file_name)
        if not found and self.elsewhere is not None:
            self._require_no_doubt(table, self.elsewhere)
        return found

    def _require_no_doubt(self, table: MappingTable, elsewhere: Collection[str]) -> None:
        known = {normalised(path) for path in self.paths}
        doubtful = self._own(table, table.of_names(unique_names(known)), lambda entry: (
            entry.file not in known and entry.record.path not in elsewhere
            and not is_other_volume(entry.record, self.tag)))
        if doubtful:
            paths = tuple(entry.record.path for entry in doubtful)
            raise exceptions.MappingFailed(
                reason=f'the LPAR has no mapping of {self.paths[0]}, but one of {paths[0]}, a path '
                'that leads to no file now: it may be the same file, by a mount that is gone',
                path=paths[0], unresolved=paths, remedy=_DETACH_BY)

    def _other_files(self, found: list[MappingEntry]) -> set[str]:
        """The files of mappings; those that are known to be one file are one."""
        spellings = {normalised(path) for path in self.spellings}
        return {'' if entry.file in spellings else entry.file or '' for entry in found}

    def _find_by_name(self, table: MappingTable, file_name: str) -> list[MappingEntry]:
        named = self._own(table, table.of_names([file_name]),
                          lambda entry: not is_other_volume(entry.record, self.tag))
        if len(named) == 1 and self.export_hash is not None and (
                posixpath.basename(posixpath.dirname(named[0].file or '')) == self.export_hash):
            return named
        if named:
            raise self._ambiguous('file name', named)
        return []

    def _own(self, table: MappingTable, entries: Iterable[MappingEntry],
             is_volume: Callable[[MappingEntry], bool]) -> list[MappingEntry]:
        """The mappings of files among some that are the volume's, and the LPAR's."""
        return [entry for entry in entries if entry.file is not None and is_volume(entry)
                and belongs_to(entry.record, self.lpar_uuid, table)]

    def _ambiguous(self, known: str, found: list[MappingEntry]) -> exceptions.MappingFailed:
        paths = sorted({entry.file or '' for entry in found})
        return exceptions.MappingFailed(
            reason=f'the volume is known by its {known} only, which fits ' + ' and '.join(paths),
            path=paths[0], remedy=_DETACH_BY)


def find(table: MappingTable, lpar_uuid: str, paths: Iterable[str],
         tag: str | None = None) -> MappingRecord | None:
    """Return an LPAR's mapping of a file, by path or else by tag; None: there is none.

    :raises MappingFailed: no path fits, and the tag fits mappings of several files
    :raises LPARIdNeeded: see there
    """
    found = RemoveMapping(lpar_uuid, tuple(paths), tag=tag).matches(table)
    return found[0].record if found else None


def _of_first_path(table: MappingTable, lpar_uuid: str,
                   paths: Collection[str]) -> list[MappingEntry]:
    """The LPAR's mappings of the first of these files that it has."""
    shown: dict[str | None, list[MappingEntry]] = {}
    for entry in table.of_paths(paths):
        shown.setdefault(entry.file, []).append(entry)
    for file in map(normalised, paths):
        found = [entry for entry in shown.get(file, ())
                 if belongs_to(entry.record, lpar_uuid, table)]
        if found:
            return found
    return []
