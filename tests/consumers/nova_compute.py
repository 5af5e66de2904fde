"""nova-compute: what its manager does with nova-powervm's driver, in the order in which it does.

Nova's block devices, taskflow, nova-powervm's driver, flows, tasks and slot manager are real, and
so is pypowervm; ``powervm_platform`` has what is stood in for.
"""

import itertools
import json
import os
import types
import uuid
from unittest import mock

from nova import context
from nova import objects
from nova.virt import block_device
from nova.virt import driver as nova_driver
from nova.virt.powervm_fileio import PowerVMDriver
from nova.volume import cinder
from nova_powervm.virt.powervm import slot
from oslo_config import cfg
from pypowervm import const
from pypowervm.tasks import storage
from pypowervm.wrappers import managed_system
from pypowervm.wrappers import virtual_io_server

from tests.consumers.powervm_platform import NoDisks
from tests.consumers.powervm_platform import lpar_uuid

_ids = itertools.count(1)


class Server:
    """An instance, and Nova's rows of its volumes."""

    def __init__(self, host_name, is_volume_backed=False):
        self.is_volume_backed = is_volume_backed
        flavor = objects.Flavor(root_gb=1, memory_mb=1024, vcpus=1, extra_specs={})
        self.instance = objects.Instance(
            context.get_admin_context(), id=next(_ids), uuid=str(uuid.uuid4()),
            display_name='web', task_state=None, vm_state='building', system_metadata={},
            host=host_name, config_drive='', root_device_name='/dev/sda', flavor=flavor,
            root_gb=1, image_ref='' if is_volume_backed else str(uuid.uuid4()))
        self.rows = []
        self.volumes = {}

    @property
    def uuid(self):
        return lpar_uuid(self.instance)


class NovaCompute:
    """One nova-compute, with our compute driver, on one simulated NovaLink."""

    def __init__(self, name, novalink, slot_maps, platform, cinder):
        self.name, self.novalink, self.slot_maps = name, novalink, slot_maps
        self.platform, self.cinder = platform, cinder
        platform.novalinks[novalink.port] = novalink
        self.start()

    def start(self):
        """Begin anew: nothing is left of the process that was there before."""
        self.driver = driver = PowerVMDriver(None)
        driver.adapter = self.novalink.adapter()
        [driver.host_wrapper] = managed_system.System.get(driver.adapter)
        driver.host_uuid = driver.host_wrapper.uuid
        driver.store_api, driver.nvram_mgr = self.slot_maps, None
        driver.live_migrations, driver.disk_dvr = {}, NoDisks()
        storage.ComprehensiveScrub(driver.adapter).execute()

    # -- what a user asks for ------------------------------------------------------------------

    def new_server(self, is_volume_backed=False):
        return Server(self.name, is_volume_backed)

    def create(self, volumes, is_volume_backed=False):
        server = self.new_server(is_volume_backed)
        self.spawn(server, volumes)
        return server

    def spawn(self, server, volumes):
        for volume in volumes:
            self._reserve(server, volume)
        try:
            self.refresh(server)
            self._spawn(server, image_meta=self._image(server))
        except Exception:
            server.instance.vm_state = 'error'
            self.destroy(server)
            raise
        self._is_active(server)

    def delete(self, server):
        self.destroy(server)
        server.rows.clear()
        server.instance.vm_state = 'deleted'

    def attach(self, server, volume):
        row = self._reserve(server, volume)
        try:
            self._connect(server, row, do_driver_attach=True)
        except Exception:
            server.rows.remove(row)
            raise

    def detach(self, server, volume_id):
        [row] = [row for row in server.rows if row.volume_id == volume_id]
        self._driver_detach(server, row)
        server.rows.remove(row)

    def extend(self, server, volume_id, size):
        [row] = [row for row in server.rows if row.volume_id == volume_id]
        self._acting()
        self.driver.extend_volume(self._context(), json.loads(row.connection_info),
                                  server.instance, size)

    def shelve(self, server):
        instance = server.instance
        if not server.is_volume_backed:
            instance.vm_state = 'shelved'       # after its snapshot
        self._acting()
        self.driver.power_off(instance)
        self.destroy(server)
        instance.vm_state, instance.host = 'shelved_offloaded', None

    def unshelve(self, server):
        server.instance.host = self.name
        self.refresh(server)
        self._spawn(server, image_meta=self._image(server))
        self._is_active(server)

    def rebuild(self, server):
        """Rebuild in place, as with another image."""
        before = self._block_devices(server)
        server.instance.task_state = 'rebuilding'
        for row in server.rows:
            self._driver_detach(server, row)
        self._acting()
        self.driver.destroy(self._context(), server.instance, network_info=[],
                            block_device_info=before)
        self.refresh(server)
        server.instance.task_state = 'rebuild_spawning'
        self._spawn(server, image_meta=self._image(server, id=str(uuid.uuid4())))
        self._is_active(server)

    def evacuate(self, server):
        """Take over an instance whose host is down."""
        self.refresh(server)
        server.instance.task_state = 'rebuild_spawning'
        self._spawn(server, image_meta=server.instance.image_meta)
        self._is_active(server)

    def clean_up_evacuated(self, server):
        """What the host that was down does when it is up again."""
        self._acting()
        self.driver.destroy(self._context(), server.instance, [], self._block_devices(server), True)

    def resize(self, server, destination, reverts=False):
        """Resize, or migrate while it is shut off, and confirm or revert that."""
        instance = server.instance
        migration = objects.Migration(source_compute=self.name, dest_compute=destination.name)
        self._acting()
        address = self.driver.get_host_ip_addr() if destination is self else '192.0.2.99'
        instance.task_state = 'resize_migrating'
        disk_info = self.driver.migrate_disk_and_power_off(
            self._context(), instance, address, instance.flavor, [],
            self._block_devices(server), 60, 10)
        instance.host = destination.name
        destination._finish_resize(server, migration, disk_info)
        if reverts:
            instance.task_state = 'resize_reverting'
            destination._acting()
            destination.driver.destroy(self._context(), instance, [],
                                       self._block_devices(server), True)
            instance.host = self.name
            self.refresh(server)
            self._acting()
            self.driver.finish_revert_migration(
                self._context(), instance, [], migration,
                block_device_info=self._block_devices(server), power_on=True)
        else:
            self._acting()
            self.driver.confirm_migration(self._context(), migration, instance, [])
        self._is_active(server)

    def check_live_migration(self, server):
        """What the source is asked before a live migration."""
        self._acting()
        data = types.SimpleNamespace(dest_proc_compat='default,POWER9_Base')
        return self.driver.check_can_live_migrate_source(
            self._context(), server.instance, data, self._block_devices(server))

    # -- what the manager does for that ------------------------------------------------------------

    def _finish_resize(self, server, migration, disk_info):
        server.instance.task_state = 'resize_finish'
        self.refresh(server)
        self._acting()
        self.driver.finish_migration(
            self._context(), migration, server.instance, disk_info, [], self._image(server), True,
            {}, self._block_devices(server), True)

    def _reserve(self, server, volume):
        """A row of Nova's database, with no connection_info yet."""
        server.volumes[volume.id] = volume
        is_root = server.is_volume_backed and not server.rows
        row = objects.BlockDeviceMapping(
            self._context(), id=next(_ids), uuid=str(uuid.uuid4()), source_type='volume',
            destination_type='volume', volume_id=volume.id, volume_size=1, volume_type=None,
            attachment_id=str(uuid.uuid4()), instance_uuid=server.instance.uuid,
            boot_index=0 if is_root else None, device_name=f'/dev/sd{chr(97 + len(server.rows))}',
            delete_on_termination=False, no_device=False, guest_format=None, device_type='disk',
            disk_bus='scsi', connection_info=None, tag=None, encrypted=False,
            encryption_secret_uuid=None, encryption_format=None, encryption_options=None)
        server.rows.append(row)
        return row

    def refresh(self, server):
        """Have Cinder's connection_info, as it is for this host, in all rows."""
        for row in server.rows:
            self._connect(server, row, do_driver_attach=False)

    def _connect(self, server, row, do_driver_attach):
        self._acting()
        self.cinder.volumes_by_attachment[row.attachment_id] = server.volumes[row.volume_id]
        with mock.patch.object(cinder, 'cinderclient', return_value=self.cinder):
            block_device.DriverVolumeBlockDevice(row)._volume_attach(
                self._context(), {'id': row.volume_id, 'size': 1}, {'host': self.name},
                server.instance, cinder.API(), self.driver, row.attachment_id,
                do_driver_attach=do_driver_attach)

    def _driver_detach(self, server, row):
        self._acting()
        self.driver.detach_volume(self._context(), json.loads(row.connection_info),
                                  server.instance, row.device_name, encryption=None)

    def _spawn(self, server, image_meta):
        self._acting()
        self.driver.spawn(
            self._context(), server.instance, image_meta, [], None, {}, network_info=[],
            block_device_info=self._block_devices(server), accel_info=[])

    def destroy(self, server):
        self._acting()
        self.driver.destroy(self._context(), server.instance, [], self._block_devices(server))

    def _is_active(self, server):
        server.instance.vm_state, server.instance.task_state = 'active', None
        server.instance.host = self.name

    def _block_devices(self, server):
        """Those whose connection_info was saved, as Nova's manager has it."""
        return nova_driver.get_block_device_info(
            server.instance, objects.BlockDeviceMappingList(
                objects=[row for row in server.rows if row.connection_info]))

    def _image(self, server, **fields):
        return objects.ImageMeta(properties=objects.ImageMetaProps(), **fields)

    def _acting(self):
        """The options are those of this host."""
        cfg.CONF.set_override('host', self.name)
        cfg.CONF.set_override('use_rmc_mgmt_vif', False, group='powervm')

    @staticmethod
    def _context():
        return context.get_admin_context()

    # -- what an operator does ---------------------------------------------------------------------

    def unmap_outside_nova(self, volume):
        """Remove a volume's mapping, if there is one, by another client."""
        [vios] = virtual_io_server.VIOS.get(self.novalink.adapter(), xag=[const.XAG.VIO_SMAP])
        for mapping in list(vios.scsi_mappings):
            if os.path.basename(mapping.backing_storage.label) == volume.path.name:
                vios.scsi_mappings.remove(mapping)
        vios.update()

    # -- what there is at the end -----------------------------------------------------------------

    def places(self, server):
        """Slot and LUA of each volume, as NovaLink has them."""
        return {mapping.tag: (mapping.slot, mapping.lua)
                for mapping in self.novalink.mappings(server.uuid)}

    def slots(self, server):
        """Slot and LUA of each UDID in the saved map; one that is in two slots is there twice."""
        topology = slot.build_slot_mgr(server.instance, self.slot_maps).topology
        return sorted((udid, number, lua) for number, kinds in topology.items()
                      for udid, lua in kinds.get('VDisk', {}).items())

    def disagreement(self, server):
        """How Nova's list, the mappings and the saved slot map differ; None: they do not."""
        rows = {row.volume_id for row in server.rows}
        mappings = self.novalink.mappings(server.uuid)
        tags = sorted(mapping.tag for mapping in mappings)
        if tags != sorted(rows):
            return f'Nova has {sorted(rows)}, NovaLink {tags}'
        expected = sorted((mapping.udid, mapping.slot, mapping.lua) for mapping in mappings)
        if self.slots(server) != expected:
            return f'the slot map has {self.slots(server)}, NovaLink {expected}'
        return None
