# SPDX-License-Identifier: Apache-2.0
"""The edit that maps a file to an LPAR."""

from __future__ import annotations

import dataclasses
import functools
import os.path
from collections.abc import Collection
from typing import Any

from pypowervm.wrappers import storage
from pypowervm.wrappers import virtual_io_server

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings import buses
from powervm_fileio_connector.mappings.edit import Change
from powervm_fileio_connector.mappings.edit import NotConfirmed
from powervm_fileio_connector.mappings.edit import Outcome
from powervm_fileio_connector.mappings.edit import belongs_to
from powervm_fileio_connector.mappings.edit import file_udid
from powervm_fileio_connector.mappings.edit import is_left_over
from powervm_fileio_connector.mappings.edit import is_other_volume
from powervm_fileio_connector.mappings.edit import keys_of
from powervm_fileio_connector.mappings.edit import unique_names
from powervm_fileio_connector.mappings.record import MappingRecord
from powervm_fileio_connector.mappings.record import normalised
from powervm_fileio_connector.mappings.search import names_of
from powervm_fileio_connector.mappings.table import LPARIdNeeded
from powervm_fileio_connector.mappings.table import MappingEntry
from powervm_fileio_connector.mappings.table import MappingTable
from powervm_fileio_connector.volume import QCOW

_REMEDY_LOOKALIKE = (
    'Detach it there first. If they are two files, as on a copy of a whole file system, unmount '
    'the copy, or attach the volume as multiattach.')

REMEDY_CONFLICT = 'Detach that one first: the two may never be attached at the same time.'


@dataclasses.dataclass(frozen=True)
class AddMapping:
    """Map a file to an LPAR.

    :ivar path: the file, as NovaLink is told
    :ivar spellings: every path that reaches this same file; ``path`` may be among them
    :ivar lookalikes: paths of what may be the same file: a mapping of one to another LPAR refuses
        this one, but none is taken for a mapping of this file
    :ivar conflicts: paths a mapping of which, to whatever LPAR, refuses this one, also with
        ``multiattach``; each with what it has to do with the file, as words that follow the path
    :ivar directories: the file's, by all paths, where mapped qcow2 images in it may have the file
        as a backing file; they have to be known not to, or to be among ``conflicts``
    :ivar unrelated: paths of images of which that is known
    :ivar elsewhere: paths that lead to other files; None: not known. Where a
        UUID is part of the file's name, a mapping of any other file of that name refuses this one,
        unless it is tagged as another volume, since its path may have led to this file by a mount
        that is gone
    :ivar slot: client slot asked for, honoured or refused; ``lua`` likewise
    :ivar is_backstore_explicit: an existing mapping with another backstore is then an error
    :ivar multiattach: other LPARs may have the file too
    :ivar max_per_bus: disks on one bus before another adapter pair is made
    """

    lpar_uuid: str
    path: str
    spellings: tuple[str, ...] = ()
    lookalikes: frozenset[str] = frozenset()
    conflicts: tuple[tuple[str, str], ...] = ()
    directories: frozenset[str] = frozenset()
    unrelated: frozenset[str] = frozenset()
    elsewhere: Collection[str] | None = dataclasses.field(default=None, compare=False)
    backstore: str = 'loop'
    is_backstore_explicit: bool = False
    tag: str | None = None
    slot: int | None = None
    lua: str | None = None
    multiattach: bool = False
    max_per_bus: int = 32

    @functools.cached_property
    def paths(self) -> tuple[str, ...]:
        """All spellings of the file."""
        return tuple(dict.fromkeys((self.path, *self.spellings)))

    @property
    def open_choices(self) -> int:
        """How many of slot and LUA it leaves open."""
        return (self.slot, self.lua).count(None)

    @property
    def place(self) -> str:
        """The slot and the LUA that are asked for, in words; empty: neither is."""
        return ' with '.join(f'{name} {value}' for name, value in (
            ('slot', self.slot), ('LUA', self.lua)) if value is not None)

    @functools.cached_property
    def keys(self) -> frozenset[str]:
        """The volume's paths and ids; edits that share one are carried out in their order."""
        return keys_of((*self.paths, *self.lookalikes), file_udid(self.path), self.tag)

    def apply(self, table: MappingTable, may_defer: bool = True) -> Change:
        """Add the mapping, and remove those of the file that have lost their client.

        :param may_defer: DEFERRED may be the outcome, since it will be applied to a later table
        :raises VolumeInUse: the file is mapped to another LPAR, or to any, or may be; the field
            ``unresolved`` then holds the paths of mappings that have to be known to lead elsewhere.
            Or data of it is mapped, or may be; ``images`` then holds the paths of qcow2 images that
            may have it as a backing file
        :raises SlotOrLUAConflict: slot or LUA are taken, or the volume has others
        :raises MappingFailed: it is mapped with another backstore than the one asked for
        :raises LPARIdNeeded: see there
        """
        alike = table.of_names(self._names)
        mine, others = self._by_owner(alike, table)
        if mine:
            return Change(Outcome.UNCHANGED, (self._matching_existing(mine),))
        # An LPAR that was made again has the UUID which its predecessor's mapping links to.
        orphans = [entry for entry in others if (
            (entry.record.is_orphan and entry.record.lpar_uuid == self.lpar_uuid.upper())
            or is_left_over(entry.record, table))]
        self._require_no_conflict(table)
        if not self.multiattach:
            self._require_unused([entry for entry in alike if entry not in orphans], table)
        bus = buses.choose(table, self)
        if may_defer and buses.must_wait(table, self, bus):
            return Change(Outcome.DEFERRED)
        for orphan in orphans:
            table.remove(orphan)
        buses.note(table, self, table.append(self._build(table, bus)))
        return Change(Outcome.CHANGED, makes_adapters=bus is None,
                      is_alone=len(orphans) == len(others))

    def result(self, table: MappingTable, change: Change) -> MappingRecord:
        """Return the mapping as the server's answer shows it.

        :raises NotConfirmed: it does not, or with another slot, LUA or backstore than asked for;
            the cause is then the error that says so
        """
        if change.outcome is Outcome.UNCHANGED:
            return change.records[0]
        if table.is_answer and change.is_alone:
            mine = [record for record in self.made(table, change)
                    if record.slot is not None and self._may_be_own(record, table)]
        else:
            mine, _ = self._by_owner(table.of_names(self._names), table)
        if not mine:
            others = [f', but to {record.client}' for record in self.made(table, change)
                      if record.slot is not None]
            raise NotConfirmed(f'the answer does not show {self.path} mapped to LPAR '
                               f'{self.lpar_uuid}{"".join(others)}')
        try:
            return dataclasses.replace(self._matching_existing(mine), is_new=True)
        except (exceptions.SlotOrLUAConflict, exceptions.MappingFailed) as err:
            raise NotConfirmed(err.kwargs['reason']) from err

    def made(self, table: MappingTable, change: Change) -> list[MappingRecord]:
        """Return the mappings that the change certainly made, be it otherwise than asked."""
        is_sole = table.is_answer and change.is_alone
        return [entry.record for entry in table.of_names(self._names) if entry.file in self._files
                and (is_sole or entry.record.lpar_uuid == self.lpar_uuid.upper())]

    def _may_be_own(self, record: MappingRecord, table: MappingTable) -> bool:
        """Whether nothing that is known says that a mapping is another LPAR's; nothing is asked."""
        if record.lpar_uuid is None and record.lpar_id is None:
            return True
        try:
            return belongs_to(record, self.lpar_uuid, table)
        except LPARIdNeeded:
            return True

    @functools.cached_property
    def _files(self) -> frozenset[str]:
        return frozenset(map(normalised, self.paths))

    @functools.cached_property
    def _names(self) -> list[str]:
        return names_of([*self._files, *self.lookalikes])

    def _by_owner(self, alike: list[MappingEntry], table: MappingTable,
                  ) -> tuple[list[MappingRecord], list[MappingEntry]]:
        """The mappings of the file, among some: those that this LPAR has, and all others."""
        mine, others = [], []
        for entry in alike:
            if entry.file not in self._files:
                continue
            if not entry.record.is_orphan and belongs_to(entry.record, self.lpar_uuid, table):
                mine.append(entry.record)
            else:
                others.append(entry)
        return mine, others

    def _require_no_conflict(self, table: MappingTable) -> None:
        """Raise where a path is mapped that no LPAR may have beside the file."""
        reasons = {normalised(path): why for path, why in self.conflicts}
        for entry in table.of_paths(reasons):
            record = entry.record
            if not is_left_over(record, table):
                raise exceptions.VolumeInUse(
                    reason=f'{record.path} is mapped to {record.client}, and '
                    f'{reasons[entry.file or ""]}', path=self.path, slot=record.slot,
                    lpar=record.lpar_uuid or record.lpar_id, remedy=REMEDY_CONFLICT)

        images = [entry.record for entry in table.containing(QCOW) if self._may_be_over(entry)
                  and not is_left_over(entry.record, table)] if self.directories else []
        if images:
            raise exceptions.VolumeInUse(
                reason=f'{images[0].path} is mapped to {images[0].client}, and may have '
                f'{self.path} as a backing file', path=self.path, slot=images[0].slot,
                lpar=images[0].lpar_uuid or images[0].lpar_id, remedy=REMEDY_CONFLICT,
                images=tuple(record.path for record in images))

    def _may_be_over(self, entry: MappingEntry) -> bool:
        """Whether a mapping is of a qcow2 image in the file's directory, and not known better."""
        return (entry.record.backstore == QCOW and entry.file is not None
                and os.path.dirname(entry.file) in self.directories
                and entry.file not in self._files and entry.record.path not in self.unrelated)

    def _require_unused(self, alike: list[MappingEntry], table: MappingTable) -> None:
        """Raise where a mapping is of the file, or may be, by the names of files alone."""
        doubtful = []
        for entry in alike:
            record = entry.record
            is_own = entry.file in self._files
            if not is_own and is_left_over(record, table):
                continue
            if is_own or (entry.file in self.lookalikes
                          and not belongs_to(record, self.lpar_uuid, table)):
                being = 'being mapped' if record.is_orphan else 'mapped'
                told = f'{record.path} is {being} to {record.client}'
                raise exceptions.VolumeInUse(
                    reason=told if is_own else f'{told}, and {self.path} may be the same file, by '
                    'another name of its server', path=self.path,
                    lpar=record.lpar_uuid or record.lpar_id, slot=record.slot,
                    **{} if is_own else {'remedy': _REMEDY_LOOKALIKE})
            if not (self.elsewhere is None or record.path in self.elsewhere
                    or entry.file in self.lookalikes or is_other_volume(record, self.tag)
                    or not (unique_names([entry.name or '']) or '..' in (entry.file or ''))):
                doubtful.append(record)
        if doubtful:
            first = doubtful[0]
            raise exceptions.VolumeInUse(
                reason=f'{self.path} may be the file that is mapped to {first.client} as '
                f'{first.path}, a path that leads to no file now: what was mounted there may have '
                'been unmounted', path=self.path, lpar=first.lpar_uuid or first.lpar_id,
                slot=first.slot, unresolved=tuple(one.path for one in doubtful),
                remedy='Mount it again or detach that mapping first, or attach the volume with its '
                'volume_id if that mapping is tagged as another volume, or as multiattach.')

    def _matching_existing(self, mine: list[MappingRecord]) -> MappingRecord:
        for record in mine:
            if self.slot in (None, record.slot) and (
                    self.lua is None or record.lua is None
                    or buses.same_lua(self.lua, record.lua)):
                break
        else:
            record = mine[0]
            raise exceptions.SlotOrLUAConflict(
                reason=f'{record.path} is mapped in slot {record.slot} as {record.lua}, but '
                f'{self.place} was asked for', path=self.path, slot=self.slot, lua=self.lua)
        if not self._is_compatible_backstore(record.backstore):
            raise exceptions.MappingFailed(
                reason=f'{record.path} is mapped with backstore {record.backstore}, but '
                f'{self.backstore} was asked for', path=self.path, slot=record.slot,
                remedy='Detach it first to change the backstore.')
        return record

    def _is_compatible_backstore(self, backstore: str | None) -> bool:
        """Whether an existing mapping may have this backstore.

        loop and fileio serve the same bytes. user:qcow serves other bytes of the same file, so
        that a raw volume or a qcow2 one is never taken for the other.
        """
        if self.is_backstore_explicit or QCOW in (backstore, self.backstore):
            return backstore in (None, self.backstore)
        return True

    def _build(self, table: MappingTable, bus: MappingEntry | None) -> Any:
        # scsi_mapper.build_vscsi_mapping would wrap every mapping again to find a pair to clone,
        # and gives a slot asked for to the clone of whatever pair it finds first.
        adapter = table.vios_w.adapter
        file = storage.FileIO.bld_ref(adapter, self.path, backstore_type=self.backstore,
                                      tag=self.tag)
        if bus is None:
            return virtual_io_server.VSCSIMapping.bld(
                adapter, None, self.lpar_uuid, file, lpar_slot_num=self.slot, lua=self.lua)
        mapping = virtual_io_server.VSCSIMapping.bld_from_existing(
            table.wrap(bus), file, lua=self.lua)
        if bus.record.lpar_uuid is None:
            # Recorded mappings of files have no link to copy, but new ones have had one so far.
            mapping._client_lpar_href(virtual_io_server.VSCSIMapping.crt_related_href(
                adapter, None, self.lpar_uuid))
        return mapping
