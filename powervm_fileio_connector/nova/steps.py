# SPDX-License-Identifier: Apache-2.0
"""The connector as Nova needs it: with the instance's slot map, and in others' transactions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from oslo_log import log as logging

from powervm_fileio_connector import connector
from powervm_fileio_connector import exceptions
from powervm_fileio_connector import mappings
from powervm_fileio_connector.connection_properties import parse
from powervm_fileio_connector.connection_properties import parse_leniently
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.mappings.table import MappingTable
from powervm_fileio_connector.nova import migration
from powervm_fileio_connector.nova import slots
from powervm_fileio_connector.novalink import partitions
from powervm_fileio_connector.novalink import writer
from powervm_fileio_connector.volume import DeviceInfo
from powervm_fileio_connector.volume import VolumeSpec

LOG = logging.getLogger(__name__)


class InstanceConnector(connector.FileIOConnector):
    """Attaches one instance's volumes, in the slots that its slot map names.

    :ivar slot_mgr: nova-powervm's slot manager, given before anything is connected or disconnected
    """

    slot_mgr: Any

    @property
    def partition(self) -> partitions.ManagementPartition:
        """The management partition.

        :raises NovaLinkNotIOServer: it is an ordinary LPAR, which cannot serve files
        """
        return partitions.management_partition(self._adapter, self._deadline())

    def connect_later(self, connection_info: Any, feed_task: Any,
                      as_nova: Callable[[], AbstractContextManager[None]]) -> None:
        """Have a volume attached by whoever runs ``feed_task``; nothing is sent from here."""
        spec, found = self._found(connection_info)
        self._check_ready()
        self._defer(self._addition(spec, found), feed_task, as_nova)

    def disconnect_later(self, connection_info: Any, feed_task: Any,
                         as_nova: Callable[[], AbstractContextManager[None]]) -> None:
        """Have a volume detached by whoever runs ``feed_task``; nothing is sent from here."""
        spec = parse_leniently(connection_info, lpar_uuid=self.lpar_uuid)
        self._defer(self._removal(spec, DeviceInfo()), feed_task, as_nova)

    def udid_on(self, connection_info: Any, vios_w: Any) -> str:
        """Return the UDID of a volume's file on a VIOS: as issued there, or as it will be.

        :raises FileIOConnectorError: the file is not there, or may not be attached
        """
        _, found = self._found(connection_info)
        issued = [shown.record.udid for shown in
                  MappingTable(vios_w).of_paths((found.path, *found.spellings))]
        return next(filter(None, issued), None) or mappings.file_udid(found.path)

    def identity(self, connection_info: Any) -> migration.FileIdentity:
        """Say which file an attached volume is, for the host it is going to be on."""
        spec, found = self._found(connection_info)
        record = self._writer(self.partition).find(
            self.lpar_uuid or '', (found.path, *found.spellings), spec.volume_id, self._deadline())
        return migration.FileIdentity.of(found, record.udid if record else None)

    def check_receivable(self, connection_info: Any, source: migration.FileIdentity | None) -> None:
        """Make sure that an LPAR that is going to be here could have its volume; changes nothing.

        :param source: which file it is at the source; None: the source did not say
        :raises UnsafeVolumePath: it is another file here
        :raises VolumeInUse: another LPAR has it here
        :raises FileIOConnectorError: it cannot be found, or may not be attached
        """
        spec, found = self._found(connection_info)
        reason = source and migration.difference(
            source, migration.FileIdentity.of(found), found.spellings)
        if reason:
            raise exceptions.UnsafeVolumePath(
                reason=reason, path=found.path, volume=spec.label,
                remedy='Mount the same share at the same place on both hosts, then retry.')
        document = MappingTable(self._writer(self.partition).read(self._deadline()))
        # The LPAR is not here yet, so no mapping that names only an id can be its own.
        document.lpar_ids[(self.lpar_uuid or '').upper()] = None
        super()._addition(spec, found).apply(document)

    def _found(self, connection_info: Any,
               ) -> tuple[VolumeSpec, finder.VolumeFile]:
        spec = parse(connection_info, lpar_uuid=self.lpar_uuid,
                                default_backstore=self.settings.backstore)
        # Before any look at a share: here may be the wrong host for it.
        self.partition  # noqa: B018
        return spec, self._find(spec)

    def _check_ready(self) -> None:
        """Refuse an LPAR that cannot change its I/O now.

        Nobody could explain it afterwards: what the server answers is not ours to see.
        """
        lpar = partitions.lpar(self._adapter, self.lpar_uuid or '', self._deadline())
        if not lpar.can_change_io:
            raise exceptions.LPARNotReady(
                reason=f'{lpar.name} is {lpar.state} with RMC {lpar.rmc_state}: {lpar.why_not}')

    def _defer(self, edit: Any, feed_task: Any,
               as_nova: Callable[[], AbstractContextManager[None]]) -> None:
        deferred: Any = slots.Deferred(edit, as_nova)
        writer.add_to_feed_task(feed_task, deferred, self.partition.uuid,
                                timeout_s=self.settings.rest_timeout_s)

    def _addition(self, spec: VolumeSpec,
                  found: finder.VolumeFile) -> mappings.AddMapping:
        edit = super()._addition(spec, found)
        slot, lua = edit.slot, edit.lua
        if slot is None and lua is None:
            # Only the UUID of the wrapper is looked at, which the partition has too.
            slot, lua = self.slot_mgr.build_map.get_vscsi_slot(
                self.partition, mappings.file_udid(found.path))
            if slot is None and self.slot_mgr.is_rebuild:
                LOG.warning('The slot map does not know volume %s (%s), so it gets any slot.',
                            spec.label, found.path)
        return slots.AddMapping(
            **vars(edit) | {'slot': slot, 'lua': lua, 'slot_mgr': self.slot_mgr})

    def _removal(self, spec: VolumeSpec,
                 info: DeviceInfo) -> mappings.RemoveMapping:
        return slots.RemoveMapping(**vars(super()._removal(spec, info)), slot_mgr=self.slot_mgr)
