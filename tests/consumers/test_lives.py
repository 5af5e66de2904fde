"""The whole life of an instance, by nova-powervm's own flows, as nova-compute drives them.

The slot map is in a store that keeps what is saved, and only that.
"""

import contextlib
import dataclasses
import os
import subprocess
import time
from collections.abc import Callable
from unittest import mock

import pytest

pytest.importorskip('nova_powervm', reason='nova-powervm is not installed')

from nova import exception as nova_exception
from nova_powervm.virt.powervm import exception as pvm_exception
from nova_powervm.virt.powervm import live_migration
from nova_powervm.virt.powervm import media
from nova_powervm.virt.powervm import slot
from nova_powervm.virt.powervm.tasks import vm as vm_tasks

import powervm_fileio_connector as pfc
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.nova import slot_repair
from powervm_fileio_connector.simulator.faults.base import Fault
from tests.host.conftest import FuseShare


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


@contextlib.contextmanager
def making_the_config_drive(act):
    """Have something happen while the config drive of a new instance is made."""
    with mock.patch.object(media, 'ConfigDrivePowerVM') as config_drive, \
            mock.patch('nova.virt.configdrive.required_by', return_value=True):
        config_drive.return_value.create_cfg_drv_vopt = act
        yield


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
    one.unmap_outside_nova(server.volumes[gone])
    one.start()
    one.detach(server, gone)
    assert one.disagreement(server) is None
    one.attach(server, make_volumes(1)[0])
    assert one.disagreement(server) is None
    two.evacuate(server)
    assert two.disagreement(server) is None


def test_a_volume_that_was_detached_while_the_instance_was_shelved_leaves_the_slot_map(
        one, two, make_volumes):
    server = one.create(make_volumes(3))
    one.shelve(server)
    server.rows.pop(0)      # Nova tells no driver
    one.unshelve(server)
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

    with making_the_config_drive(replace), \
            pytest.raises(pvm_exception.VolumeAttachFailed) as raised:
        one.create([volume])
    assert isinstance(raised.value.__cause__, exceptions.UnsafeVolumePath)
    assert one.novalink.mappings() == []


def test_a_file_that_is_attached_by_another_name_while_the_config_drive_is_made_is_taken_off(
        one, make_volumes):
    other = one.create([])
    volume, linked = make_volumes(2)
    linked.path.unlink()
    linked.path.hardlink_to(volume.path)
    connector = pfc.FileIOConnector(None, adapter=one.driver.adapter, lpar_uuid=other.uuid)

    def attach(*args, **kwargs):
        connector.connect_volume({'path': str(linked.path)})

    with making_the_config_drive(attach), \
            pytest.raises(pvm_exception.VolumeAttachFailed) as raised:
        one.create([volume])
    assert isinstance(raised.value.__cause__, exceptions.VolumeInUse)
    assert [mapping.path for mapping in one.novalink.mappings()] == [str(linked.path)]


def test_an_instance_whose_spawn_was_refused_can_be_deleted_where_nothing_can_be_mapped(
        cluster, make_volumes):
    host = cluster('neo-3', mgmt_is_io_server=False)
    server = host.new_server()
    with pytest.raises(pvm_exception.VolumeAttachFailed, match='not an I/O server'):
        host.spawn(server, make_volumes(2))
    host.delete(server)
    assert host.novalink.lpars == []


def test_where_the_management_partition_is_not_running_a_spawn_fails_and_a_destroy_does_not(
        cluster, make_volumes):
    """The FeedTask is of the VIOS that run, and so without ours."""
    host = cluster('neo-3', other_vioses=1)
    ours = host.novalink.vios_uuid
    server = host.create(make_volumes(2))
    host.novalink.change_lpar(ours, state='shutting down')
    refused = host.new_server()
    with pytest.raises(pvm_exception.VolumeAttachFailed, match=f'does not include VIOS {ours}'):
        host.spawn(refused, make_volumes(1))
    assert len(host.novalink.mappings()) == 2
    for one in (refused, server):
        host.delete(one)
        assert host.slots(one) == []
    assert host.novalink.mappings() == []


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


def test_an_attach_that_is_rolled_back_registers_no_slot(one, make_volumes):
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
    assert len(one.slots(server)) == 1


def test_an_instance_sees_the_new_size_of_a_volume(one, make_volumes):
    server = one.create(make_volumes(2))
    [grown, other] = server.volumes.values()
    os.truncate(grown.path, 2 << 30)
    one.extend(server, grown.id, 2 << 30)
    assert {mapping.tag: float(mapping.capacity_gb) for mapping in one.novalink.mappings()} == {
        grown.id: 2, other.id: 1}


# -- shares that do not answer ---------------------------------------------------------------------


@pytest.fixture
def hang(gpfs_base, tmp_path, options):
    """Have the file system of the volumes not answer any more, and each probe wait for a second."""
    with contextlib.ExitStack() as mounts:
        def hang():
            share = FuseShare(tmp_path / 'silent', 'gpfs0', 'gpfs')
            mounts.enter_context(contextlib.closing(share))
            subprocess.run(['mount', '--bind', share.place, gpfs_base], check=True)
            mounts.callback(subprocess.run, ['umount', '-l', gpfs_base], check=True)
            share.tell('hang')
            options('probe_timeout_s', 1.0)
        yield hang


def seconds_of(act):
    start = time.monotonic()
    act()
    return time.monotonic() - start


@pytest.mark.parametrize('are_mapped', [True, False])
def test_a_destroy_with_many_volumes_on_a_silent_share_costs_one_deadline(
        one, make_volumes, hang, are_mapped):
    usual = seconds_of(lambda: one.delete(one.create(make_volumes(10))))
    server = one.create(make_volumes(10))
    one.refresh(server)         # so that nothing is kept of the mappings
    if not are_mapped:
        for volume in server.volumes.values():
            one.unmap_outside_nova(volume)
    hang()
    # Each volume by itself would take a second.
    assert seconds_of(lambda: one.delete(server)) < usual + 6
    assert one.novalink.mappings() == []


def test_a_destroy_asks_no_share_where_novalink_tells_the_mappings(
        one, make_volumes, hang, options):
    usual = seconds_of(lambda: one.delete(one.create(make_volumes(2))))
    server = one.create(make_volumes(2))
    one.refresh(server)
    hang()
    options('probe_timeout_s', 200.0)
    assert seconds_of(lambda: one.delete(server)) < usual + 60
    assert one.novalink.mappings() == []


def test_a_failed_spawn_on_a_silent_share_costs_one_deadline(one, make_volumes, hang):
    usual = seconds_of(lambda: one.delete(one.create(make_volumes(1))))
    volumes = make_volumes(10)
    hang()
    server = one.new_server()

    def spawn():
        with pytest.raises(pvm_exception.VolumeAttachFailed, match='did not answer'):
            one.spawn(server, volumes)
    assert seconds_of(spawn) < usual + 8
    assert one.novalink.mappings() == []


def test_a_share_that_falls_silent_while_volumes_are_attached_costs_one_deadline(
        one, make_volumes, hang, options):
    options('probe_timeout_s', 4.0)
    usual = seconds_of(lambda: one.delete(one.create(make_volumes(10))))
    volumes, server = make_volumes(10), one.new_server()
    one.novalink.faults.add(WhenPosted(
        hang, method='POST', path='VirtualIOServer', times=1))
    assert seconds_of(lambda: one.spawn(server, volumes)) < usual + 12
    assert len(one.novalink.mappings(server.uuid)) == 10


def test_an_evacuation_from_a_silent_share_says_so(one, two, make_volumes, hang):
    server = one.create(make_volumes(1))
    hang()
    with pytest.raises(pvm_exception.InvalidRebuild, match='did not answer'):
        two.evacuate(server)
    assert two.novalink.lpars == []


def test_a_live_migration_from_a_silent_share_is_refused_with_the_instance_left_as_it_is(
        one, make_volumes, hang):
    server = one.create(make_volumes(1))
    hang()
    with (mock.patch.multiple(live_migration, _verify_migration_capacity=mock.DEFAULT,
                              mgmt_task=mock.DEFAULT),
          mock.patch.object(live_migration.LiveMigrationSrc, '_check_migration_ready'),
          pytest.raises(nova_exception.MigrationPreCheckError, match='did not answer')):
        one.check_live_migration(server)


# -- repair ----------------------------------------------------------------------------------------


def spoil(host, server):
    """Leave a disk that is not attached in the map, and one that is in a second slot."""
    slot_mgr = slot.build_slot_mgr(server.instance, host.slot_maps)
    udid = host.novalink.mappings(server.uuid)[0].udid
    for number, disk in ((7, 'd15c0000-0000-3000-8000-000000000000'), (8, udid)):
        slot_mgr._reg_slot('VDisk', disk, number, extra_spec='lun1')
    slot_mgr._reg_slot('PV', 'volume of another driver', 9, extra_spec='0x81')
    slot_mgr.save()


def test_a_spoilt_slot_map_is_repaired(one, two, make_volumes):
    server, other = (one.create(make_volumes(2)) for _ in range(2))
    spoil(one, server)
    assert one.disagreement(server) is not None
    changes = slot_repair.repair_host(one.driver.adapter, one.slot_maps)
    assert len(changes[server.instance.uuid]) == 2
    assert changes[other.instance.uuid] == []
    assert one.disagreement(server) is None
    slot_mgr = slot.build_slot_mgr(server.instance, one.slot_maps)
    assert slot_mgr.topology[9] == {'PV': {'volume of another driver': '0x81'}}
    slot_mgr._drop_slot('PV', 'volume of another driver', 9)
    slot_mgr.save()
    assert slot_repair.repair_host(one.driver.adapter, one.slot_maps)[server.instance.uuid] == []
    two.evacuate(server)
    assert two.disagreement(server) is None


def test_the_repair_of_a_host_reads_the_mappings_once(one, make_volumes):
    servers = [one.create(make_volumes(1)) for _ in range(3)]
    for server in servers:
        spoil(one, server)
    requests = one.novalink.requests
    requests.clear()
    assert len(slot_repair.repair_host(one.driver.adapter, one.slot_maps)) == 3
    assert requests.count('GET', f'VirtualIOServer/{one.novalink.vios_uuid}') == 1
    for server in servers:
        assert one.slots(server) == sorted(
            (mapping.udid, mapping.slot, mapping.lua)
            for mapping in one.novalink.mappings(server.uuid))


def test_a_disk_that_the_slot_map_lacks_is_registered_by_a_repair(one, make_volumes):
    server = one.create(make_volumes(2))
    before = one.slots(server)
    slot_mgr = slot.build_slot_mgr(server.instance, one.slot_maps)
    udid, number, _ = before[0]
    slot_mgr._drop_slot('VDisk', udid, number)
    slot_mgr.save()
    [change] = slot_repair.repair_slot_map(
        one.driver.adapter, one.slot_maps, server.instance.uuid)
    assert change.startswith('registered')
    assert one.slots(server) == before


def test_the_slot_map_of_an_instance_that_is_being_moved_is_left(one, make_volumes):
    server = one.create(make_volumes(1))
    spoil(one, server)
    one.novalink.change_lpar(server.uuid, name=f'migrate_{server.instance.name}')
    assert slot_repair.repair_host(one.driver.adapter, one.slot_maps) == {}
