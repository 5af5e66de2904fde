# SPDX-License-Identifier: Apache-2.0
"""Cinder's drivers in a process of their own, nova-powervm's driver here, and real mounts for both.

Nothing that is installed is replaced. What is not here is answered at its door: Cinder's REST API
(by its own manager, see ``cinder_host``), Nova's database, and the store of the slot maps.
"""

import contextlib
import copy
import ctypes
import hashlib
import importlib
import itertools
import json
import os
import pathlib
import subprocess
import sys
import types
import uuid
from unittest import mock

import pytest
from oslo_config import cfg
from oslo_serialization import base64 as base64utils

import powervm_fileio_connector as pfc
from powervm_fileio_connector import conf
from powervm_fileio_connector.simulator import NovaLinkSimulator

CLONE_NEWNS = 0x20000
EXPORT = '192.0.2.10:/exports/cinder'
SCRIPT = pathlib.Path(__file__).with_name('cinder_host.py')


@pytest.fixture(scope='session', autouse=True)
def has_private_mounts():
    """Leave the machine's mount namespace for one of our own, for good, if we may.

    At once, since threads and processes stay in the one that they were started in.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(CLONE_NEWNS):
        return False
    subprocess.run(['mount', '--make-rprivate', '/'], check=True)
    return True


class Mounter:
    """Mounts empty file systems, and unmounts them at the end."""

    def __init__(self):
        self._mounted = []

    def mount(self, source, place):
        """Mount an empty file system that says it is ``source``."""
        place.mkdir(parents=True)
        subprocess.run(['mount', '-t', 'tmpfs', source, place], check=True)
        self._mounted.append(place)
        return place

    def unmount(self, place):
        self._mounted.remove(place)
        subprocess.run(['umount', place], check=True)

    def close(self):
        for place in list(self._mounted):
            self.unmount(place)


@pytest.fixture
def mounter(has_private_mounts):
    if not has_private_mounts:
        pytest.skip('real mounts need root and a mount namespace of our own')
    with contextlib.closing(Mounter()) as mounter:
        yield mounter


@pytest.fixture
def nfs_base(tmp_path, mounter):
    """A directory below which ``EXPORT`` is mounted where Nova and Cinder expect it."""
    mounter.mount(EXPORT, nfs_mount(tmp_path / 'mnt'))
    return tmp_path / 'mnt'


def nfs_mount(base):
    return base / hashlib.md5(EXPORT.encode(), usedforsecurity=False).hexdigest()


@pytest.fixture
def gpfs_base(tmp_path, mounter):
    """Where a file system of a Spectrum Scale cluster is mounted on every node."""
    return mounter.mount('gpfs0', tmp_path / 'gpfs')


class CinderHost:
    """cinder-volume: its manager and drivers, behind a pipe."""

    def __init__(self, state_path):
        self._process = subprocess.Popen(
            [sys.executable, SCRIPT, state_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True)

    def __getattr__(self, operation):
        def call(**arguments):
            self._process.stdin.write(json.dumps([operation, arguments]) + '\n')
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline() or '{"error": "Cinder is gone"}')
            assert 'error' not in answer, answer['error']
            return answer['result']
        return call

    def close(self):
        self._process.stdin.close()
        self._process.wait()


class Volume:
    """A volume of Cinder, as its REST API shows it."""

    def __init__(self, host, backend):
        self._host, self._backend = host, backend
        self.id = host.create(backend=backend)

    def connection_info(self):
        """What the attachments API keeps, in its flat form."""
        return self._host.attach(backend=self._backend, volume_id=self.id)

    def extend(self, size_gb):
        self._host.extend(backend=self._backend, volume_id=self.id, size_gb=size_gb)


@pytest.fixture(scope='package')
def cinder_host(tmp_path_factory):
    if importlib.util.find_spec('cinder') is None:
        pytest.skip('Cinder is not installed')
    with contextlib.closing(CinderHost(tmp_path_factory.mktemp('cinder'))) as host:
        yield host


@pytest.fixture
def make_nfs_volume(cinder_host, nfs_base):
    """Make volumes with Cinder's NFS driver."""
    def make(**options):
        host, path = EXPORT.split(':')
        return Volume(cinder_host, cinder_host.backend(kind='nfs', base=str(nfs_base), options={
            'nas_host': host, 'nas_share_path': path, **options}))
    return make


@pytest.fixture
def make_gpfs_volume(cinder_host, gpfs_base):
    """Make volumes with Cinder's GPFS driver."""
    return lambda: Volume(cinder_host, cinder_host.backend(
        kind='gpfs', base=str(gpfs_base), options={}))


@pytest.fixture(params=['nfs-raw', 'nfs-qcow2', 'gpfs'])
def volume(request):
    """A volume of each driver and format in turn."""
    if request.param == 'gpfs':
        return request.getfixturevalue('make_gpfs_volume')()
    make = request.getfixturevalue('make_nfs_volume')
    return make(nfs_qcow2_volumes=request.param == 'nfs-qcow2')


@pytest.fixture
def options(tmp_path):
    """The options of oslo.config's global object, which Nova and so our adapter use."""
    conf.read()
    values = {'mount_point_base': [str(tmp_path / 'mnt')], 'rest_timeout_s': 120.0,
              'probe_timeout_s': 60.0}
    for name, value in values.items():
        cfg.CONF.set_override(name, value, group=conf.GROUP)
    yield lambda name, value: cfg.CONF.set_override(name, value, group=conf.GROUP)
    for option in conf.OPTS:
        cfg.CONF.clear_override(option.name, group=conf.GROUP)


@pytest.fixture
def nova(options, monkeypatch):
    """Nova with our adapter in place, and its database answered."""
    pytest.importorskip('nova_powervm', reason='nova-powervm is not installed')
    from nova import objects
    objects.register_all()
    monkeypatch.setattr(objects.Instance, 'save', lambda self, *args, **kwargs: None)
    monkeypatch.setattr(objects.BlockDeviceMapping, 'save', lambda self: None)
    adapters = importlib.import_module('powervm_fileio_connector.nova')
    adapters.enable()
    yield adapters
    adapters.disable()


class SlotMaps:
    """The store of slot maps, which is Swift in real life."""

    def __init__(self):
        self.saved = {}

    def store_slot_map(self, key, data):
        self.saved[key] = data

    def fetch_slot_map(self, key):
        data = self.saved.get(key)
        return data and base64utils.encode_as_text(data)

    def delete_slot_map(self, key):
        self.saved.pop(key, None)


class CinderAPI:
    """cinderclient, as far as Nova uses it to attach."""

    def __init__(self):
        self.volumes_by_attachment = {}
        self.attachments = self

    def update(self, attachment_id, connector):
        """Answer like PUT /attachments/{id}: flat, with the volume's id beside it."""
        volume = self.volumes_by_attachment[attachment_id]
        body = {'id': attachment_id, 'status': 'attaching', 'instance': str(uuid.uuid4()),
                'volume_id': volume.id, 'attached_at': '', 'detached_at': '', 'attach_mode': 'rw',
                'connection_info': {**volume.connection_info(), 'attachment_id': attachment_id}}
        return types.SimpleNamespace(to_dict=lambda: copy.deepcopy(body))

    def complete(self, attachment_id):
        pass

    def delete(self, attachment_id):
        pass


class NovaHost:
    """One nova-compute with nova-powervm's driver, on one simulated NovaLink."""

    def __init__(self, novalink, slot_maps=None):
        from nova_powervm.virt.powervm import driver
        self.novalink = novalink
        self.slot_maps = slot_maps or SlotMaps()
        self.driver = driver.PowerVMDriver(None)
        self.driver.adapter = novalink.adapter()
        self.driver.host_uuid = novalink.system_uuid
        self.driver.store_api = self.slot_maps
        self.driver.live_migrations = {}
        self._instance_ids = itertools.count(1)
        self._cinder = CinderAPI()

    def make_instance(self, **lpar):
        """An instance, and the LPAR that is its virtual machine."""
        from nova import context
        from nova import objects
        instance = objects.Instance(
            context.get_admin_context(), id=next(self._instance_ids), uuid=str(uuid.uuid4()),
            display_name='web', task_state=None, vm_state='active', system_metadata={},
            host='neo-1')
        self.receive(instance, **lpar)
        return instance

    def receive(self, instance, **lpar):
        """Give an instance its LPAR on this host."""
        self.novalink.add_lpar(name=instance.name, uuid=lpar_uuid(instance), **lpar)

    def attach(self, instance, volume):
        """Attach as nova-compute does; return what Nova keeps of the volume."""
        bdm = self.block_device(instance, volume)
        self._attach(bdm, instance, volume, do_driver_attach=True)
        return bdm

    def prepare(self, instance, volume):
        """Have Cinder's connection_info ready for a spawn, as nova-compute does before it."""
        bdm = self.block_device(instance, volume)
        self._attach(bdm, instance, volume, do_driver_attach=False)
        return bdm

    def detach(self, instance, bdm):
        self.driver.detach_volume(None, stored(bdm), instance, '/dev/sdb')

    def extend(self, instance, bdm):
        self.driver.extend_volume(stored(bdm), instance, None)

    def block_device(self, instance, volume):
        from nova import context
        from nova import objects
        from nova.virt import block_device
        attachment_id = str(uuid.uuid4())
        self._cinder.volumes_by_attachment[attachment_id] = volume
        bdm = objects.BlockDeviceMapping(
            context.get_admin_context(), id=1, uuid=str(uuid.uuid4()), source_type='volume',
            destination_type='volume', volume_id=volume.id, volume_size=1, volume_type=None,
            attachment_id=attachment_id, instance_uuid=instance.uuid, boot_index=None,
            device_name='/dev/sdb', delete_on_termination=False, no_device=False, guest_format=None,
            device_type='disk', disk_bus='scsi', connection_info=None, tag=None)
        return block_device.DriverVolumeBlockDevice(bdm)

    def _attach(self, bdm, instance, volume, do_driver_attach):
        from nova import context
        from nova.volume import cinder
        with mock.patch.object(cinder, 'cinderclient', return_value=self._cinder):
            bdm._volume_attach(
                context.get_admin_context(), {'id': volume.id, 'size': 1}, {'host': 'neo-1'},
                instance, cinder.API(), self.driver, bdm['attachment_id'],
                do_driver_attach=do_driver_attach)

    def adapter_for(self, instance, bdm, feed_task=None):
        """The volume adapter that nova-powervm's dispatch picks."""
        from nova_powervm.virt.powervm import volume as volumes
        return volumes.build_volume_driver(self.driver.adapter, self.driver.host_uuid, instance,
                                           stored(bdm), stg_ftsk=feed_task)

    def mappings(self, instance):
        return self.novalink.mappings(lpar_uuid(instance))

    def slot_manager(self, instance, **rebuild):
        from nova_powervm.virt.powervm import slot
        return slot.build_slot_mgr(instance, self.slot_maps, **rebuild)


def stored(bdm):
    """What Nova's database gives back: JSON, and so a copy."""
    return json.loads(json.dumps(bdm['connection_info']))


def lpar_uuid(instance):
    from nova_powervm.virt.powervm import vm
    return vm.get_pvm_uuid(instance)


@pytest.fixture
def host(nova, novalink):
    return NovaHost(novalink)


@pytest.fixture
def other_host(nova):
    with NovaLinkSimulator(lpars=0) as novalink:
        yield NovaHost(novalink)


@pytest.fixture
def ordinary_host(nova):
    """A host whose management partition is an ordinary LPAR, beside a VIOS."""
    with NovaLinkSimulator(lpars=0, mgmt_is_io_server=False) as novalink:
        yield NovaHost(novalink)


class ClusterVolume:
    """A volume of Cinder's GPFS driver, by what the driver sends; quicker to make than those."""

    def __init__(self, directory):
        self.id = str(uuid.uuid4())
        self.path = directory / f'volume-{self.id}'
        self.more = {}
        with open(self.path, 'wb') as file:
            file.truncate(1 << 30)

    def connection_info(self):
        return {'driver_volume_type': 'gpfs', 'name': self.path.name,
                'device_path': str(self.path), **self.more}


@pytest.fixture
def make_volumes(gpfs_base):
    return lambda count: [ClusterVolume(gpfs_base) for _ in range(count)]


@pytest.fixture
def bound(gpfs_base, tmp_path):
    """A second directory in which the files of the volumes are."""
    place = tmp_path / 'bound'
    place.mkdir()
    subprocess.run(['mount', '--bind', gpfs_base, place], check=True)
    yield place
    subprocess.run(['umount', place], check=True)


@pytest.fixture
def map_elsewhere(bound):
    """Map a volume to an LPAR under another path, and so with another UDID, outside Nova."""
    def map_elsewhere(host, lpar_uuid, volume):
        connector = pfc.FileIOConnector(None, adapter=host.driver.adapter)
        connector.connect_volume({'path': str(bound / volume.path.name), 'volume_id': volume.id,
                                  'lpar_uuid': lpar_uuid, **volume.more})
    return map_elsewhere


@pytest.fixture
def cluster(nova):
    """Make hosts that share a store of slot maps."""
    # These import Nova.
    from tests.consumers.nova_compute import NovaCompute
    from tests.consumers.powervm_platform import Platform
    slot_maps, platform, cinder = SlotMaps(), Platform(), CinderAPI()
    with contextlib.ExitStack() as stack:
        stack.enter_context(platform.in_place())

        def make(name, **options):
            novalink = stack.enter_context(NovaLinkSimulator(lpars=0, foreign=False, **options))
            return NovaCompute(name, novalink, slot_maps, platform, cinder)
        yield make


@pytest.fixture
def one(cluster):
    return cluster('neo-1')


@pytest.fixture
def two(cluster):
    return cluster('neo-2')
