# SPDX-License-Identifier: Apache-2.0
"""Disks as an operator sees them: the mapping, the LPAR's name, the file and its mount."""

from __future__ import annotations

import dataclasses
from typing import Any

from powervm_fileio_connector.cli import file_health
from powervm_fileio_connector.cli.context import CommandContext
from powervm_fileio_connector.mappings import MappingRecord

COLUMNS = ('LPAR', 'Slot', 'LUA', 'Path', 'Size', 'Backstore', 'Tag', 'File', 'Mount')

DETAILS = ('lpar', 'lpar_uuid', 'lpar_id', 'slot', 'lua', 'server_slot', 'path', 'udid',
           'target_name', 'backstore', 'tag', 'capacity_gb', 'file', 'file_bytes', 'mount',
           'mount_state', 'mount_took_s', 'note')


@dataclasses.dataclass(frozen=True)
class Disk:
    """One mapping, with what this host knows about it."""

    record: MappingRecord
    lpar: str
    sight: file_health.FileHealth | None


def disks(host: CommandContext, records: list[MappingRecord]) -> list[Disk]:
    """Look at the files of mappings, all at the same time; ends within one ``probe_timeout_s``.

    Ordered by LPAR, slot and LUA, as people look for them.
    """
    seen = file_health.look({record.path for record in records if record.path}, host.settings,
                       host.prober)
    return sorted((Disk(record, host.lpar_name(record), seen.get(record.path or ''))
                   for record in records), key=_order)


def row(disk: Disk) -> tuple[Any, ...]:
    """The values of :data:`COLUMNS`."""
    record, sight = disk.record, disk.sight
    return (disk.lpar, record.slot, record.lua, record.path or record.target_name,
            size_shown(record.capacity_gb), record.backstore, record.tag,
            sight.file if sight else None, sight.mount_state if sight else None)


def details(disk: Disk) -> tuple[Any, ...]:
    """The values of :data:`DETAILS`."""
    record, sight = disk.record, disk.sight
    facts: tuple[Any, ...] = (None,) * 6
    if sight is not None:
        facts = (sight.file, sight.size, None if sight.mount is None else str(sight.mount),
                 sight.mount_state, round(sight.took_s, 3), sight.note)
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
