# SPDX-License-Identifier: Apache-2.0
"""Operations on volumes that are attached already: detaching and extending."""

from __future__ import annotations

import argparse
import concurrent.futures
import functools
from collections.abc import Sequence
from typing import Any

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import plans
from powervm_fileio_connector.cli import attachment_index
from powervm_fileio_connector.cli import inventory
from powervm_fileio_connector.cli import operation
from powervm_fileio_connector.cli import output
from powervm_fileio_connector.cli import parallel
from powervm_fileio_connector.cli import volumes
from powervm_fileio_connector.cli.errors import NotAttached
from powervm_fileio_connector.cli.errors import UsageError
from powervm_fileio_connector.connection_properties import parse
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.plans import Plan
from powervm_fileio_connector.volume import DeviceInfo
from powervm_fileio_connector.volume import VolumeSpec


class ExistingAttachmentOperation(operation.VolumeOperation):
    """The LPAR need not be named if the volume is attached to one only."""

    def __init__(self, command: output.Table, args: argparse.Namespace) -> None:
        super().__init__(command, args)
        self._criteria: dict[tuple[VolumeSpec, DeviceInfo], RemoveMapping] = {}

    def prepare(self, given: list[volumes.Volume]) -> None:
        """Read the mappings if they are needed: once, not by each thread."""
        if self.args.lpar is None and any(volume.lpar is None for volume in given):
            _ = self._index

    def completed(self, volume: volumes.Volume) -> volumes.Volume:
        """Find out from the mappings which LPAR, and which file, is meant.

        :raises UsageError: several LPARs have the volume, and none was named
        """
        volume = super().completed(volume)
        return volume if volume.lpar_uuid and not volume.is_id_only else self.found(volume)

    def found(self, volume: volumes.Volume) -> volumes.Volume:
        """The volume with the LPAR that has it; as it is if none has."""
        found = [record for record in self._index.find(volume, self.criteria(volume))
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

    def criteria(self, volume: volumes.Volume) -> RemoveMapping:
        """Return what tells the mappings of a volume, of any LPAR; its share is probed once.

        :raises InvalidConnectionProperties: nothing tells which volume is meant
        """
        key = volume.spec, volume.info
        if key not in self._criteria:
            with plans.error_context(plans.DETACH, volume.spec_of(volume.lpar_uuid)):
                self._criteria[key] = self.host.attachments.removal(*key)
        return self._criteria[key]

    @functools.cached_property
    def _index(self) -> attachment_index.AttachmentIndex:
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

    def plan(self, volume: volumes.Volume) -> Plan | None:
        """Return the plan; None: it is attached to no LPAR, as NovaLink's mappings show."""
        if volume.lpar_uuid is None:
            return None
        return self.host.attachments.plan_detach(volume.spec_of(volume.lpar_uuid), volume.info,
                                                 self.criteria(volume))

    def carry_out_all(self, given: list[operation.Planned]) -> list[Any]:
        results = iter(super().carry_out_all([one for one in given if one.plan is not None]))
        return [() if one.plan is None else next(results) for one in given]

    def said(self, value: Sequence[MappingRecord]) -> str:
        return self.done if value else 'was not attached'

    def preview(self, planned: operation.Planned) -> list[operation.Row]:
        if planned.plan is None:
            spec = planned.volume.spec
            return [('none', None, None, None, spec.path, None, spec.volume_id)]
        return super().preview(planned)


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

    def plan(self, volume: volumes.Volume) -> VolumeSpec:
        with plans.error_context(plans.EXTEND, volume.spec_of(volume.lpar_uuid)):
            return parse(volume.keys, default_backstore=self.host.settings.backstore)

    def carry_out_all(self, given: list[operation.Planned]) -> list[Any]:
        """Return for each volume its size in bytes, or its error."""
        with concurrent.futures.ThreadPoolExecutor(parallel.MOST_AT_ONCE) as pool:
            return list(pool.map(self._extended, [one.plan for one in given]))

    def more(self, value: int) -> tuple[Any, ...]:
        return (value,)

    def preview(self, planned: operation.Planned) -> list[operation.Row]:
        """Return the sizes that the file has and that NovaLink knows of."""
        volume, file = planned.volume, self.host.attachments.find(planned.plan)
        return [(volume.label, self.host.lpar_shown(volume.lpar_uuid),
                 inventory.size_shown(record.capacity_gb), inventory.size_shown(file.size / 2**30))
                for record in self._index.find(volume, self.criteria(volume))
                if self.host.lpar_of(record) == volume.lpar_uuid]

    def _extended(self, spec: VolumeSpec) -> int | exceptions.FileIOConnectorError:
        try:
            return self.host.attachments.extend(spec)
        except exceptions.FileIOConnectorError as err:
            return err
