# SPDX-License-Identifier: Apache-2.0
"""Who has a volume: each LPAR is asked by the very criteria by which detaching finds a mapping."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

from oslo_utils import uuidutils

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import mappings
from powervm_fileio_connector import plans
from powervm_fileio_connector.cli import volumes
from powervm_fileio_connector.cli.context import CommandContext
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.host import resolved_paths


class AttachmentIndex:
    """Answers from one read of NovaLink's mappings; safe to ask from several threads."""

    def __init__(self, host: CommandContext) -> None:
        self._document = host.writer.read_table(host.deadline())
        self._host = host
        self._files = [record for record in (entry.record for entry in self._document.entries())
                       if record.kind == 'file' and record.path]
        self._lpars = sorted({uuid for uuid in map(host.lpar_of, self._files) if uuid})
        ids: dict[str, int | None] = dict.fromkeys(self._lpars)
        ids.update((lpar.uuid.upper(), lpar.id) for lpar in host.lpars)
        self._document.lpar_ids.update(ids)
        # Read now, not by each thread.
        list(self._document.entries())

    def of(self, volume: volumes.Volume,
           criteria: mappings.RemoveMapping) -> list[mappings.MappingRecord]:
        """Return the mappings of a volume, and whatever else its file has: orphans, wild cards.

        :param criteria: what tells the volume, whichever LPAR they name
        :raises MappingFailed: only its file name is known, and that fits files of other places
        """
        found = (self._matching(dataclasses.replace(criteria, file_name=None))
                 or self._matching(criteria) or self._named_after(volume))
        paths = {*criteria.paths, *criteria.spellings, *(record.path or '' for record in found)}
        return found + [shown.record for shown in self._document.of_paths(paths)
                        if shown.record not in found]

    def of_unseen(self, volume: volumes.Volume) -> list[mappings.MappingRecord]:
        """As :meth:`of`, but the share is looked at only where the spelling alone finds nothing.

        For who looks at the share anyway: one that hangs then costs one deadline, not two.
        """
        unseen = criteria(self._host, volume, _not_looked_at)
        return (self.of(volume, dataclasses.replace(unseen, file_name=None))
                or self.of(volume, criteria(self._host, volume)))

    def _matching(self, criteria: mappings.RemoveMapping) -> list[mappings.MappingRecord]:
        return [shown.record for lpar_uuid in self._lpars for shown in dataclasses.replace(
            criteria, lpar_uuid=lpar_uuid).matches(self._document)]

    def _named_after(self, volume: volumes.Volume) -> list[mappings.MappingRecord]:
        """The mappings of files that have the volume's id in their name, if it is all we know."""
        volume_id = volume.spec.volume_id
        if not volume.is_id_only or not uuidutils.is_uuid_like(volume_id):
            return []
        return [record for record in self._files
                if str(volume_id).lower() in os.path.basename(record.path or '').lower()]


def criteria(host: CommandContext, volume: volumes.Volume,
             find: Callable[[], finder.VolumeFile] | None = None) -> mappings.RemoveMapping:
    """Return what tells the mappings of a volume, of whichever LPAR.

    :param find: looks for the volume's file, where that has been done already
    :raises InvalidConnectionProperties: nothing tells which volume is meant
    """
    spec = volume.spec
    try:
        return plans.removal(
            spec, volume.info, host.settings,
            find=find or (lambda: finder.find(spec, host.settings, prober=host.prober)),
            resolve=lambda paths: resolved_paths(paths, prober=host.prober))
    except exceptions.FileIOConnectorError as err:
        err.add_context(doing=f'find volume {volume.label}', volume=volume.label)
        raise


def _not_looked_at() -> finder.VolumeFile:
    raise exceptions.ShareNotMounted(reason='the share was not looked at')
