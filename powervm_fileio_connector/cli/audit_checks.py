# SPDX-License-Identifier: Apache-2.0
"""What an audit finds in the mappings of files, and the removal of the orphans among them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from powervm_fileio_connector.cli import inventory
from powervm_fileio_connector.cli.context import CommandContext
from powervm_fileio_connector.host import health as health_module
from powervm_fileio_connector.host import spellings_of
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.mappings import OrphanState
from powervm_fileio_connector.mappings import RemoveOrphans
from powervm_fileio_connector.mappings import incomplete_list
from powervm_fileio_connector.mappings import orphan_state
from powervm_fileio_connector.mappings.record import normalised
from powervm_fileio_connector.volume import UUID

KEYS = ('finding', 'lpar', 'lpar_uuid', 'slot', 'lua', 'path', 'detail')

FINDINGS = ('orphan', 'doubtful orphan', 'incomplete', 'unknown LPAR', 'file missing',
            'file unsafe', 'file unknown', 'not mounted', 'on the root file system',
            'mount read-only', 'mount hung', 'mount stale', 'mount wrong', 'mount unknown',
            'shared file', 'mapped twice', 'tag mismatch', 'delayed')


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that needs attention.

    :ivar is_fixable: an orphan, which --fix removes
    :ivar is_doubtful: it may be an orphan; --fix removes it if the user says so
    """

    what: str
    disk: inventory.Disk
    detail: str
    is_fixable: bool = False
    is_doubtful: bool = False
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
        """The values of :data:`KEYS`."""
        return (self.what, self.disk.lpar, self.disk.lpar_uuid, self.record.slot, self.record.lua,
                self.path, self.detail)


@dataclasses.dataclass(frozen=True)
class Report:
    """All findings.

    :ivar not_fixable: why nothing tells which LPARs are gone; None: the list of LPARs is whole
    """

    findings: list[Finding]
    disks: list[inventory.Disk]
    not_fixable: str | None = None


def audit(host: CommandContext) -> Report:
    """Check all mappings of files; ends within one ``probe_timeout_s`` whatever hangs."""
    everything = host.records()
    disks = inventory.disks(host, [record for record in everything
                                   if record.kind == 'file' and record.path])
    lpars = host.lpar_ids
    by_path: dict[str, list[inventory.Disk]] = {}
    for disk in disks:
        one = min(map(normalised, spellings_of(normalised(disk.record.path or ''))))
        by_path.setdefault(one, []).append(disk)
    found = []
    for disk in disks:
        found += check_client(disk, lpars)
        found += check_file(disk)
        found += check_tag(disk)
        found += check_bus(disk)
    for sharers in by_path.values():
        found += check_sharing(sharers)
    return Report(found, disks, incomplete_list(everything, lpars))


def remove_orphans(host: CommandContext, found: list[Finding],
                   are_doubtful_agreed: bool) -> list[Finding]:
    """Remove orphans, and return the findings with what was done about each.

    What else was found of a disk that is removed is left out: it is over.

    :param are_doubtful_agreed: the user has seen the doubtful ones, and wants them removed
    :raises MappingFailed: by now the list of LPARs is empty or incomplete
    """
    def is_wanted(finding: Finding) -> bool:
        return finding.is_fixable or (finding.is_doubtful and are_doubtful_agreed)

    edit = RemoveOrphans(
        tuple(finding.record for finding in found if finding.is_fixable),
        tuple(finding.record for finding in found if finding.is_doubtful and are_doubtful_agreed))
    removed = set(host.writer.submit(edit, host.deadline()))
    return [finding if not is_wanted(finding)
            else dataclasses.replace(finding, is_fixed=True, detail='removed')
            if finding.record in removed
            else dataclasses.replace(finding, detail='not removed: it is no orphan any more')
            for finding in found if is_wanted(finding) or finding.record not in removed]


def check_client(disk: inventory.Disk, lpars: Mapping[str, int]) -> list[Finding]:
    """Find out whether its LPAR exists.

    :param lpars: the ids of all LPARs, by their UUIDs in capitals
    """
    record = disk.record
    state = orphan_state(record, lpars)
    if state is OrphanState.GONE:
        return [Finding('orphan', disk, 'its LPAR is gone; --fix removes it', is_fixable=True)]
    if state is OrphanState.IN_USE:
        return [Finding('incomplete', disk, 'its LPAR exists, but has no client adapter for it; it '
                        'may just be being made')]
    if state is OrphanState.DOUBTFUL:
        return [Finding('doubtful orphan', disk, f'{_why_doubtful(disk)}; --fix asks',
                        is_doubtful=True)]
    if record.lpar_uuid is not None and not record.is_vios_client and (
            record.lpar_uuid not in lpars):
        return [Finding('unknown LPAR', disk, f'NovaLink lists no LPAR {record.lpar_uuid}')]
    if record.lpar_uuid is None and not record.is_wild_card and (
            record.lpar_id not in lpars.values()):
        return [Finding('unknown LPAR', disk, f'NovaLink lists no LPAR with id {record.lpar_id}')]
    return []


def _why_doubtful(disk: inventory.Disk) -> str:
    if disk.record.is_vios_client:
        return f'its client is the I/O server {disk.record.lpar_uuid}'
    return (f'it has no client adapter, but LPAR {disk.has_its_id} has the id '
            f'{disk.record.lpar_id}')


def check_file(disk: inventory.Disk) -> list[Finding]:
    """Find out whether its file is there, on a mount that answers."""
    health = disk.health
    if health is None or health.is_fine or disk.record.is_orphan:
        return []
    if health.mount_state == health_module.ON_ROOT:
        return [] if health_module.is_novalinks_own(disk.record.path or '') else [Finding(
            'on the root file system', disk, 'mount what should hold its file, or list its '
            'directory in the option trusted_directories')]
    if health.mount_state == 'absent':
        return [Finding('not mounted', disk, 'nothing is mounted where its file should be')]
    if health.mount_state != 'healthy':
        is_unknown = health.mount_state == health_module.MountState.UNKNOWN.value
        return [Finding(f'mount {health.mount_state}', disk,
                        str((is_unknown and health.note) or health.mount or ''))]
    details = {'missing': 'the mount answers, but the file is not there', 'unknown': health.note}
    return [Finding(f'file {health.file}', disk,
                    details.get(health.file) or 'it could not be attached now; see "show"')]


def check_tag(disk: inventory.Disk) -> list[Finding]:
    """Compare its tag, the volume's id, with the file's name, in which most drivers put the id."""
    record = disk.record
    name = os.path.basename(record.path or '').lower()
    if not record.tag or record.tag.lower() in name or not UUID.search(name):
        return []
    return [Finding('tag mismatch', disk, f'its tag {record.tag} is not in the name of the file, '
                    'as after a migration')]


def check_bus(disk: inventory.Disk) -> list[Finding]:
    """Find out whether another disk on its bus delays it."""
    if disk.delayed_by is None:
        return []
    return [Finding('delayed', disk, f'the mount of {disk.delayed_by} on the same bus is hung, '
                    'which delays all its disks')]


def check_sharing(sharers: list[inventory.Disk]) -> list[Finding]:
    """Find out whether several LPARs have the file."""
    disks = [disk for disk in sharers if not disk.record.is_orphan]
    clients = {disk.lpar_uuid or disk.record.client for disk in disks}
    if len(disks) > len(clients) == 1:
        return [Finding('mapped twice', disk, 'its LPAR has the file more than once; one mapping '
                        'may be left over from an attach that failed') for disk in disks]
    if len(clients) < 2:
        return []
    names = ' and '.join(sorted({disk.lpar for disk in disks}))
    return [Finding('shared file', disk, f'{names} have it') for disk in disks]
