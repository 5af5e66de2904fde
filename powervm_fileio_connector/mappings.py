# SPDX-License-Identifier: Apache-2.0
"""Adding and removing vSCSI mappings: pure edits of a VIOS document, and what came of them.

An edit is a value: equal edits do equal things. :meth:`apply` changes a document in memory, or finds
that nothing is to be done, or raises having changed nothing; it sends nothing, so it can be applied
again to a fresher document as often as need be. :meth:`result` reads from the server's answer what
became of it.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import posixpath
import uuid
from collections.abc import Iterable
from typing import Any

from pypowervm.wrappers import storage
from pypowervm.wrappers import virtual_io_server

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.document import Document
from powervm_fileio_connector.document import MappingRecord
from powervm_fileio_connector.document import normalised
from powervm_fileio_connector.document import record_of
from powervm_fileio_connector.document import records

__all__ = ['AddMapping', 'Change', 'LPARIdNeeded', 'MappingRecord', 'NotShown', 'Outcome',
           'RemoveMapping', 'find', 'records']


class Outcome(enum.Enum):
    """What applying an edit did to the document."""

    CHANGED = 'the document was changed'
    UNCHANGED = 'nothing is to be done'
    LATER = 'an edit before it in the same document has to be carried out first'


@dataclasses.dataclass(frozen=True)
class Change:
    """What applying an edit did, and to which mappings."""

    outcome: Outcome
    records: tuple[MappingRecord, ...] = ()
    makes_adapters: bool = False


class LPARIdNeeded(Exception):
    """Some mappings show only the id of their LPAR, and the document does not tell ours.

    Whoever applies the edit asks the server, notes it in ``document.lpar_ids`` (None: there is no such
    LPAR), and applies the edit again.
    """

    def __init__(self, lpar_uuid: str) -> None:
        super().__init__(lpar_uuid)
        self.lpar_uuid = lpar_uuid


class NotShown(Exception):
    """The answer does not show what was asked for; a fresh read decides."""


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
        return _keys(self.paths, _file_udid(self.path), self.tag)

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
        bus = _Buses(document, self.lpar_uuid).choose(self)
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
            return self._agreeing(mine)
        except exceptions.SlotOrLUAConflict as err:
            raise NotShown(err.kwargs['reason']) from err

    def _sorted(self, document: Document) -> tuple[list[MappingRecord], list[MappingRecord],
                                                   list[Any]]:
        """The mappings of the file: this LPAR's, those of others, and the elements of orphans."""
        mine, others, orphans = [], [], []
        for mapping in document.of_paths(self.paths):
            record = record_of(mapping)
            if record.is_orphan:
                orphans.append(mapping)
            elif belongs_to(record, self.lpar_uuid, document):
                mine.append(record)
            else:
                others.append(record)
        return mine, others, orphans

    def _agreeing(self, mine: list[MappingRecord]) -> MappingRecord:
        for record in mine:
            if (self.slot in (None, record.slot)
                    and (self.lua is None or record.lua is None or _same_lua(self.lua, record.lua))):
                break
        else:
            record = mine[0]
            raise exceptions.SlotOrLUAConflict(
                reason=f'{record.path} is mapped in slot {record.slot} as {record.lua}, but slot '
                f'{_or_any(self.slot)} and LUA {_or_any(self.lua)} were asked for',
                path=self.path, slot=self.slot, lua=self.lua)
        if self.is_backstore_explicit and record.backstore not in (None, self.backstore):
            raise exceptions.MappingFailed(
                reason=f'{record.path} is mapped with backstore {record.backstore}, but '
                f'{self.backstore} was asked for', remedy='Detach it first to change the backstore.',
                path=self.path, slot=record.slot)
        return record

    def _shares_new_bus(self, document: Document) -> bool:
        """Whether an edit before this one makes an adapter pair that has room for this one too.

        Two new mappings that leave the slot to the server each get a pair of their own. Slots are
        few, so the others wait for the next document, which shows the pair.
        """
        key = (self.lpar_uuid.upper(), self.slot)
        claims = document.new_buses.get(key, 0)
        document.new_buses[key] = claims + 1
        return claims % self.max_per_bus != 0

    def _built(self, document: Document, bus: Any | None) -> Any:
        # scsi_mapper.build_vscsi_mapping would wrap every mapping again to find a pair to clone, and
        # passes a slot to the clone of whatever pair it found first. The pair is known here.
        adapter = document.vios_w.adapter
        file = storage.FileIO.bld_ref(adapter, self.path, backstore_type=self.backstore,
                                      tag=self.tag)
        if bus is None:
            return virtual_io_server.VSCSIMapping.bld(
                adapter, None, self.lpar_uuid, file, lpar_slot_num=self.slot, lua=self.lua)
        return virtual_io_server.VSCSIMapping.bld_from_existing(
            document.wrap(bus), file, lua=self.lua)


@dataclasses.dataclass(frozen=True)
class RemoveMapping:
    """Remove a file's mappings to an LPAR, and the orphans of the file.

    What tells the volume is tried in this order, and the first that finds something counts: UDID,
    each of ``paths``, tag, file name. Mappings of other LPARs, wild cards and other kinds of storage
    are never touched. None found is no error: the volume is detached.

    :ivar lpar_id: the LPAR's id where it is known, for mappings that do not link to their LPAR
    :ivar file_name: for the case that the file's place is not known for sure: a mapping of a file of
        that name counts if it lies in a directory called ``export_hash``
    """

    lpar_uuid: str
    lpar_id: int | None = None
    paths: tuple[str, ...] = ()
    udid: str | None = None
    tag: str | None = None
    file_name: str | None = None
    export_hash: str | None = None

    @property
    def keys(self) -> frozenset[str]:
        """What this edit is about; edits that share one are carried out in their order."""
        names = (self.file_name,) if self.file_name else ()
        return _keys((*self.paths, *names), self.udid, self.tag)

    def apply(self, document: Document, is_last_chance: bool = False) -> Change:
        """Remove the mappings.

        :raises MappingFailed: only the file name is known, and it fits mappings of other places
        :raises LPARIdNeeded: see there
        """
        if self.lpar_id is not None:
            document.lpar_ids.setdefault(self.lpar_uuid.upper(), self.lpar_id)
        found = self._find(document)
        paths = {record_of(mapping).path for mapping in found} - {None}
        found += [mapping for mapping in document.of_paths({*self.paths, *paths})
                  if record_of(mapping).is_orphan and mapping not in found]
        if not found:
            return Change(Outcome.UNCHANGED)
        if any(mapping in document.added for mapping in found):
            return Change(Outcome.LATER)
        removed = tuple(record_of(mapping) for mapping in found)
        for mapping in found:
            document.remove(mapping)
        return Change(Outcome.CHANGED, removed)

    def result(self, document: Document, change: Change) -> tuple[MappingRecord, ...]:
        """Return the mappings that the server's answer no longer shows; empty: they were gone.

        :raises NotShown: it still shows one
        """
        paths = [record.path for record in change.records if record.path]
        for mapping in document.of_paths(paths):
            record = record_of(mapping)
            if record.is_orphan or belongs_to(record, self.lpar_uuid, document):
                raise NotShown(f'the answer still shows {record.path} mapped in slot {record.slot}')
        return change.records

    def _find(self, document: Document) -> list[Any]:
        mine = self._mine(document)
        criteria = [lambda record: self.udid is not None and record.udid is not None
                    and record.udid.lower() == self.udid.lower()]
        criteria += [lambda record, path=normalised(path): normalised(record.path) == path
                     for path in self.paths]
        criteria += [lambda record: self.tag is not None and record.tag == self.tag]
        for is_it in criteria:
            found = [mapping for mapping, record in mine if is_it(record)
                     and belongs_to(record, self.lpar_uuid, document)]
            if found:
                return found
        return self._find_by_name(document, mine)

    def _find_by_name(self, document: Document,
                      mine: list[tuple[Any, MappingRecord]]) -> list[Any]:
        if self.file_name is None:
            return []
        named = [(mapping, normalised(record.path)) for mapping, record in mine
                 if posixpath.basename(normalised(record.path)) == self.file_name
                 and belongs_to(record, self.lpar_uuid, document)]
        if len(named) == 1 and (posixpath.basename(posixpath.dirname(named[0][1]))
                                == self.export_hash):
            return [named[0][0]]
        if named:
            raise exceptions.MappingFailed(
                reason='the volume is known by its file name only, which fits '
                + ' and '.join(sorted(path for _, path in named)), path=named[0][1],
                remedy='Detach with the device_info that attaching returned, or once the share is '
                'mounted again.')
        return []

    def _mine(self, document: Document) -> list[tuple[Any, MappingRecord]]:
        """The file mappings that are, or may turn out to be, this LPAR's."""
        pairs = ((mapping, record_of(mapping)) for mapping in
                 (*document.of_lpar(self.lpar_uuid), *document.without_link()))
        return [(mapping, record) for mapping, record in pairs
                if record.kind == 'file' and record.path]


def find(vios_w: Any, lpar_uuid: str, paths: Iterable[str],
         tag: str | None = None) -> MappingRecord | None:
    """Return an LPAR's mapping of a file, by path or else by tag; None: there is none.

    An LPAR that mappings name only by an id that nothing explains is not found.
    """
    document = Document(vios_w)
    try:
        own_id = document.lpar_id(lpar_uuid)
    except KeyError:
        document.lpar_ids[lpar_uuid.upper()] = own_id = None
    mine = [record for record in map(record_of, (*document.of_lpar(lpar_uuid),
                                                 *document.without_link()))
            if record.kind == 'file' and record.path
            and belongs_to(record, lpar_uuid, document)]
    wanted = {normalised(path) for path in paths}
    for is_it in (lambda record: normalised(record.path) in wanted,
                  lambda record: tag is not None and record.tag == tag):
        for record in mine:
            if is_it(record):
                return record
    return None


def belongs_to(record: MappingRecord, lpar_uuid: str, document: Document) -> bool:
    """Whether a mapping is an LPAR's, by its link or else by the id of its adapters.

    :raises LPARIdNeeded: it has no link, and nothing in the document tells the LPAR's id
    """
    if record.lpar_uuid is not None:
        return record.lpar_uuid == lpar_uuid.upper()
    if record.is_orphan or record.is_wild_card or record.lpar_id is None:
        return False
    try:
        return record.lpar_id == document.lpar_id(lpar_uuid)
    except KeyError:
        raise LPARIdNeeded(lpar_uuid) from None


class _Buses:
    """The virtual SCSI buses of one LPAR: the mappings on each, by client slot."""

    def __init__(self, document: Document, lpar_uuid: str) -> None:
        self._by_slot: dict[int, list[tuple[Any, MappingRecord]]] = {}
        try:
            lpar_id = document.lpar_id(lpar_uuid)
        except KeyError:
            lpar_id = None
        for mapping in (*document.of_lpar(lpar_uuid), *document.without_link()):
            record = record_of(mapping)
            if record.slot is not None and record.server_slot is not None and (
                    record.lpar_uuid is not None or record.lpar_id == lpar_id):
                self._by_slot.setdefault(record.slot, []).append((mapping, record))

    def choose(self, wish: AddMapping) -> Any | None:
        """A mapping on the bus to use; None: a new adapter pair is to be made.

        :raises SlotOrLUAConflict: the LUA is taken on the bus in the slot asked for
        """
        if wish.slot is not None:
            members = self._by_slot.get(wish.slot, [])
            self._check_free(wish, members)
            # A slot asked for is honoured past max_per_bus: that is a guideline, and the slot is
            # taken, so the alternative is to refuse.
            return members[0][0] if members else None
        for members in self._by_slot.values():
            if len(members) < wish.max_per_bus and not self._holder(wish, members):
                return members[0][0]
        return None

    def _check_free(self, wish: AddMapping, members: list[tuple[Any, MappingRecord]]) -> None:
        holder = self._holder(wish, members)
        if holder is not None:
            raise exceptions.SlotOrLUAConflict(
                reason=f'{wish.lua} in slot {wish.slot} of LPAR {wish.lpar_uuid} is taken by '
                f'{holder.path or "storage of kind " + holder.kind}', path=wish.path,
                slot=wish.slot, lua=wish.lua)

    @staticmethod
    def _holder(wish: AddMapping,
                members: list[tuple[Any, MappingRecord]]) -> MappingRecord | None:
        return next((record for _, record in members if wish.lua is not None
                     and record.lua is not None and _same_lua(record.lua, wish.lua)), None)


def _keys(paths: Iterable[str], *more: str | None) -> frozenset[str]:
    # Base names: one file may be known by several directories.
    names = {posixpath.basename(normalised(path)) for path in paths}
    return frozenset(names | {key.lower() for key in more if key})


def _file_udid(path: str) -> str:
    """The UDID that a file will get, as recordings show: the MD5 name-based UUID of its path."""
    digest = hashlib.md5(path.encode('utf-8', 'surrogateescape'), usedforsecurity=False).digest()
    return str(uuid.UUID(bytes=digest, version=3))


def _same_lua(one: str, other: str) -> bool:
    return one.lower() == other.lower()


def _or_any(value: Any) -> Any:
    return 'any' if value is None else value
