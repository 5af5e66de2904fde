# SPDX-License-Identifier: Apache-2.0
"""Which mappings are a volume's: found as detaching finds them, and never guessed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator

from oslo_utils import uuidutils

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import mappings
from powervm_fileio_connector import plans
from powervm_fileio_connector.cli import volumes
from powervm_fileio_connector.cli.context import CommandContext
from powervm_fileio_connector.cli.context import doing
from powervm_fileio_connector.cli.errors import UsageError
from powervm_fileio_connector.cli.errors import warn
from powervm_fileio_connector.connection_properties import parse
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.host import resolved_paths
from powervm_fileio_connector.mappings.record import normalised

_PLACES = ('path', 'device_path', 'export', 'name')


class AttachmentIndex:
    """Answers from one read of NovaLink's mappings; safe to ask from several threads."""

    def __init__(self, host: CommandContext) -> None:
        self._table = host.writer.read_table(host.deadline())
        self._host = host
        self._files = [record for record in (entry.record for entry in self._table.entries())
                       if record.kind == 'file' and record.path]
        ids: dict[str, int | None] = {}
        for record in self._files:
            uuid = host.lpar_of(record)
            if uuid is not None:
                ids[uuid] = None
            elif record.lpar_id is not None and not record.is_orphan:
                # Of an LPAR that no link names and NovaLink does not list.
                ids[f'ID {record.lpar_id}'] = record.lpar_id
        self._lpars = sorted(ids)
        ids.update(host.lpar_ids)
        self._table.lpar_ids.update(ids)

    def find(self, volume: volumes.Volume,
             criteria: mappings.RemoveMapping) -> list[mappings.MappingRecord]:
        """Return the mappings of a volume, and those of its file that have no client.

        :param criteria: what tells the volume, whichever LPAR they name
        :raises UsageError: its id fits several files, or a file that is tagged as another volume,
            or also as another volume
        :raises MappingFailed: only its file name is known, and that fits files of other places
        """
        by_path = self._matching(dataclasses.replace(criteria, tag=None, file_name=None))
        if by_path:
            self._require_own_tag(volume, by_path)
        found = (by_path or self._tagged(volume) or self._matching(criteria)
                 or self._named_after(volume))
        paths = {*criteria.paths, *criteria.spellings, *(record.path or '' for record in found)}
        more = [entry.record for entry in self._table.of_paths(paths)
                if entry.record not in found]
        if not by_path:
            self._require_only_tag(volume, more)
        return found + more

    def find_without_probing(self, volume: volumes.Volume) -> list[mappings.MappingRecord]:
        """As :meth:`find`, but the share is probed only where the path alone finds nothing.

        For commands that probe the share anyway: one that hangs then costs one deadline, not two.
        """
        unprobed = criteria(self._host, volume, _not_probed)
        return (self.find(volume, dataclasses.replace(unprobed, file_name=None))
                or self.find(volume, criteria(self._host, volume)))

    def _matching(self, criteria: mappings.RemoveMapping) -> list[mappings.MappingRecord]:
        return [entry.record for lpar_uuid in self._lpars for entry in dataclasses.replace(
            criteria, lpar_uuid=lpar_uuid).matches(self._table)]

    def _require_own_tag(self, volume: volumes.Volume,
                         found: list[mappings.MappingRecord]) -> None:
        """:raises UsageError: the path that was given is tagged as another volume than the id"""
        volume_id = volume.spec.volume_id
        for record in found:
            if volume_id is None or record.tag is None or volumes.same_id(record.tag, volume_id):
                continue
            if volume.is_id_from_command_line and volume.info.path is None:
                raise UsageError(
                    f'{record.path} is tagged {record.tag}, so it is not volume {volume_id}. '
                    'Give only one of the two.')
            warn(f'Volume {volume_id}: its file {record.path} is tagged {record.tag}, as after a '
                 'migration; the path decides.')

    def _require_only_tag(self, volume: volumes.Volume,
                          more: list[mappings.MappingRecord]) -> None:
        """:raises UsageError: the file that the id tells is attached as another volume, too"""
        volume_id, lpar_uuid = volume.spec.volume_id, volume.lpar_uuid
        for record in more:
            state = mappings.orphan_state(record, self._host.lpar_ids)
            # An incomplete mapping that links to no LPAR may be that of the LPAR with its id.
            is_of_lpar = lpar_uuid in (None, self._host.lpar_of(record)) or (
                state is mappings.OrphanState.DOUBTFUL
                and self._host.lpar_ids.get(lpar_uuid) == record.lpar_id)
            if (volume_id is not None and record.tag is not None
                    and state is not mappings.OrphanState.GONE
                    and not volumes.same_id(record.tag, volume_id) and is_of_lpar):
                raise UsageError(
                    f'The file of volume {volume_id}, {record.path}, is attached to LPAR '
                    f'{self._host.lpar_name(record)} as volume {record.tag}. Give the path.')

    def _tagged(self, volume: volumes.Volume) -> list[mappings.MappingRecord]:
        volume_id = volume.spec.volume_id
        if volume_id is None:
            return []
        return _of_one_file(volume, 'tagged with its id', (
            record for record in self._files
            if record.tag is not None and volumes.same_id(record.tag, volume_id)))

    def _named_after(self, volume: volumes.Volume) -> list[mappings.MappingRecord]:
        """The mappings of the file that has the volume's id in its name, if only that is known.

        A file that is tagged as another volume is never it, and one whose name merely contains the
        id may be a copy of it.
        """
        volume_id = volume.spec.volume_id
        if not volume.is_id_only or not uuidutils.is_uuid_like(volume_id):
            return []
        found = [record for record in self._files if record.tag is None
                 and str(volume_id) in os.path.basename(record.path or '').lower()]
        name = re.compile(rf'(volume-)?{volume_id}([.].*)?', re.IGNORECASE)
        if found and not name.fullmatch(os.path.basename(found[0].path or '')):
            raise _ambiguous(volume, 'has its id in its name, but not as Cinder names files', found)
        return _of_one_file(volume, 'named after its id', found)


def criteria(host: CommandContext, volume: volumes.Volume,
             find: Callable[[], finder.VolumeFile] | None = None) -> mappings.RemoveMapping:
    """Return what tells the mappings of a volume, of whichever LPAR.

    :param find: finds the volume's file, where that has been done already
    :raises InvalidConnectionProperties: nothing tells which volume is meant
    """
    spec = volume.spec
    with naming_refused(volume, 'find'):
        return plans.removal(
            spec, volume.info, host.settings,
            find=find or (lambda: host.attachments.find(spec)),
            resolve=lambda paths: resolved_paths(paths, prober=host.prober))


@contextlib.contextmanager
def naming_refused(volume: volumes.Volume, verb: str) -> Iterator[None]:
    """Have an error about a volume that nothing tells say why its path or name was refused.

    Both are left out where they are read for detaching, without a word.

    :param verb: what was to be done: ``extend``
    """
    with doing(f'{verb} volume {volume.label}', volume=volume.label):
        try:
            yield
        except exceptions.InvalidConnectionProperties:
            if any(volumes.get(volume.keys, key) for key in _PLACES):
                parse(volume.keys, need_lpar=False)
            raise


def _of_one_file(volume: volumes.Volume, why: str,
                 found: Iterable[mappings.MappingRecord]) -> list[mappings.MappingRecord]:
    """:raises UsageError: they are mappings of several files"""
    records = list(found)
    if len({normalised(record.path or '') for record in records}) > 1:
        raise _ambiguous(volume, f'several files are {why}', records)
    return records


def _ambiguous(volume: volumes.Volume, why: str,
               found: list[mappings.MappingRecord]) -> UsageError:
    paths = ' and '.join(sorted({record.path or '' for record in found}))
    return UsageError(f'Volume {volume.label} could be {paths}: {why}. Give the path.')


def _not_probed() -> finder.VolumeFile:
    raise exceptions.ShareNotMounted(reason='the share was not probed')
