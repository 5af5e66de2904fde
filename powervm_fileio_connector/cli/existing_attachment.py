# SPDX-License-Identifier: Apache-2.0
"""Acts on volumes that some LPAR has: detaching and extending."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.cli import attachment_index
from powervm_fileio_connector.cli import inventory
from powervm_fileio_connector.cli import operation
from powervm_fileio_connector.cli import preview
from powervm_fileio_connector.cli import volumes
from powervm_fileio_connector.cli.errors import NotAttached
from powervm_fileio_connector.cli.errors import UsageError
from powervm_fileio_connector.connection_properties import parse
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.mappings import MappingRecord


class ExistingAttachmentOperation(operation.VolumeOperation):
    """The LPAR need not be named if only one has the volume."""

    def prepare(self, given: list[volumes.Volume]) -> None:
        """Read the mappings if they are needed: once, not by each thread."""
        if self.args.lpar is None and any(volume.lpar is None for volume in given):
            _ = self._holders

    def completed(self, volume: volumes.Volume) -> volumes.Volume:
        """Find out from the mappings which LPAR, and which file, is meant.

        :raises UsageError: several LPARs have the volume, and none was named
        """
        volume = super().completed(volume)
        return volume if volume.lpar_uuid and not volume.is_id_only else self.found(volume)

    def found(self, volume: volumes.Volume) -> volumes.Volume:
        """The volume with the LPAR that has it; as it is if none has."""
        found = [record for record in self._holders.find(volume, self.connector.criteria(volume))
                 if not record.is_orphan and not record.is_wild_card
                 and volume.lpar_uuid in (None, self.host.lpar_of(record))]
        names = {self.host.lpar_of(record): self.host.lpar_name(record) for record in found}
        if len(names) > 1:
            raise UsageError(f'Volume {volume.label} is attached to LPARs '
                             + ' and '.join(sorted(names.values())) + '. Say which with --lpar.')
        if not found:
            return volume
        if None in names:
            raise exceptions.LPARNotFound(
                doing=f'find the LPAR of volume {volume.label}', lpar=names[None],
                reason=f'{found[0].path} is mapped to LPAR {names[None]}, which NovaLink does not '
                'list')
        path = found[0].path if volume.is_id_only else None
        return volume.with_keys(lpar_uuid=self.host.lpar_of(found[0]), path=path)

    @functools.cached_property
    def _holders(self) -> attachment_index.AttachmentIndex:
        return attachment_index.AttachmentIndex(self.host)


class Detaching(ExistingAttachmentOperation):
    """Take volumes off LPARs."""

    title = 'Detaching'
    done = 'detached'

    def completed(self, volume: volumes.Volume) -> volumes.Volume:
        """Complete it; an LPAR that is gone has nothing any more, if nobody has the volume.

        :raises LPARNotFound: some LPAR has it, so the name may be mistyped
        """
        try:
            return super().completed(volume)
        except exceptions.LPARNotFound:
            found = self.found(volume)
            if found.lpar_uuid is not None:
                raise
            return found

    def act(self, volume: volumes.Volume) -> Sequence[MappingRecord]:
        """Return the mappings that were removed."""
        # Where no LPAR is known by now, none has it, as a fresh read showed.
        return () if volume.lpar_uuid is None else self.connector.detach(volume)

    def said(self, value: Sequence[MappingRecord]) -> str:
        return self.done if value else 'was not attached'

    def preview(self, volume: volumes.Volume) -> list[preview.Row]:
        if volume.lpar_uuid is None:
            return [('none', None, None, None, volume.spec.path, None, volume.spec.volume_id)]
        return super().preview(volume)

    def step(self, connector: Any, volume: volumes.Volume) -> Any:
        return connector.disconnect_volume(volume.keys, volume.device_info)


class Extending(ExistingAttachmentOperation):
    """Show LPARs the new size of volumes."""

    title = 'Extending'
    done = 'extended'
    columns = (*operation.VolumeOperation.columns, 'Bytes')
    preview_columns = ('Volume', 'LPAR', 'LPAR sees', 'File has')

    def found(self, volume: volumes.Volume) -> volumes.Volume:
        """The volume with the LPAR that has it.

        :raises NotAttached: no LPAR has it
        """
        volume = super().found(volume)
        if volume.lpar_uuid is None:
            raise NotAttached(f'Volume {volume.label} is not attached to any LPAR. Attach it '
                              'first.')
        return volume

    def act(self, volume: volumes.Volume) -> int:
        """Return its size in bytes."""
        return self.connector.extend_volume(volume.keys)

    def more(self, value: int) -> tuple[Any, ...]:
        return (value,)

    def preview(self, volume: volumes.Volume) -> list[preview.Row]:
        """Return the sizes that the file has and that NovaLink knows of."""
        spec = parse(volume.keys)
        file = finder.find(spec, self.host.settings, prober=self.host.prober)
        return [(volume.label, self.host.lpar_shown(volume.lpar_uuid),
                 inventory.size_shown(record.capacity_gb), inventory.size_shown(file.size / 2**30))
                for record in self._holders.find(volume, self.connector.criteria(volume))
                if self.host.lpar_of(record) == volume.lpar_uuid]
