# SPDX-License-Identifier: Apache-2.0
"""The edit that removes a file's mappings to an LPAR, and the question which they are."""

from __future__ import annotations

import dataclasses
import functools
import posixpath
from collections.abc import Callable
from collections.abc import Iterable

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings.document import Document
from powervm_fileio_connector.mappings.document import ShownMapping
from powervm_fileio_connector.mappings.edit import Change
from powervm_fileio_connector.mappings.edit import NotShown
from powervm_fileio_connector.mappings.edit import Outcome
from powervm_fileio_connector.mappings.edit import belongs_to
from powervm_fileio_connector.mappings.edit import keys_of
from powervm_fileio_connector.mappings.record import MappingRecord
from powervm_fileio_connector.mappings.record import normalised


@dataclasses.dataclass(frozen=True)
class RemoveMapping:
    """Remove a file's mappings to an LPAR, and the orphans of the file.

    What tells the volume is tried in this order, and the first that finds something counts: UDID,
    each of ``paths``, tag, file name. Mappings of other LPARs, wild cards and other kinds of
    storage are never touched. None found is no error: the volume is detached.

    :ivar aliases: paths that are the same file as the one that is found first
    :ivar file_name: for the case that the file's place is not known for sure: a mapping of a file
        of that name counts if it lies in a directory called ``export_hash``
    """

    lpar_uuid: str
    paths: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    udid: str | None = None
    tag: str | None = None
    file_name: str | None = None
    export_hash: str | None = None

    @property
    def keys(self) -> frozenset[str]:
        """What this edit is about; edits that share one are carried out in their order."""
        return keys_of((*self.paths, *self.aliases), self.udid, self.tag)

    def apply(self, document: Document, is_last_chance: bool = False) -> Change:
        """Remove the mappings.

        :raises MappingFailed: only the file name is known, and it fits mappings of other places
        :raises LPARIdNeeded: see there
        """
        found = self.matches(document)
        paths = {shown.record.path for shown in found if shown.record.path}
        if found:
            # The same file may be mapped a second time, under another spelling.
            found += [shown for shown in document.of_paths({*paths, *self.aliases})
                      if shown not in found
                      and belongs_to(shown.record, self.lpar_uuid, document)]
        found += [shown for shown in document.of_paths({*paths, *self.paths, *self.aliases})
                  if shown.record.is_orphan and shown not in found]
        if not found:
            return Change(Outcome.UNCHANGED)
        if any(shown in document.added for shown in found):
            return Change(Outcome.LATER)
        for shown in found:
            document.remove(shown)
        return Change(Outcome.CHANGED, tuple(shown.record for shown in found))

    def result(self, document: Document, change: Change) -> tuple[MappingRecord, ...]:
        """Return the mappings that the server's answer no longer shows; empty: they were gone.

        :raises NotShown: it still shows one
        """
        paths = [record.path for record in change.records if record.path]
        for shown in document.of_paths(paths):
            record = shown.record
            if record.is_orphan or belongs_to(record, self.lpar_uuid, document):
                raise NotShown(f'the answer still shows {record.path} mapped in slot {record.slot}')
        return change.records

    def matches(self, document: Document) -> list[ShownMapping]:
        """Return the LPAR's mappings of the volume; nothing is changed.

        :raises MappingFailed: only the file name is known, and it fits mappings of other places
        :raises LPARIdNeeded: see there
        """
        mine = _file_mappings(document, self.lpar_uuid)
        for is_it in self._criteria():
            found = [shown for shown in mine if is_it(shown.record)
                     and belongs_to(shown.record, self.lpar_uuid, document)]
            if found:
                return found
        return self._find_by_name(document, mine) if self.file_name else []

    def _criteria(self) -> Iterable[Callable[[MappingRecord], bool]]:
        if self.udid is not None:
            udid = self.udid.lower()
            yield lambda record: record.udid is not None and record.udid.lower() == udid
        for path in map(normalised, self.paths):
            yield functools.partial(_is_of_path, path)
        if self.tag is not None:
            yield lambda record: record.tag == self.tag

    def _find_by_name(self, document: Document, mine: list[ShownMapping]) -> list[ShownMapping]:
        named = [shown for shown in mine
                 if posixpath.basename(_path_of(shown.record)) == self.file_name
                 # One that is tagged as another volume is another volume.
                 and (self.tag is None or shown.record.tag in (None, self.tag))
                 and belongs_to(shown.record, self.lpar_uuid, document)]
        if not named:
            return []
        paths = sorted(_path_of(shown.record) for shown in named)
        if len(named) == 1 and (
                posixpath.basename(posixpath.dirname(paths[0])) == self.export_hash):
            return named
        raise exceptions.MappingFailed(
            reason='the volume is known by its file name only, which fits ' + ' and '.join(paths),
            path=paths[0], remedy='Detach it with the device_info that attaching it returned, or '
            'once the share is mounted again.')


def find(document: Document, lpar_uuid: str, paths: Iterable[str],
         tag: str | None = None) -> MappingRecord | None:
    """Return an LPAR's mapping of a file, by path or else by tag; None: there is none.

    :raises LPARIdNeeded: see there
    """
    mine = [shown.record for shown in _file_mappings(document, lpar_uuid)
            if belongs_to(shown.record, lpar_uuid, document)]
    wanted = {normalised(path) for path in paths}
    by_path = [record for record in mine if _path_of(record) in wanted]
    by_tag = [record for record in mine if tag is not None and record.tag == tag]
    return next(iter(by_path + by_tag), None)


def _file_mappings(document: Document, lpar_uuid: str) -> list[ShownMapping]:
    """The mappings of files that are, or may turn out to be, an LPAR's."""
    return [shown for shown in (*document.of_lpar(lpar_uuid), *document.without_link())
            if shown.record.kind == 'file' and shown.record.path]


def _is_of_path(path: str, record: MappingRecord) -> bool:
    return _path_of(record) == path


def _path_of(record: MappingRecord) -> str:
    return normalised(record.path or '')
