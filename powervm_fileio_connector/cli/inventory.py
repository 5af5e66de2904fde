# SPDX-License-Identifier: Apache-2.0
"""Disks: the mapping, the name of its LPAR, the state of the file and of its mount."""

from __future__ import annotations

import dataclasses
from typing import Any

from powervm_fileio_connector.cli.context import CommandContext
from powervm_fileio_connector.host import health as health_module
from powervm_fileio_connector.mappings import MappingRecord

COLUMNS = ('LPAR', 'Slot', 'LUA', 'Path', 'Size', 'Backstore', 'Tag', 'File', 'Mount')

DETAILS = ('lpar', 'lpar_uuid', 'lpar_id', 'slot', 'lua', 'server_slot', 'path', 'udid',
           'target_name', 'backstore', 'tag', 'capacity_gb', 'file', 'file_bytes', 'mount',
           'mount_state', 'mount_took_s', 'note')


@dataclasses.dataclass(frozen=True)
class Disk:
    """One mapping, and what is known of its LPAR and its file.

    :ivar has_its_id: the LPAR that has the id which the mapping names
    """

    record: MappingRecord
    lpar: str
    health: health_module.FileHealth | None
    has_its_id: str | None = None


def disks(host: CommandContext, records: list[MappingRecord]) -> list[Disk]:
    """Probe the files of mappings, all at the same time; ends within one ``probe_timeout_s``.

    Ordered by LPAR, slot and LUA.
    """
    healths = health_module.of_files({record.path for record in records if record.path},
                                   host.settings, host.prober)
    names = {lpar.id: lpar.name for lpar in host.lpars}
    return sorted((Disk(record, host.lpar_name(record), healths.get(record.path or ''),
                        None if record.lpar_id is None else names.get(record.lpar_id))
                   for record in records), key=_order)


def row(disk: Disk) -> tuple[Any, ...]:
    """The values of :data:`COLUMNS`."""
    record, health = disk.record, disk.health
    return (disk.lpar, record.slot, record.lua, record.path or record.target_name,
            size_shown(record.capacity_gb), record.backstore, record.tag,
            health.file if health else None, health.mount_state if health else None)


def details(disk: Disk) -> tuple[Any, ...]:
    """The values of :data:`DETAILS`."""
    record, health = disk.record, disk.health
    facts: tuple[Any, ...] = (None,) * 6
    if health is not None:
        facts = (health.file, health.size, None if health.mount is None else str(health.mount),
                 health.mount_state, round(health.took_s, 3), health.note)
    return (disk.lpar, record.lpar_uuid, record.lpar_id, record.slot, record.lua,
            record.server_slot, record.path, record.udid, record.target_name, record.backstore,
            record.tag, record.capacity_gb, *facts)


def size_shown(capacity_gb: float | None) -> str | None:
    """A size in the unit that shows it best."""
    if capacity_gb is None:
        return None
    if capacity_gb < 1:
        return f'{capacity_gb * 1024:.4g} MiB'
    return f'{capacity_gb:.6g} GiB'


def _order(disk: Disk) -> tuple[Any, ...]:
    number = ''.join(filter(str.isdigit, disk.record.lua or ''))
    return (disk.lpar, disk.record.slot or 0, int(number or 0), disk.record.lua or '',
            disk.record.path or '')
