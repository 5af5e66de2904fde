# SPDX-License-Identifier: Apache-2.0
"""An instance's slot map: which slot and LUA each of its disks has, by UDID.

nova-powervm saves the map, and asks it for the same slots when it rebuilds the instance. One disk
that stands in two slots, or one that is not attached any more, ends every later rebuild in
``InvalidRebuild``, so that registering a disk first drops it from all other slots.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from oslo_log import log as logging

from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.mappings import file_udid
from powervm_fileio_connector.nova import operations
from powervm_fileio_connector.volume import is_uuid

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class VDisk:
    """The storage of a mapping; the map's kind of a disk is the name of its class."""

    udid: str


@dataclasses.dataclass(frozen=True)
class _Adapter:
    lpar_slot_num: int | None


@dataclasses.dataclass(frozen=True)
class _Target:
    lua: str | None


@dataclasses.dataclass(frozen=True)
class _Mapping:
    """What ``SlotMapStore._parse_vscsi_mapping`` reads of a pypowervm wrapper, and no more."""

    backing_storage: VDisk
    server_adapter: _Adapter
    target_dev: _Target

    @classmethod
    def of(cls, udid: str, slot: int | None, lua: str | None = None) -> _Mapping:
        return cls(VDisk(udid), _Adapter(slot), _Target(lua))


def udids_of(paths: Iterable[str], *issued: str | None) -> tuple[str, ...]:
    """Return the UDIDs that a disk may stand under: those issued, and those of its paths."""
    return tuple(dict.fromkeys([*filter(None, issued), *map(file_udid, paths)]))


def udid_of(record: MappingRecord) -> str:
    """Return the UDID under which a disk stands in the map."""
    return record.udid or file_udid(record.path or '')


def disks_of(slot_mgr: Any) -> Iterator[tuple[int, Mapping[str, str | None]]]:
    """Yield each slot of the map with the LUAs of its disks, by UDID."""
    for slot, kinds in slot_mgr.topology.items():
        yield slot, kinds.get(VDisk.__name__, {})


def register(slot_mgr: Any, record: MappingRecord, udids: Iterable[str]) -> None:
    """Note slot and LUA of a mapping.

    :param udids: all that the disk may stand under already
    """
    udid = udid_of(record)
    drop(slot_mgr, {*udids, udid})
    slot_mgr.register_vscsi_mapping(_Mapping.of(udid, record.slot, record.lua))


def drop(slot_mgr: Any, udids: Iterable[str]) -> None:
    """Take a disk out of every slot, under any of its UDIDs."""
    wanted = set(udids)
    for slot, disks in disks_of(slot_mgr):
        for udid in wanted.intersection(disks):
            operations.of(slot_mgr).places[udid] = (slot, disks[udid])
            drop_from(slot_mgr, slot, udid)


def note_detached(slot_mgr: Any, records: Iterable[MappingRecord], udids: Iterable[str]) -> None:
    """Remember where a disk was, which the map need not know, in case the operation is reverted.

    :param records: its mappings, as they were before they were removed
    :param udids: all that the disk may be asked for by
    """
    detached = operations.of(slot_mgr).detached
    for record in records:
        if record.slot is not None:
            detached.update(dict.fromkeys(udids, (record.slot, record.lua)))


def may_be_file(udid: str | None) -> bool:
    """Whether a disk of the map that is not attached may be a file.

    Logical volumes and RBD images have the same kind in the map. A file's UDID is a UUID; that of a
    recorded logical volume is ``0300...`` with a number behind a dot, and nova-powervm registers an
    RBD image by its name, ``pool/volume-...``.
    """
    return udid is not None and is_uuid(udid)


def drop_absent_files(slot_mgr: Any, attached: Iterable[MappingRecord]) -> None:
    """Take files out of the map that the LPAR does not have.

    :param attached: all its mappings, of every kind of storage
    """
    kept = {udid_of(record) for record in attached}
    for slot, disks in disks_of(slot_mgr):
        for udid in filter(may_be_file, disks.keys() - kept):
            drop_from(slot_mgr, slot, udid)


def standing(slot_mgr: Any, udids: Iterable[str]) -> set[str]:
    """Return those of a disk's UDIDs under which the saved map may have it."""
    known = {udid for _, disks in disks_of(slot_mgr) for udid in disks}
    return (known | operations.of(slot_mgr).places.keys()).intersection(udids)


def save_new_udid(slot_mgr: Any, record: MappingRecord, before: Iterable[str]) -> None:
    """Save the map where a disk has another UDID now than the saved map has it under.

    nova-powervm saves no map at the end of a resize, nor in a revert: the disk would be looked for
    by its old UDID at the next rebuild. What follows in the same operation is then saved as well.

    :param before: what :func:`standing` returned before the disk was attached
    """
    operation = operations.of(slot_mgr)
    if not {udid_of(record)}.issuperset(before):
        operation.is_saved_at_once = True
    if operation.is_saved_at_once:
        try:
            slot_mgr.save()
        except Exception:   # the store's errors have no base of their own; a revert has to go on
            LOG.warning('The saved slot map has disk %(path)s under a UDID that it has no more; '
                        'powervm_fileio_connector.nova.slot_repair repairs it.',
                        {'path': record.path}, exc_info=True)


def drop_from(slot_mgr: Any, slot: int, udid: str) -> None:
    """Take a disk out of one slot."""
    slot_mgr.drop_vscsi_mapping(_Mapping.of(udid, slot))


def find(slot_mgr: Any, partition: Any, udids: Iterable[str]) -> tuple[int | None, str | None]:
    """Return the slot and the LUA that a disk had; None where the map does not know it.

    In an operation that detaches, this is its revert: a disk goes back to where it was, or is still
    there. It is no time to ask for a rebuild, which would scrub mappings and look for all volumes.

    :param partition: of which nova-powervm reads the UUID alone
    """
    udids = tuple(udids)
    operation = operations.of(slot_mgr)
    for places in operation.places, operation.detached:
        for udid in udids:
            if udid in places:
                return places[udid]
    if operation.detaches:
        return _standing_at(slot_mgr, udids)
    for udid in udids:
        slot, lua = slot_mgr.build_map.get_vscsi_slot(partition, udid)
        if slot is not None:
            return slot, lua
    return None, None


def _standing_at(slot_mgr: Any, udids: tuple[str, ...]) -> tuple[int | None, str | None]:
    for slot, disks in disks_of(slot_mgr):
        for udid in udids:
            if udid in disks:
                return slot, disks[udid]
    return None, None


def take_bytes(store: Any) -> Any:
    """Have nova-powervm's store of slot maps save what Python 3 makes of them; return the store.

    pypowervm 1.1.27 hands a map over as bytes, and reads it as base64 text. The store that
    nova-powervm 9.0.0 has for Swift takes text alone: without this no map is ever saved, and each
    spawn ends in ``TypeError``.
    """
    save = store.store_slot_map

    def store_slot_map(key: str, data: bytes | str) -> None:
        save(key, base64.b64encode(data).decode() if isinstance(data, bytes) else data)

    store.store_slot_map = store_slot_map
    return store
