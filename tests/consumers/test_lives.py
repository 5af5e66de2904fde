"""The whole life of an instance, by nova-powervm's own flows, as nova-compute drives them.

The slot map is in a store that keeps what is saved, and only that.
"""

import contextlib
import dataclasses
import os
import uuid
from collections.abc import Callable
from unittest import mock

import pytest

pytest.importorskip('nova_powervm', reason='nova-powervm is not installed')

from nova import exception as nova_exception
from nova_powervm.virt.powervm import exception as pvm_exception
from nova_powervm.virt.powervm import media
from nova_powervm.virt.powervm.tasks import vm as vm_tasks
from pypowervm import const
from pypowervm.wrappers import virtual_io_server

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.simulator import NovaLinkSimulator
from powervm_fileio_connector.simulator.faults.base import Fault
from tests.consumers.conftest import CinderAPI
from tests.consumers.conftest import SlotMaps
from tests.consumers.nova_compute import NovaCompute
from tests.consumers.powervm_platform import Platform


class ClusterVolume:
    """A volume of Cinder's GPFS driver, by what the driver sends."""

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
def cluster(nova):
    """Make hosts that share a store of slot maps."""
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


@contextlib.contextmanager
def failing(task):
    """Have a task of nova-powervm fail."""
    with mock.patch.object(task, 'execute', side_effect=RuntimeError('no')):
        yield


@dataclasses.dataclass(frozen=True)
class WhenPosted(Fault):
    """Something happens while a change is answered."""

    act: Callable[[], None]

    def on_answer(self, context, answer):
        self.act()
        return answer


def unmap_outside_nova(host, volume):
    """Remove a volume's mapping as an operator does, by another session."""
    [vios] = virtual_io_server.VIOS.get(host.novalink.adapter(), xag=[const.XAG.VIO_SMAP])
    [mapping] = [mapping for mapping in vios.scsi_mappings
                 if mapping.backing_storage.label == str(volume.path)]
    vios.scsi_mappings.remove(mapping)
    vios.update()


BACKED = pytest.mark.parametrize('is_volume_backed', [False, True],
                                 ids=['image disk', 'volume-backed'])


# -- the slot map ----------------------------------------------------------------------------------


@BACKED
def test_nova_novalink_and_the_slot_map_agree_after_each_act(
        one, two, make_volumes, is_volume_backed):
    server = one.create(make_volumes(3), is_volume_backed)
    assert one.disagreement(server) is None
    one.attach(server, make_volumes(1)[0])
    assert one.disagreement(server) is None
    one.detach(server, server.rows[1].volume_id)
    assert one.disagreement(server) is None
    one.shelve(server)
    assert one.novalink.mappings() == []
    one.unshelve(server)
    assert one.disagreement(server) is None
    one.rebuild(server)
    assert one.disagreement(server) is None
    one.resize(server, one)
    assert one.disagreement(server) is None
    one.resize(server, one, reverts=True)
    assert one.disagreement(server) is None
    one.resize(server, two)
    assert two.disagreement(server) is None
    one.evacuate(server)
    two.clean_up_evacuated(server)
    assert one.disagreement(server) is None
    one.delete(server)
    assert one.novalink.mappings() == two.novalink.mappings() == []


ACTS = {
    'rebuild': lambda one, two, server: one.rebuild(server),
    'evacuate': lambda one, two, server: two.evacuate(server),
    'resize': lambda one, two, server: one.resize(server, one),
    'revert': lambda one, two, server: one.resize(server, one, reverts=True),
    'migrate': lambda one, two, server: one.resize(server, two),
}


@pytest.mark.parametrize('act', ACTS)
@BACKED
def test_each_act_succeeds_after_shelve_and_unshelve(
        one, two, make_volumes, options, is_volume_backed, act):
    options('max_mappings_per_bus', 1)
    server = one.create(make_volumes(3), is_volume_backed)
    one.shelve(server)
    server.rows.reverse()       # so that they get other slots than before
    one.unshelve(server)
    before = one.places(server)
    assert len({slot for slot, _ in before.values()}) == 3
    ACTS[act](one, two, server)
    host = one if one.novalink.mappings(server.uuid) and act != 'evacuate' else two
    assert host.disagreement(server) is None
    if act != 'rebuild':        # which makes the LPAR anew, with the slots in the order of volumes
        assert host.places(server) == before


def test_a_volume_that_was_unmapped_outside_nova_is_dropped_from_the_slot_map_when_detached(
        one, two, make_volumes):
    server = one.create(make_volumes(3))
    gone = server.rows[1].volume_id
    unmap_outside_nova(one, server.volumes[gone])
    one.start()
    one.detach(server, gone)
    assert one.disagreement(server) is None
    one.attach(server, make_volumes(1)[0])
    assert one.disagreement(server) is None
    two.evacuate(server)
    assert two.disagreement(server) is None


def test_a_reverted_detach_puts_the_volume_back_where_it_was(one, make_volumes, options):
    options('max_mappings_per_bus', 1)
    server = one.create(make_volumes(3))
    one.detach(server, server.rows[0].volume_id)    # so that another slot is free
    before = one.places(server)
    with failing(vm_tasks.Rename), pytest.raises(nova_exception.InstanceFaultRollback):
        one.resize(server, one)
    assert one.places(server) == before
    assert one.disagreement(server) is None


# -- acts that fail --------------------------------------------------------------------------------


def test_a_file_that_is_replaced_while_the_config_drive_is_made_is_not_attached(
        one, make_volumes, tmp_path):
    [volume] = make_volumes(1)
    other = tmp_path / 'other'
    other.write_bytes(b'x' * 1024)

    def replace(*args, **kwargs):
        volume.path.unlink()
        volume.path.symlink_to(other)

    with mock.patch.object(media, 'ConfigDrivePowerVM') as config_drive, \
            mock.patch('nova.virt.configdrive.required_by', return_value=True):
        config_drive.return_value.create_cfg_drv_vopt = replace
        with pytest.raises(pvm_exception.VolumeAttachFailed) as raised:
            one.create([volume])
    assert isinstance(raised.value.__cause__, exceptions.UnsafeVolumePath)
    assert one.novalink.mappings() == []


def test_an_instance_whose_spawn_was_refused_can_be_deleted_where_nothing_can_be_mapped(
        cluster, make_volumes):
    host = cluster('neo-3', mgmt_is_io_server=False)
    server = host.new_server()
    with pytest.raises(pvm_exception.VolumeAttachFailed, match='not an I/O server'):
        host.spawn(server, make_volumes(2))
    host.delete(server)
    assert host.novalink.lpars == []


@pytest.mark.parametrize('fault', [{'encrypted': True}, {'access_mode': 'ro'}])
def test_a_volume_that_cannot_be_attached_again_hides_no_error_and_stops_no_other_revert(
        one, make_volumes, fault):
    volumes = make_volumes(3)
    server = one.create(volumes)
    volumes[1].more = fault
    one.refresh(server)         # Nova asks Cinder for connection_info again before a resize
    with failing(vm_tasks.Rename), pytest.raises(nova_exception.InstanceFaultRollback) as raised:
        one.resize(server, one)
    assert isinstance(raised.value.inner_exception, RuntimeError)
    assert set(one.places(server)) == {volumes[0].id, volumes[2].id}


def test_an_attach_that_is_rolled_back_leaves_no_slot_registered(one, make_volumes):
    server = one.create(make_volumes(1))
    [volume] = make_volumes(1)
    copy = volume.path.with_suffix('.copy')
    copy.write_bytes(b'')
    os.truncate(copy, 1 << 30)
    one.novalink.faults.add(WhenPosted(
        lambda: os.replace(copy, volume.path), method='POST'))
    with pytest.raises(pvm_exception.VolumeAttachFailed, match='replaced'):
        one.attach(server, volume)
    assert one.disagreement(server) is None
