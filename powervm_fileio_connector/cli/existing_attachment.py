# SPDX-License-Identifier: Apache-2.0
"""Operations on volumes that are attached already: detaching and extending."""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
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
from powervm_fileio_connector.mappings import OrphanState
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.mappings import orphan_state
from powervm_fileio_connector.plans import Plan
from powervm_fileio_connector.volume import DeviceInfo
from powervm_fileio_connector.volume import VolumeSpec


class ExistingAttachmentOperation(operation.VolumeOperation):
    """The LPAR need not be named if the volume is attached to one only."""

    verb: str

    def __init__(self, command: output.Table, args: argparse.Namespace) -> None:
        super().__init__(command, args)
        self._criteria: dict[tuple[VolumeSpec, DeviceInfo], RemoveMapping] = {}

    def prepare(self, given: list[volumes.Volume]) -> None:
        """Read the mappings: once, not by each thread."""
        _ = self._index

    def completed(self, volume: volumes.Volume) -> volumes.Volume:
        """Find out from the mappings which LPAR, and which file, is meant.

        :raises UsageError: several LPARs have the volume, and none was named
        """
        return self.found(super().completed(volume))

    def found(self, volume: volumes.Volume) -> volumes.Volume:
        """The volume with the LPAR that has it; as it is if none has."""
        lpars = self.host.lpar_ids
        found = [record for record in self._index.find(volume, self.criteria(volume))
                 if orphan_state(record, lpars) in (OrphanState.HAS_CLIENT, OrphanState.IN_USE)
                 and not record.is_wild_card
                 and volume.lpar_uuid in (None, self.host.lpar_of(record))]
        names = {self.host.lpar_of(record): self.host.lpar_name(record) for record in found}
        if len(names) > 1:
            raise UsageError(f'Volume {volume.label} is attached to LPARs '
                             + ' and '.join(sorted(names.values())) + '. Say which with --lpar.')
        if not found:
            return volume
        if volume.lpar_uuid is None and found[0].is_orphan:
            raise UsageError(f'Volume {volume.label} is just being attached to LPAR '
                             f'{self.host.lpar_name(found[0])}: its mapping has no client adapter '
                             'yet. Try again later, or name the LPAR with --lpar.')
        if None in names:
            raise exceptions.LPARNotFound(
                doing=f'find the LPAR of volume {volume.label}', lpar=names[None],
                reason=f'{found[0].path} is mapped to LPAR {names[None]}, which NovaLink does not '
                'list')
        path = found[0].path if volume.is_id_only else None
        completed = volume.with_keys(lpar_uuid=self.host.lpar_of(found[0]), path=path)
        return dataclasses.replace(completed, mapping=found[0])

    def criteria(self, volume: volumes.Volume) -> RemoveMapping:
        """Return what tells the mappings of a volume, of any LPAR; its share is probed once.

        :raises InvalidConnectionProperties: nothing tells which volume is meant
        """
        key = volume.spec, volume.info
        if key not in self._criteria:
            with attachment_index.naming_refused(volume, self.verb):
                self._criteria[key] = self.host.attachments.removal(*key)
        return self._criteria[key]

    @functools.cached_property
    def _index(self) -> attachment_index.AttachmentIndex:
        return attachment_index.AttachmentIndex(self.host)


class Detaching(ExistingAttachmentOperation):
    """Take volumes off LPARs."""

    verb = 'detach'
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

    def more(self, value: Sequence[MappingRecord]) -> tuple[Any, ...]:
        return (value[0].path if value else None,)

    def preview_all(self, given: list[operation.Planned]) -> list[Any]:
        shown = iter(super().preview_all([one for one in given if one.plan is not None]))
        return [next(shown) if one.plan is not None else [self._preview_row(
            'none', None, MappingRecord(path=one.volume.spec.path, tag=one.volume.spec.volume_id))]
            for one in given]


class Extending(ExistingAttachmentOperation):
    """Show LPARs the new size of volumes."""

    verb = 'extend'
    title = 'Extending'
    done = 'extended'
    more_keys = ('size_bytes', 'path')
    preview_keys = ('volume', 'lpar', 'lpar_uuid', 'size_bytes', 'file_bytes', 'path',
                    'error_type', 'error')
    preview_in_table = preview_in_list = ('volume', 'lpar', 'size_bytes', 'file_bytes')

    def found(self, volume: volumes.Volume) -> volumes.Volume:
        """The volume with the LPAR that has it.

        :raises NotAttached: no LPAR has it
        """
        volume = super().found(volume)
        if volume.mapping is None:
            which = 'any LPAR' if volume.lpar_uuid is None else (
                f'LPAR {self.host.lpar_shown(volume.lpar_uuid)}')
            raise NotAttached(f'Volume {volume.label} is not attached to {which}. Attach it first.')
        return volume

    def plan(self, volume: volumes.Volume) -> VolumeSpec:
        with plans.error_context(plans.EXTEND, volume.spec_of(volume.lpar_uuid)):
            return parse(volume.keys, default_backstore=self.host.settings.backstore)

    def carry_out_all(self, given: list[operation.Planned]) -> list[Any]:
        """Return for each volume its mapping and its size in bytes, or its error."""
        with concurrent.futures.ThreadPoolExecutor(parallel.MOST_AT_ONCE) as pool:
            return list(pool.map(self._extended, given))

    def said(self, value: tuple[MappingRecord, int]) -> str:
        return output.growth_shown(inventory.size_of(*value), value[1])

    def more(self, value: tuple[MappingRecord, int]) -> tuple[Any, ...]:
        return output.Size(value[1]), value[0].path

    def preview_all(self, given: list[operation.Planned]) -> list[Any]:
        """Return for each volume the sizes that NovaLink knows of and that the file has."""
        with concurrent.futures.ThreadPoolExecutor(parallel.MOST_AT_ONCE) as pool:
            return list(pool.map(self._sizes, given))

    def _sizes(self, planned: operation.Planned) -> Any:
        volume = planned.volume
        assert volume.mapping is not None
        try:
            file = self.host.attachments.find(planned.plan)
        except exceptions.FileIOConnectorError as err:
            return err
        return [(self.host.lpar_shown(volume.lpar_uuid), volume.lpar_uuid,
                 inventory.size(inventory.size_of(volume.mapping, file.size)),
                 output.Size(file.size), volume.mapping.path)]

    def _extended(self, planned: operation.Planned) -> Any:
        assert planned.volume.mapping is not None
        try:
            return planned.volume.mapping, self.host.attachments.extend(planned.plan)
        except exceptions.FileIOConnectorError as err:
            return err
