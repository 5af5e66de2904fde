# SPDX-License-Identifier: Apache-2.0
"""What an audit finds in the mappings of files, and the removal of orphans among it."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import Any

from powervm_fileio_connector.cli import file_health
from powervm_fileio_connector.cli import inventory
from powervm_fileio_connector.cli.context import CommandContext
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.mappings import RemoveOrphans
from powervm_fileio_connector.mappings.record import normalised

COLUMNS = ('Finding', 'LPAR', 'Slot', 'Path', 'Detail')

_UUID = re.compile('[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that somebody should look at."""

    what: str
    disk: inventory.Disk
    detail: str
    is_fixable: bool = False
    is_fixed: bool = False

    @property
    def record(self) -> MappingRecord:
        """The mapping it is about."""
        return self.disk.record

    @property
    def path(self) -> str:
        """The file it is about."""
        return self.record.path or ''

    @property
    def row(self) -> tuple[Any, ...]:
        """The values of :data:`COLUMNS`."""
        return (self.what, self.disk.lpar, self.record.slot, self.path, self.detail)


def audit(host: CommandContext) -> list[Finding]:
    """Look at all mappings of files; ends within one ``probe_timeout_s`` whatever hangs."""
    records = [record for record in host.records() if record.kind == 'file' and record.path]
    disks = inventory.disks(host, records)
    live = _live(host)
    by_path: dict[str, list[inventory.Disk]] = {}
    for disk in disks:
        by_path.setdefault(normalised(disk.record.path or ''), []).append(disk)
    found = []
    for disk in disks:
        found += check_client(disk, live)
        found += check_file(disk)
        found += check_tag(disk)
    for sharers in by_path.values():
        found += check_sharing(sharers)
    return found


def remove_orphans(host: CommandContext, found: list[Finding]) -> list[Finding]:
    """Remove the orphans, and say of each what came of it."""
    wanted = tuple(finding.record for finding in found if finding.is_fixable)
    edit = RemoveOrphans(wanted)
    removed = host.writer.submit(edit, host.deadline())
    return [dataclasses.replace(finding, is_fixed=True, detail='removed')
            if finding.is_fixable and finding.record in removed
            else dataclasses.replace(finding, detail='not removed: it is no orphan any more')
            if finding.is_fixable else finding for finding in found]


def _live(host: CommandContext) -> set[str]:
    return {lpar.uuid.upper() for lpar in host.lpars}


def check_client(disk: inventory.Disk, live: set[str]) -> list[Finding]:
    """Is its LPAR there?"""
    record = disk.record
    if record.is_orphan and record.lpar_uuid not in live:
        return [Finding('orphan', disk, 'its LPAR is gone; --fix removes it', is_fixable=True)]
    if record.is_orphan:
        return [Finding('half made', disk, 'its LPAR is there, but has no adapter for it; it may '
                        'just be being made')]
    if record.lpar_uuid is not None and record.lpar_uuid not in live:
        return [Finding('unknown LPAR', disk, f'NovaLink lists no LPAR {record.lpar_uuid}')]
    return []


def check_file(disk: inventory.Disk) -> list[Finding]:
    """Is its file there, on a mount that answers?"""
    sight = disk.sight
    if sight is None or sight.is_fine or disk.record.is_orphan:
        return []
    if sight.mount_state == file_health.ON_ROOT:
        return [] if file_health.is_novalinks_own(disk.record.path or '') else [Finding(
            'on the root file system', disk, 'mount what should hold its file, or list its '
            'directory in the option trusted_directories')]
    if sight.mount_state == 'absent':
        return [Finding('not mounted', disk, 'nothing is mounted where its file should be')]
    if sight.mount_state != 'healthy':
        return [Finding(f'mount {sight.mount_state}', disk, str(sight.mount or ''))]
    return [Finding(f'file {sight.file}', disk, 'the mount answers, but the file is not there'
                    if sight.file == 'missing' else 'it could not be attached now; see "show"')]


def check_tag(disk: inventory.Disk) -> list[Finding]:
    """Does its tag fit? It is the volume's id, which most drivers put into the file's name."""
    record = disk.record
    name = os.path.basename(record.path or '').lower()
    if not record.tag or record.tag.lower() in name or not _UUID.search(name):
        return []
    return [Finding('odd tag', disk, f'its tag {record.tag} is not in the name of the file; a '
                    'migrated volume may look like this')]


def check_sharing(sharers: list[inventory.Disk]) -> list[Finding]:
    """Does only one LPAR have the file?"""
    disks = [disk for disk in sharers if not disk.record.is_orphan]
    clients = {disk.record.lpar_uuid or disk.record.client for disk in disks}
    if len(clients) < 2:
        return []
    names = ' and '.join(sorted({disk.lpar for disk in disks}))
    return [Finding('shared file', disk, f'{names} have it') for disk in disks]
