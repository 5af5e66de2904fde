# SPDX-License-Identifier: Apache-2.0
"""Those who attach and detach: each does it the way its own documentation says.

All get the same volumes, the same kind of session and an adapter without helpers. What a caller may
know beforehand, such as the UUID of the I/O partition, is told to those that ask for it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import types
from collections.abc import Mapping
from typing import Any

Volume = Mapping[str, str]
"""``path``, ``id`` and ``lpar_uuid``."""


def open_adapter(port: int) -> Any:
    from pypowervm import adapter
    return adapter.Adapter(adapter.Session(
        host='localhost', port=port, protocol='http', username='benchmark', password='any'))


class Ours:
    """This library, as a consumer of os-brick uses it."""

    def __init__(self, adapter: Any, vios_uuid: str) -> None:
        import powervm_fileio_connector as pfc
        pfc.register()
        self.adapter = adapter
        self.device_infos: dict[str, Any] = {}      # os-brick's callers keep it, too
        self.open_connector()

    def open_connector(self) -> None:
        from os_brick.initiator.connector import InitiatorConnector
        self.connector = InitiatorConnector.factory('file', None, adapter=self.adapter)

    def attach(self, volume: Volume) -> None:
        self.device_infos[volume['id']] = self.connector.connect_volume(connection_info(volume))

    def detach(self, volume: Volume) -> None:
        self.connector.disconnect_volume(connection_info(volume),
                                         self.device_infos.pop(volume['id'], None))


class Pypowervm:
    """pypowervm's own tasks: they read the document, change it and send it."""

    def __init__(self, adapter: Any, vios_uuid: str) -> None:
        from pypowervm.tasks import scsi_mapper
        from pypowervm.utils import transaction
        from pypowervm.wrappers import storage
        from pypowervm.wrappers import virtual_io_server
        self.adapter, self.vios_uuid = adapter, vios_uuid
        self.mapper, self.storage = scsi_mapper, storage
        self.vios = virtual_io_server.VIOS

        @transaction.entry_transaction
        def remove(vios_w: Any, volume: Volume) -> Any:
            scsi_mapper.remove_maps(vios_w, volume['lpar_uuid'], match_func=self.matcher(volume))
            return vios_w.update()

        self.remove = remove

    def file(self, volume: Volume) -> Any:
        return self.storage.FileIO.bld(
            self.adapter, volume['path'], backstore_type=self.storage.BackStoreType.LOOP,
            tag=volume['id'])

    def getter(self) -> Any:
        """What reads the document; each reads it only once."""
        return self.vios.getter(self.adapter, entry_uuid=self.vios_uuid, xag=['ViosSCSIMapping'])

    def matcher(self, volume: Volume) -> Any:
        return self.mapper.gen_match_func(self.storage.VDisk, names=[volume['path']])

    def attach(self, volume: Volume) -> None:
        self.mapper.add_vscsi_mapping(None, self.vios_uuid, volume['lpar_uuid'], self.file(volume))

    def detach(self, volume: Volume) -> None:
        self.remove(self.getter(), volume)


class PypowervmKept(Pypowervm):
    """The same, by a caller that is alone and keeps the document that each change returns."""

    def __init__(self, adapter: Any, vios_uuid: str) -> None:
        super().__init__(adapter, vios_uuid)
        self.vios_w: Any = None

    def attach(self, volume: Volume) -> None:
        self.vios_w = self.mapper.add_vscsi_mapping(
            None, self.vios_w or self.vios_uuid, volume['lpar_uuid'], self.file(volume))

    def detach(self, volume: Volume) -> None:
        self.vios_w = self.remove(self.vios_w or self.getter(), volume)


class NovaPowervm:
    """nova-powervm's volume adapter, with the ``volume_id`` that Cinder does not send it."""

    def __init__(self, adapter: Any, vios_uuid: str) -> None:
        from nova_powervm.virt.powervm import slot
        from nova_powervm.virt.powervm.volume import gpfs
        self.adapter, self.slot, self.gpfs = adapter, slot, gpfs

    def prepare(self, volume: Volume) -> tuple[Any, Any]:
        instance = types.SimpleNamespace(uuid=volume['lpar_uuid'].lower(), name='benchmark')
        return (self.gpfs.GPFSVolumeAdapter(self.adapter, None, instance, connection_info(volume)),
                self.slot.build_slot_mgr(instance, None))

    def attach(self, volume: Volume) -> None:
        driver, slots = self.prepare(volume)
        driver.connect_volume(slots)

    def detach(self, volume: Volume) -> None:
        driver, slots = self.prepare(volume)
        driver.disconnect_volume(slots)


def connection_info(volume: Volume) -> dict[str, Any]:
    """What Cinder's GPFS driver and Nova make of a volume, and the ids that it may come with."""
    return {'driver_volume_type': 'gpfs', 'serial': volume['id'], 'data': {
        'name': 'volume-' + volume['id'], 'device_path': volume['path'],
        'volume_id': volume['id'], 'lpar_uuid': volume['lpar_uuid']}}


KNOWN: dict[str, Any] = {'ours': Ours, 'pypowervm': Pypowervm, 'pypowervm (kept)': PypowervmKept,
                         'nova-powervm': NovaPowervm}
OURS, PLAIN, KEPT, NOVA = KNOWN


def missing() -> dict[str, str]:
    """Why some of them cannot take part."""
    for module, package in (('nova', 'nova'), ('nova_powervm', 'nova-powervm')):
        if importlib.util.find_spec(module) is None:
            return {NOVA: f'{package} is not installed'}
    return {}


def versions() -> dict[str, str]:
    """The packages that matter, as far as they are installed."""
    found = {}
    for package in ('powervm-fileio-connector', 'pypowervm', 'os-brick', 'nova', 'nova-powervm',
                    'lxml', 'requests'):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
