# SPDX-License-Identifier: Apache-2.0
"""Disks: the mapping, the name of its LPAR, the state of the file and of its mount."""

from __future__ import annotations

import dataclasses
from typing import Any

from powervm_fileio_connector.cli import output
from powervm_fileio_connector.cli.context import CommandContext
from powervm_fileio_connector.host import health as health_module
from powervm_fileio_connector.host.health import MountState
from powervm_fileio_connector.mappings import MappingRecord

KEYS = ('lpar', 'lpar_uuid', 'slot', 'lua', 'size_bytes', 'file_state', 'mount_state', 'path',
        'backstore', 'tag', 'udid', 'kind', 'delayed_by')

# NovaLink shows GiB with at most six decimals.
_RESOLUTION = 2**30 / 10**6 + 1

DETAILS = ('lpar', 'lpar_uuid', 'lpar_id', 'slot', 'lua', 'server_slot', 'path', 'udid',
           'target_name', 'backstore', 'tag', 'size_bytes', 'file_state', 'file_bytes', 'mount',
           'mount_state', 'seconds', 'error', 'delayed_by')


@dataclasses.dataclass(frozen=True)
class Disk:
    """One mapping, and what is known of its LPAR and its file.

    :ivar lpar_uuid: of its LPAR, also where only the id of that is in the mapping
    :ivar has_its_id: the LPAR that has the id which the mapping names
    :ivar delayed_by: the file of another disk on the same bus, whose mount is hung: LIO delays all
        disks of a target then
    """

    record: MappingRecord
    lpar: str
    health: health_module.FileHealth | None
    lpar_uuid: str | None = None
    has_its_id: str | None = None
    delayed_by: str | None = None

    @property
    def size_bytes(self) -> int | None:
        """The size that NovaLink shows, which is exact where it can be the file's."""
        return size_of(self.record, None if self.health is None else self.health.size)


def disks(host: CommandContext, records: list[MappingRecord]) -> list[Disk]:
    """Probe the files of mappings, all at the same time; ends within one ``probe_timeout_s``.

    Ordered by LPAR, slot and LUA.
    """
    healths = health_module.of_files({record.path for record in records if record.path},
                                   host.settings, host.prober)
    names = {lpar.id: lpar.name for lpar in host.lpars}
    found = [Disk(record, host.lpar_name(record), healths.get(record.path or ''),
                  host.lpar_of(record),
                  None if record.lpar_id is None else names.get(record.lpar_id))
             for record in records]
    hung = {(disk.record.server_slot, disk.lpar): disk.record.path for disk in found
            if disk.health is not None and disk.health.mount_state == MountState.HUNG.value}
    return sorted((dataclasses.replace(disk, delayed_by=_delay(disk, hung)) for disk in found),
                  key=_order)


def row(disk: Disk) -> tuple[Any, ...]:
    """The values of :data:`KEYS`."""
    record, health = disk.record, disk.health
    return (disk.lpar, disk.lpar_uuid, record.slot, record.lua, size(disk.size_bytes),
            health and health.file, health and health.mount_state,
            record.path or record.target_name, record.backstore, record.tag, record.udid,
            record.kind, disk.delayed_by)


def details(disk: Disk) -> tuple[Any, ...]:
    """The values of :data:`DETAILS`."""
    record, health = disk.record, disk.health
    facts: tuple[Any, ...] = (None,) * 6
    if health is not None:
        facts = (health.file, size(health.size), None if health.mount is None
                 else str(health.mount), health.mount_state,
                 output.Seconds(round(health.took_s, 3)), health.note)
    return (disk.lpar, disk.lpar_uuid, record.lpar_id, record.slot, record.lua,
            record.server_slot, record.path, record.udid, record.target_name, record.backstore,
            record.tag, size(disk.size_bytes), *facts, disk.delayed_by)


def size_of(record: MappingRecord, file_bytes: int | None) -> int | None:
    """Return the bytes that NovaLink shows for a disk, which it rounds.

    The size of the file, or a number of whole MiB, is taken for it where it can be meant.
    """
    if record.capacity_gb is None:
        return None
    shown = round(record.capacity_gb * 2**30)
    for meant in (file_bytes, round(shown / 2**20) * 2**20):
        if meant is not None and abs(meant - shown) < _RESOLUTION:
            return meant
    return shown


def size(size_bytes: int | None) -> output.Size | None:
    """A size that the table shows in a unit that suits it."""
    return None if size_bytes is None else output.Size(size_bytes)


def _delay(disk: Disk, hung: dict[tuple[int | None, str], str | None]) -> str | None:
    path = hung.get((disk.record.server_slot, disk.lpar))
    is_hung = disk.health is not None and disk.health.mount_state == MountState.HUNG.value
    return None if is_hung else path


def _order(disk: Disk) -> tuple[Any, ...]:
    number = ''.join(filter(str.isdigit, disk.record.lua or ''))
    return (disk.lpar, disk.record.slot or 0, int(number or 0), disk.record.lua or '',
            disk.record.path or '')
