# SPDX-License-Identifier: Apache-2.0
"""This host's mappings beside Cinder's attachments, and where the two disagree."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

from oslo_utils import timeutils

from powervm_fileio_connector import cinder
from powervm_fileio_connector.cli.context import CommandContext
from powervm_fileio_connector.connection_properties import parse_leniently
from powervm_fileio_connector.host import candidate_paths
from powervm_fileio_connector.host import spellings_of
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.mappings.record import normalised
from powervm_fileio_connector.volume import PROTOCOLS
from powervm_fileio_connector.volume import UUID
from powervm_fileio_connector.volume import VolumeSpec

KEYS = ('finding', 'host', 'volume', 'lpar', 'path', 'attached_to', 'detail')

ELSEWHERE = 'attached elsewhere'
OTHER_LPAR = 'other LPAR'
OTHER_FILE = 'other file'
NO_ATTACHMENT = 'no attachment'
NOT_MAPPED = 'not mapped'
STATE = 'state'
FINDINGS = (ELSEWHERE, OTHER_LPAR, OTHER_FILE, NO_ATTACHMENT, NOT_MAPPED, STATE)

_A_WHILE_S = 600
_SETTLED = ('available', 'in-use')


@dataclasses.dataclass(frozen=True)
class Finding:
    """One disagreement, and what to do about it."""

    what: str
    volume_id: str
    detail: str
    lpar: str | None = None
    path: str | None = None
    attached_to: str | None = None

    def row(self, host: str) -> tuple[Any, ...]:
        """The values of :data:`KEYS`."""
        return (self.what, host, self.volume_id, self.lpar, self.path, self.attached_to,
                self.detail)


class CinderAudit:
    """One audit: NovaLink's document, all volumes and all attachments are read once.

    :ivar unseen: what could not be seen, in sentences
    """

    def __init__(self, host: CommandContext, block_storage: cinder.BlockStorage,
                 all_projects: bool) -> None:
        self._host = host
        _ = host.lpars
        self._name = block_storage.host
        records = [record for record in host.records() if record.kind == 'file' and record.path
                   and not record.is_orphan]
        self._volumes, attachments = block_storage.everything(all_projects=all_projects)
        self._attachments: dict[str, list[cinder.Attachment]] = {}
        for one in attachments:
            self._attachments.setdefault(one.volume_id, []).append(one)
        self._here = [one for one in attachments if one.is_finished and one.host == self._name
                      and one.connection_info.get('driver_volume_type') in PROTOCOLS]
        self._mapped = self._by_volume(records)
        self.unseen = self._unseen(attachments, all_projects, block_storage.cloud.project_id)

    def findings(self) -> list[Finding]:
        """Return what is found, the worst first."""
        found = [finding for volume_id, records in self._mapped.items()
                 for record in records for finding in self._of_mapping(volume_id, record)]
        found += [Finding(NOT_MAPPED, one.volume_id, 'no LPAR of this host has it; "cinder attach" '
                          'or "cinder detach" it, or, if it is Nova\'s, rebuild the attachment '
                          'there', lpar=one.lpar_uuid and self._host.lpar_shown(one.lpar_uuid),
                          attached_to=_to(one))
                  for one in self._here if one.volume_id not in self._mapped]
        found += self._states()
        return sorted(found, key=lambda one: (
            FINDINGS.index(one.what), one.volume_id, one.path or ''))

    def _of_mapping(self, volume_id: str, record: MappingRecord) -> Iterator[Finding]:
        facts = {'lpar': self._host.lpar_name(record), 'path': record.path}
        attachments = self._attachments.get(volume_id, [])
        finished = [one for one in attachments if one.is_finished]
        here = [one for one in finished if one.host == self._name]
        elsewhere = [one for one in finished if one.host not in (None, self._name)]
        volume = self._volumes.get(volume_id)
        if elsewhere and not (here and volume is not None and volume.is_multiattach):
            yield Finding(ELSEWHERE, volume_id, 'two hosts may write to it: stop the LPAR that '
                          'should not have it, then detach it there',
                          attached_to=', '.join(map(_to, elsewhere)), **facts)
        if here:
            yield from self._of_attached(volume_id, record, here, facts)
        elif not attachments:
            said = ('Cinder shows no such volume: deleted, or in a project that is not seen'
                    if volume is None else f'Cinder has it {volume.status}')
            yield Finding(NO_ATTACHMENT, volume_id, f'{said}; if the LPAR needs it, "cinder '
                          'attach" it, else "detach" it', **facts)

    def _of_attached(self, volume_id: str, record: MappingRecord, here: list[cinder.Attachment],
                     facts: dict[str, Any]) -> Iterator[Finding]:
        lpars = {one.lpar_uuid for one in here}
        if None not in lpars and self._host.lpar_of(record) not in lpars:
            yield Finding(OTHER_LPAR, volume_id, 'Cinder has it attached to another LPAR of this '
                          'host; "cinder detach" it with --lpar, from the one that should not '
                          'have it', attached_to=', '.join(map(_to, here)), **facts)
        specs = [parse_leniently(one.connection_info, need_lpar=False) for one in here
                 if one.connection_info.get('driver_volume_type') in PROTOCOLS]
        if specs and not any(self._is_file(spec, record.path or '') for spec in specs):
            named = ' or '.join(spec.path or f'{spec.name} in {spec.export_shown}'
                                for spec in specs)
            yield Finding(OTHER_FILE, volume_id, f'Cinder names {named}: after a snapshot or a '
                          'migration the LPAR still writes to the old file; detach and attach it '
                          'while the LPAR does not use it', attached_to=_to(here[0]), **facts)

    def _is_file(self, spec: VolumeSpec, path: str) -> bool:
        path = normalised(path)
        if path in (spec.path, f'{os.path.dirname(path)}/{spec.name}') and (
                spec.path or f'/{spec.export_hash}/' in path):
            return True
        if os.path.basename(path) not in (spec.name, os.path.basename(spec.path or '')):
            return False
        return not {path, *spellings_of(path)}.isdisjoint(
            candidate_paths(spec, self._host.settings))

    def _states(self) -> Iterator[Finding]:
        concerned = {*self._mapped, *(one.volume_id for one in self._here)}
        begun = cinder.Unfinished.left()
        for volume in self._volumes.values():
            # A note may also have outlived its attachment, which was completed or deleted.
            is_begun = volume.id in begun and not all(
                one.is_finished for one in self._attachments.get(volume.id, ()))
            if not (is_begun or volume.id in concerned) or (
                    volume.status in _SETTLED and not is_begun):
                continue
            if not volume.status.startswith('error') and not _is_older(volume.updated_at):
                continue
            yield Finding(STATE, volume.id, f'{volume.status} since {volume.updated_at}; ' + (
                '"cinder attach" goes on from there, "cinder detach" ends it' if is_begun else
                'an administrator sets it right with "openstack volume set --state"'))

    def _by_volume(self, records: list[MappingRecord]) -> dict[str, list[MappingRecord]]:
        """The mappings of volumes: by tag, else by the id in the file's name, else by the file."""
        files = {one.connection_info.get('device_path'): one.volume_id for one in self._here}
        mapped: dict[str, list[MappingRecord]] = {}
        for record in records:
            tag = (record.tag or '').lower()
            named = [text for text in UUID.findall(os.path.basename(record.path or '').lower())
                     if text in self._volumes]
            volume_id = tag if UUID.fullmatch(tag) else next(iter(named), None) or files.get(
                record.path)
            if volume_id is not None:
                mapped.setdefault(volume_id, []).append(record)
        return mapped

    def _unseen(self, attachments: list[cinder.Attachment], all_projects: bool,
                project: str | None) -> list[str]:
        said = []
        if all_projects and self._volumes and all(
                volume.backend is None for volume in self._volumes.values()):
            said.append(f'These credentials show only project {project}, not all projects.')
        hidden = sum(one.is_finished and one.host is None for one in attachments)
        if hidden:
            said.append(f'Of {hidden} attachments Cinder does not show these credentials the '
                        'host, so they are neither found to be here nor elsewhere.')
        return said


def _to(one: cinder.Attachment) -> str:
    return ' '.join(filter(None, (one.host, one.instance and f'instance {one.instance}',
                                  one.lpar_uuid and f'LPAR {one.lpar_uuid}')))


def _is_older(updated_at: str | None) -> bool:
    if not updated_at:
        return True
    return timeutils.is_older_than(
        timeutils.normalize_time(timeutils.parse_isotime(updated_at)), _A_WHILE_S)
