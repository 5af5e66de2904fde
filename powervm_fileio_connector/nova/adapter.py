# SPDX-License-Identifier: Apache-2.0
"""nova-powervm's volume adapter for volumes that are files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import MutableMapping
from typing import Any

from nova import exception as nova_exception
from nova_powervm.virt.powervm import exception as pvm_exception
from nova_powervm.virt.powervm.volume import driver
from oslo_log import log as logging
from pypowervm import const

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.connection_properties import parse_leniently
from powervm_fileio_connector.mappings import file_udid
from powervm_fileio_connector.nova import migration
from powervm_fileio_connector.nova import steps
from powervm_fileio_connector.volume import DeviceInfo

LOG = logging.getLogger(__name__)

KEPT = 'fileio_device_info'
"""Where in ``connection_info['data']`` our ``device_info`` is kept while a volume is attached."""

# What says that the volume cannot be had on this host, rather than that nobody knows.
_NOT_HERE = (exceptions.NovaLinkNotIOServer, exceptions.NotOnNovaLink, exceptions.ShareNotMounted,
             exceptions.VolumeFileNotFound)


class FileIOVolumeAdapter(driver.PowerVMVolumeAdapter):
    """Attaches one Cinder volume, which is a file, to one instance.

    The steps are the connector's; this class speaks nova-powervm's language around them:
    transactions (``FeedTask``), slot maps, live migration, and Nova's exceptions, each with ours as
    its cause.

    Nothing is done to a volume after a live migration, nor when one is rolled back: the platform
    moves the mappings, and this class changed nothing on either host before.

    :param adapter: ``pypowervm.adapter.Adapter``
    :param host_uuid: UUID of the managed system
    :param instance: Nova's instance
    :param connection_info: what Nova keeps of the volume; while it is attached, its ``data`` has
        our ``device_info`` in it under :data:`KEPT`, which Nova saves with it
    :param stg_ftsk: a pypowervm ``FeedTask`` to add changes to; None: they are made at once
    """

    def __init__(self, adapter: Any, host_uuid: str, instance: Any,
                 connection_info: Mapping[str, Any], stg_ftsk: Any = None) -> None:
        super().__init__(adapter, host_uuid, instance, connection_info, stg_ftsk=stg_ftsk)
        spec = parse_leniently(connection_info, lpar_uuid=self.vm_uuid)
        self._volume_id = spec.volume_id
        self.connection_info = _for_tasks(connection_info, spec.label)
        self._given = connection_info
        self._data = connection_info.get('data')
        self._volumes = steps.InstanceVolumes(adapter, self.vm_uuid, self._issued_udids())

    @classmethod
    def min_xags(cls) -> list[str]:
        """Return what of a VIOS has to be read for us: its virtual SCSI mappings."""
        return [const.XAG.VIO_SMAP]

    @classmethod
    def vol_type(cls) -> str:
        """Return the name under which nova-powervm keeps our slots for a rebuild."""
        return 'fileio'

    @property
    def volume_id(self) -> str | None:
        """The volume's id, from wherever this version of Nova puts it."""
        return self._volume_id

    @property
    def vios_uuids(self) -> list[str]:
        """The management partition, which alone serves files.

        :raises NovaLinkNotIOServer: it is an ordinary LPAR
        """
        return [self._volumes.partition.uuid]

    def connect_volume(self, slot_mgr: Any) -> None:
        """Attach the volume, in the slot and under the LUA that the slot map names for it.

        Safe to repeat. With a ``FeedTask`` of the caller it is attached when that is run, in the
        one POST of all that is in it; what is known to be wrong by then is raised here.

        :param slot_mgr: nova-powervm's slot manager; slot and LUA are registered there by UDID
        :raises VolumeAttachFailed: with our message
        :raises InvalidVolume: the connection_info is not one of a volume that can be served
        """
        with self._as_nova_attach():
            if self._is_deferred:
                self._volumes.attach_later(self._given, slot_mgr, self._keep,
                                           self.stg_ftsk, self._as_nova_attach)
            else:
                self._volumes.attach(self._given, slot_mgr, self._keep)

    def disconnect_volume(self, slot_mgr: Any) -> None:
        """Detach the volume, and take its slot and LUA out of the slot map.

        Safe to repeat: what is already gone is success. With a ``FeedTask`` of the caller it is
        detached when that is run.

        :raises VolumeDetachFailed: with our message
        """
        with self._as_nova_detach():
            if self._is_deferred:
                self._volumes.detach_later(self._given, self._kept, slot_mgr,
                                           self.stg_ftsk, self._as_nova_detach)
            else:
                self._volumes.detach(self._given, self._kept, slot_mgr)

    def extend_volume(self) -> None:
        """Make the instance see the new size of the volume, which Cinder has extended.

        :raises VolumeExtendFailed: with our message
        """
        with self._as_nova(pvm_exception.VolumeExtendFailed, 'extend'):
            self._volumes.extend(self._given)

    def is_volume_on_vios(self, vios_w: Any) -> tuple[bool, str | None]:
        """Tell whether a VIOS could serve the volume, and under which UDID.

        nova-powervm asks this of every VIOS when it rebuilds an instance.

        :returns: False only where the volume cannot be had on this host
        :raises InvalidRebuild: it is not known, as with a share that does not answer; with why
        """
        try:
            if vios_w.uuid not in self.vios_uuids:
                return False, None
            return True, self._volumes.udid(self._given)
        except _NOT_HERE as err:
            LOG.warning('Volume %(volume)s cannot be had on VIOS %(vios)s: %(reason)s',
                        {'volume': self.volume_id, 'vios': vios_w.name, 'reason': err},
                        instance=self.instance)
            return False, None
        except exceptions.FileIOConnectorError as err:
            raise pvm_exception.InvalidRebuild(error=str(err)) from err

    def pre_live_migration_on_source(self, mig_data: dict[str, Any]) -> None:
        """Tell the destination which file the volume is.

        :param mig_data: gets an entry for this volume
        :raises MigrationPreCheckError: which file it is cannot be told; Nova's conductor leaves the
            instance as it is for this error alone
        """
        try:
            mig_data[self._key] = self._volumes.identity(self._given).to_text()
        except exceptions.FileIOConnectorError as err:
            err.add_context(doing=f'migrate volume {self.volume_id} of instance '
                            f'{self.instance.name}', volume=self.volume_id, lpar=self.vm_uuid)
            raise nova_exception.MigrationPreCheckError(reason=str(err)) from err

    def pre_live_migration_on_destination(self, mig_data: dict[str, Any]) -> None:
        """Check that this host sees the same file, on a healthy mount, and could serve it.

        Changes nothing, on any host.

        :param mig_data: what the source told; without our entry only this host is checked
        :raises VolumePreMigrationFailed: with what is different, or missing
        """
        text = mig_data.get(self._key)
        with self._as_nova_migration():
            self._volumes.check_receivable(
                self._given, migration.FileIdentity.from_text(text) if text else None)

    @property
    def _kept(self) -> DeviceInfo:
        """What was observed when the volume was attached."""
        return DeviceInfo.parse(self._data.get(KEPT) if isinstance(self._data, Mapping) else None)

    def _keep(self, info: DeviceInfo, path: str) -> None:
        """Keep what was observed of a mapping.

        Nova asks Cinder for ``connection_info`` again, and then what was kept in it is gone, also
        before an evacuation. So a UDID that the path does not tell is kept with the instance.
        """
        if isinstance(self._data, MutableMapping):
            self._data[KEPT] = info.to_dict()
        if info.udid and info.udid.lower() != file_udid(path).lower():
            self.instance.system_metadata[self._udid_key] = info.udid
        elif info.udid:
            self.instance.system_metadata.pop(self._udid_key, None)

    def _issued_udids(self) -> tuple[str, ...]:
        return tuple(filter(None, (
            self._kept.udid, self.instance.system_metadata.get(self._udid_key))))

    @property
    def _udid_key(self) -> str:
        return f'fileio_udid_{self.volume_id}'

    @property
    def _key(self) -> str:
        return f'fileio_{self.volume_id}'

    @property
    def _is_deferred(self) -> bool:
        return self.stg_ftsk.name != driver.LOCAL_FEED_TASK

    def _as_nova_attach(self) -> contextlib.AbstractContextManager[None]:
        return self._as_nova(pvm_exception.VolumeAttachFailed, 'attach')

    def _as_nova_detach(self) -> contextlib.AbstractContextManager[None]:
        return self._as_nova(pvm_exception.VolumeDetachFailed, 'detach')

    def _as_nova_migration(self) -> contextlib.AbstractContextManager[None]:
        return self._as_nova(pvm_exception.VolumePreMigrationFailed, 'migrate', is_always=True)

    @contextlib.contextmanager
    def _as_nova(self, failure: type[nova_exception.NovaException], act: str,
                 is_always: bool = False) -> Iterator[None]:
        """Turn our errors into Nova's, with our message in theirs.

        :param is_always: also those that are the volume's own fault
        """
        try:
            yield
        except exceptions.FileIOConnectorError as err:
            err.add_context(doing=f'{act} volume {self.volume_id} of instance {self.instance.name}',
                            volume=self.volume_id, lpar=self.vm_uuid)
            if not is_always and isinstance(
                    err, exceptions.InvalidConnectionProperties | exceptions.UnsupportedVolume):
                failure = _INVALID_VOLUME.get(failure, failure)
            fields = {'volume_id': self.volume_id, 'instance_name': self.instance.name,
                      'reason': str(err)}
            message = failure.msg_fmt % fields
            # Two of nova-powervm's texts have no place for a reason.
            if fields['reason'] not in message:
                message += f'  {err}'
            raise failure(message=message, **fields) from err


class InvalidVolumeAttach(pvm_exception.VolumeAttachFailed, nova_exception.InvalidVolume):
    """The volume itself cannot be attached.

    In a revert nova-powervm catches the first base only.
    """

    code = nova_exception.InvalidVolume.code


class InvalidVolumeExtend(pvm_exception.VolumeExtendFailed, nova_exception.InvalidVolume):
    """The volume itself cannot be extended."""

    code = nova_exception.InvalidVolume.code


_INVALID_VOLUME: dict[type[nova_exception.NovaException], type[nova_exception.NovaException]] = {
    pvm_exception.VolumeAttachFailed: InvalidVolumeAttach,
    pvm_exception.VolumeExtendFailed: InvalidVolumeExtend,
}


def _for_tasks(connection_info: Mapping[str, Any], name: str) -> Any:
    """Return a copy with a ``volume_id`` in ``data``, where nova-powervm's own tasks look for it.

    Cinder's drivers for files do not put it there; Nova has it beside ``data``, or nowhere. The
    tasks only name themselves by it.
    """
    data = connection_info.get('data')
    return {**connection_info,
            'data': {**(data if isinstance(data, Mapping) else {}), 'volume_id': name}}
