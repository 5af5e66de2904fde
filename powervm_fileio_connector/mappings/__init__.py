# SPDX-License-Identifier: Apache-2.0
"""Adding and removing vSCSI mappings: pure edits of a VIOS document, and what came of them.

An edit is a value: equal edits do equal things. :meth:`apply` changes a document in memory, or
finds that nothing is to be done, or raises having changed nothing; it sends nothing, so it can be
applied again to a fresher document as often as need be. :meth:`result` reads from the server's
answer what became of it.
"""

from __future__ import annotations

import dataclasses
import functools
import posixpath
from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

from pypowervm.wrappers import storage
from pypowervm.wrappers import virtual_io_server

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings import buses
from powervm_fileio_connector.mappings.document import Document
from powervm_fileio_connector.mappings.document import ShownMapping
from powervm_fileio_connector.mappings.document import records
from powervm_fileio_connector.mappings.edit import Change
from powervm_fileio_connector.mappings.edit import LPARIdNeeded
from powervm_fileio_connector.mappings.edit import NotShown
from powervm_fileio_connector.mappings.edit import Outcome
from powervm_fileio_connector.mappings.edit import belongs_to
from powervm_fileio_connector.mappings.edit import file_udid
from powervm_fileio_connector.mappings.edit import keys_of
from powervm_fileio_connector.mappings.record import MappingRecord
from powervm_fileio_connector.mappings.record import normalised
from powervm_fileio_connector.properties import QCOW

__all__ = ['AddMapping', 'Change', 'LPARIdNeeded', 'MappingRecord', 'NotShown', 'Outcome',
           'RemoveMapping', 'file_udid', 'find', 'records']


@dataclasses.dataclass(frozen=True)
class AddMapping:
    """Map a file to an LPAR.

    :ivar path: the file; ``aliases`` are other paths of the same file
    :ivar slot: client slot asked for, honoured or refused; ``lua`` likewise
    :ivar is_backstore_explicit: an existing mapping with another backstore is then an error
    :ivar multiattach: other LPARs may have the file too
    :ivar max_per_bus: disks on one bus before another adapter pair is made
    """

    lpar_uuid: str
    path: str
    aliases: tuple[str, ...] = ()
    backstore: str = 'loop'
    is_backstore_explicit: bool = False
    tag: str | None = None
    slot: int | None = None
    lua: str | None = None
    multiattach: bool = False
    max_per_bus: int = 32

    @property
    def paths(self) -> tuple[str, ...]:
        """All spellings of the file."""
        return (self.path, *self.aliases)

    @property
    def keys(self) -> frozenset[str]:
        """What this edit is about; edits that share one are carried out in their order."""
        return keys_of(self.paths, file_udid(self.path), self.tag)

    def apply(self, document: Document, is_last_chance: bool = False) -> Change:
        """Add the mapping, and remove orphans of the file.

        :param is_last_chance: nobody will apply it again to a later document
        :raises VolumeInUse: the file is mapped to another LPAR, or to any
        :raises SlotOrLUAConflict: slot or LUA are taken, or the volume has others
        :raises MappingFailed: it is mapped with another backstore than the one asked for
        :raises LPARIdNeeded: see there
        """
        mine, others, orphans = self._sorted(document)
        if mine:
            return Change(Outcome.UNCHANGED, (self._agreeing(mine),))
        if others and not self.multiattach:
            raise exceptions.VolumeInUse(
                reason=f'{others[0].path} is mapped to {others[0].client}', path=self.path,
                lpar=others[0].lpar_uuid or others[0].lpar_id, slot=others[0].slot)
        bus = buses.choose(document, self)
        if bus is None and not is_last_chance and self._shares_new_bus(document):
            return Change(Outcome.LATER)
        for orphan in orphans:
            document.remove(orphan)
        document.append(self._built(document, bus))
        return Change(Outcome.CHANGED, makes_adapters=bus is None)

    def result(self, document: Document, change: Change) -> MappingRecord:
        """Return the mapping as the server's answer shows it.

        :raises NotShown: it does not, or with another slot or LUA than asked for
        """
        if change.outcome is Outcome.UNCHANGED:
            return change.records[0]
        mine = self._sorted(document)[0]
        if not mine:
            raise NotShown(f'the answer does not show {self.path} mapped to LPAR {self.lpar_uuid}')
        try:
            return dataclasses.replace(self._agreeing(mine), is_new=True)
        except exceptions.SlotOrLUAConflict as err:
            raise NotShown(err.kwargs['reason']) from err

    def _sorted(self, document: Document,
                ) -> tuple[list[MappingRecord], list[MappingRecord], list[ShownMapping]]:
        """The mappings of the file: this LPAR's, those of others, and orphans."""
        mine, others, orphans = [], [], []
        for shown in document.of_paths(self.paths):
            if shown.record.is_orphan:
                orphans.append(shown)
            elif belongs_to(shown.record, self.lpar_uuid, document):
                mine.append(shown.record)
            else:
                others.append(shown.record)
        return mine, others, orphans

    def _agreeing(self, mine: list[MappingRecord]) -> MappingRecord:
        for record in mine:
            if self.slot in (None, record.slot) and (
                    self.lua is None or record.lua is None
                    or buses.same_lua(self.lua, record.lua)):
                break
        else:
            record = mine[0]
            raise exceptions.SlotOrLUAConflict(
                reason=f'{record.path} is mapped in slot {record.slot} as {record.lua}, but slot '
                f'{_or_any(self.slot)} and LUA {_or_any(self.lua)} were asked for',
                path=self.path, slot=self.slot, lua=self.lua)
        if not self._may_have(record.backstore):
            raise exceptions.MappingFailed(
                reason=f'{record.path} is mapped with backstore {record.backstore}, but '
                f'{self.backstore} was asked for', path=self.path, slot=record.slot,
                remedy='Detach it first to change the backstore.')
        return record

    def _may_have(self, backstore: str | None) -> bool:
        """Whether an existing mapping may have this backstore.

        loop and fileio serve the same bytes. user:qcow serves other bytes of the same file, so
        that a raw volume or a qcow2 one is never taken for the other.
        """
        if self.is_backstore_explicit or QCOW in (backstore, self.backstore):
            return backstore in (None, self.backstore)
        return True

    def _shares_new_bus(self, document: Document) -> bool:
        """Whether an edit before this one makes an adapter pair that has room for this one too.

        Two new mappings that leave the slot to the server each get a pair of their own. Slots
        are few, so the others wait for the next document, which shows the pair.
        """
        key = (self.lpar_uuid.upper(), self.slot)
        claims = document.new_buses.get(key, 0)
        document.new_buses[key] = claims + 1
        return claims % self.max_per_bus != 0

    def _built(self, document: Document, bus: ShownMapping | None) -> Any:
        # scsi_mapper.build_vscsi_mapping would wrap every mapping again to find a pair to clone,
        # and gives a slot asked for to the clone of whatever pair it finds first.
        adapter = document.vios_w.adapter
        file = storage.FileIO.bld_ref(adapter, self.path, backstore_type=self.backstore,
                                      tag=self.tag)
        if bus is None:
            return virtual_io_server.VSCSIMapping.bld(
                adapter, None, self.lpar_uuid, file, lpar_slot_num=self.slot, lua=self.lua)
        mapping = virtual_io_server.VSCSIMapping.bld_from_existing(
            document.wrap(bus), file, lua=self.lua)
        if mapping.client_lpar_href is None:
            # Recorded mappings of files have no link to copy, but new ones have had one so far.
            mapping._client_lpar_href(virtual_io_server.VSCSIMapping.crt_related_href(
                adapter, None, self.lpar_uuid))
        return mapping


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


def _or_any(value: Any) -> Any:
    return 'any' if value is None else value
