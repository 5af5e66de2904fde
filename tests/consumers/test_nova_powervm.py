# SPDX-License-Identifier: Apache-2.0
"""Volumes of Cinder's real drivers, attached by nova-powervm's own driver through our adapter."""

import logging
import os

import pytest
from pypowervm.tasks import partition
from pypowervm.tasks import scsi_mapper
from pypowervm.tasks import slot_map
from pypowervm.wrappers import virtual_io_server

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.simulator import StaleEtag412
from tests.consumers.conftest import lpar_uuid

pytest.importorskip('nova_powervm', reason='nova-powervm is not installed')

from nova import exception as nova_exception
from nova_powervm.virt.powervm import exception as pvm_exception
from nova_powervm.virt.powervm import volume as volumes
from nova_powervm.virt.powervm.tasks import base as tasks
from nova_powervm.virt.powervm.tasks import storage as storage_tasks
from nova_powervm.virt.powervm.volume import driver
from taskflow.patterns import linear_flow


def spawn(host, instance, bdms, slot_mgr):
    """The part of nova-powervm's spawn that is about volumes: all in one FeedTask."""
    feed_task = partition.build_active_vio_feed_task(host.driver.adapter, xag=[
        *volumes.get_volume_class('nfs').min_xags()])
    flow = linear_flow.Flow('spawn')
    host.driver._add_volume_connection_tasks(None, instance, bdms, flow, feed_task, slot_mgr)
    flow.add(feed_task)
    tasks.run(flow, instance=instance)


def renew(host, instance):
    """Lose the LPAR, and make a new one."""
    host.novalink.remove_lpar(lpar_uuid(instance))
    host.receive(instance)


def rebuild(host, instance, bdms):
    """Give a new LPAR the volumes of the old one."""
    slot_mgr = host.slot_manager(
        instance, adapter=host.driver.adapter,
        vol_drv_iter=list(host.driver._vol_drv_iter(instance, bdms)))
    slot_mgr.build_map.get_max_vslots()     # what creating the LPAR asks for, before all else
    spawn(host, instance, bdms, slot_mgr)
    return slot_mgr


def places(mappings):
    return {mapping.path: (mapping.slot, mapping.lua) for mapping in mappings}


# A rebuild removes every mapping that no LPAR has, also what another program has left.
scrubbed_by_nova = pytest.mark.parametrize('novalink', [{'foreign': False}], indirect=True)


# -- dispatch ----------------------------------------------------------------------------------


@pytest.mark.parametrize('volume_type', ['nfs', 'gpfs', 'quobyte', 'vzstorage', 'local', 'file'])
def test_nova_powervms_own_dispatch_finds_our_adapter(nova, volume_type):
    assert volumes.get_volume_class(volume_type) is nova.FileIOVolumeAdapter
    assert issubclass(nova.FileIOVolumeAdapter, driver.PowerVMVolumeAdapter)


def test_enabling_may_be_repeated_and_disabling_puts_everything_back(nova):
    nova.disable()
    before = dict(volumes._STATIC_VOLUME_MAPPINGS)
    for _ in range(2):
        nova.enable()
    for _ in range(2):
        nova.disable()
    assert before == volumes._STATIC_VOLUME_MAPPINGS
    assert 'quobyte' not in before


def test_disabling_leaves_an_adapter_of_another_package_in_its_place(nova):
    volumes._STATIC_VOLUME_MAPPINGS['quobyte'] = 'somebody.else'
    nova.disable()
    assert volumes._STATIC_VOLUME_MAPPINGS.pop('quobyte') == 'somebody.else'


def test_an_adapter_that_is_replaced_and_one_that_is_taken_away_are_logged(nova, caplog):
    nova.disable()
    caplog.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(volumes._STATIC_VOLUME_MAPPINGS, 'quobyte', 'somebody.else')
        nova.enable()
        [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert 'not by somebody.else' in record.message
        caplog.clear()
        nova.disable()
        assert volumes._STATIC_VOLUME_MAPPINGS['quobyte'] == 'somebody.else'
    # nova-powervm has adapters of its own for the other types.
    assert {record.message for record in caplog.records if record.levelno == logging.WARNING} == {
        f'Attached volumes of type {volume_type} cannot be detached any more.'
        for volume_type in ('vzstorage', 'glusterfs', 'smbfs', 'file')}


def test_other_volume_types_are_left_alone(nova):
    assert volumes.get_volume_class('iscsi').__module__.startswith('nova_powervm')


# -- attach, extend, detach ----------------------------------------------------------------------


def test_a_volume_of_cinder_is_attached_and_detached(host, volume):
    instance = host.make_instance()
    bdm = host.attach(instance, volume)
    [mapping] = host.mappings(instance)
    assert os.path.basename(mapping.path) == f'volume-{volume.id}'
    assert mapping.tag == volume.id
    assert mapping.backstore == (
        'user:qcow' if bdm['connection_info']['data'].get('format') == 'qcow2' else 'loop')
    host.detach(instance, bdm)
    assert host.novalink.mappings() == []


def test_what_nova_keeps_of_the_volume_is_not_changed_by_us(host, make_gpfs_volume):
    bdm = host.attach(host.make_instance(), make_gpfs_volume())
    assert 'volume_id' not in bdm['connection_info']['data']


@pytest.mark.parametrize('times', [1, 2])
def test_attaching_and_detaching_may_be_repeated(host, make_nfs_volume, times):
    instance, volume = host.make_instance(), make_nfs_volume()
    bdm = host.prepare(instance, volume)
    for _ in range(times):
        host.adapter_for(instance, bdm).connect_volume(host.slot_manager(instance))
    assert len(host.mappings(instance)) == 1
    assert host.novalink.requests.count('POST') == 1
    for _ in range(times):
        host.adapter_for(instance, bdm).disconnect_volume(host.slot_manager(instance))
    assert host.mappings(instance) == []
    assert host.novalink.requests.count('POST') == 2


def test_the_instance_sees_a_volume_that_cinder_extended(host, make_gpfs_volume):
    instance, volume = host.make_instance(), make_gpfs_volume()
    bdm = host.attach(instance, volume)
    volume.extend(2)
    host.extend(instance, bdm)
    [mapping] = host.mappings(instance)
    assert float(mapping.capacity_gb) == 2


def test_a_qcow2_volume_cannot_be_extended_while_attached_and_says_why(host, make_nfs_volume):
    instance = host.make_instance()
    bdm = host.attach(instance, make_nfs_volume(nfs_qcow2_volumes=True))
    with pytest.raises(pvm_exception.VolumeExtendFailed, match='user:qcow') as raised:
        host.extend(instance, bdm)
    assert isinstance(raised.value.__cause__, exceptions.ExtendFailed)


def test_a_volume_comes_off_when_its_share_is_gone(host, make_nfs_volume, mounter, nfs_base):
    instance = host.make_instance()
    bdm = host.attach(instance, make_nfs_volume())
    mounter.unmount(next(nfs_base.iterdir()))
    host.detach(instance, bdm)
    assert host.novalink.mappings() == []


# -- slots and LUAs ------------------------------------------------------------------------------


def test_the_slot_map_holds_slot_and_lua_under_the_udid_that_novalink_issues(host, volume):
    instance = host.make_instance()
    host.attach(instance, volume)
    [mapping] = host.mappings(instance)
    assert host.slot_manager(instance).topology == {
        mapping.slot: {slot_map.IOCLASS.VDISK: {mapping.udid: mapping.lua}}}


def test_detaching_takes_the_volume_out_of_the_slot_map(host, make_gpfs_volume):
    instance = host.make_instance()
    gone, stays = (host.attach(instance, make_gpfs_volume()) for _ in range(2))
    host.detach(instance, gone)
    [mapping] = host.mappings(instance)
    assert mapping.tag == stays.volume_id
    assert host.slot_manager(instance).topology == {
        mapping.slot: {slot_map.IOCLASS.VDISK: {mapping.udid: mapping.lua}}}


def test_three_volumes_of_a_spawn_cost_one_post(host, make_nfs_volume, make_gpfs_volume):
    instance = host.make_instance(state='not activated', rmc_state='inactive')
    bdms = [host.prepare(instance, make())
            for make in (make_nfs_volume, make_gpfs_volume, make_nfs_volume)]
    slot_mgr = host.slot_manager(instance)
    host.novalink.requests.clear()
    spawn(host, instance, bdms, slot_mgr)
    assert {mapping.tag for mapping in host.mappings(instance)} == {bdm.volume_id for bdm in bdms}
    assert host.novalink.requests.count('POST') == 1
    assert {udid for slot in slot_mgr.topology.values()
            for udid in slot[slot_map.IOCLASS.VDISK]} == {
        mapping.udid for mapping in host.mappings(instance)}


def test_nothing_is_sent_before_the_callers_feed_task_runs(host, make_gpfs_volume):
    instance, volume = host.make_instance(), make_gpfs_volume()
    bdm = host.prepare(instance, volume)
    feed_task = partition.build_active_vio_feed_task(host.driver.adapter)
    slot_mgr = host.slot_manager(instance)
    host.adapter_for(instance, bdm, feed_task).connect_volume(slot_mgr)
    assert host.novalink.requests.count('POST') == 0
    assert slot_mgr.topology == {}
    feed_task.execute()
    assert len(host.mappings(instance)) == 1


def test_a_destroy_detaches_in_the_callers_feed_task(host, make_gpfs_volume):
    instance = host.make_instance()
    bdms = [host.attach(instance, make_gpfs_volume()) for _ in range(2)]
    feed_task = partition.build_active_vio_feed_task(host.driver.adapter)
    slot_mgr = host.slot_manager(instance)
    flow = linear_flow.Flow('destroy')
    host.driver._add_volume_disconnection_tasks(None, instance, bdms, flow, feed_task, slot_mgr)
    flow.add(feed_task)
    host.novalink.requests.clear()
    tasks.run(flow, instance=instance)
    assert host.novalink.mappings() == []
    assert host.novalink.requests.count('POST') == 1
    assert slot_mgr.topology == {}


def test_a_feed_task_that_meets_a_change_of_others_is_carried_out_all_the_same(
        host, make_gpfs_volume):
    instance = host.make_instance()
    bdm = host.prepare(instance, make_gpfs_volume())
    host.novalink.faults.add(StaleEtag412(times=1))
    spawn(host, instance, [bdm], host.slot_manager(instance))
    assert len(host.mappings(instance)) == 1


@scrubbed_by_nova
def test_a_rebuilt_instance_gets_the_same_slots_and_luas(host, make_nfs_volume, make_gpfs_volume,
                                                         options):
    options('max_mappings_per_bus', 2)
    instance = host.make_instance()
    bdms = [host.attach(instance, make())
            for make in (make_nfs_volume, make_gpfs_volume, make_nfs_volume, make_gpfs_volume)]
    host.detach(instance, bdms.pop(0))      # so that free slots and LUAs would be others
    before = places(host.mappings(instance))
    renew(host, instance)
    # In another order than they came, so that chance alone would mix them up.
    rebuild(host, instance, bdms[::-1])
    assert places(host.mappings(instance)) == before


def test_an_evacuated_instance_gets_the_same_slots_and_luas_on_another_host(
        host, other_host, make_nfs_volume, make_gpfs_volume):
    instance = host.make_instance()
    gone, *bdms = (host.attach(instance, make())
                   for make in (make_gpfs_volume, make_nfs_volume, make_gpfs_volume))
    host.detach(instance, gone)
    other_host.driver.store_api = other_host.slot_maps = host.slot_maps
    other_host.receive(instance, state='not activated')
    rebuild(other_host, instance, bdms)
    assert places(other_host.mappings(instance)) == places(host.mappings(instance)) != {}


@scrubbed_by_nova
def test_a_rebuild_is_refused_where_a_volume_cannot_be_had(host, make_gpfs_volume):
    instance = host.make_instance()
    bdm = host.attach(instance, make_gpfs_volume())
    os.unlink(host.mappings(instance)[0].path)
    renew(host, instance)
    with pytest.raises(pvm_exception.InvalidRebuild):
        rebuild(host, instance, [bdm])


@scrubbed_by_nova
def test_a_volume_that_the_slot_map_does_not_know_is_rebuilt_in_any_slot(host, make_gpfs_volume):
    instance = host.make_instance()
    bdms = [host.attach(instance, make_gpfs_volume()) for _ in range(2)]
    host.slot_maps.saved.clear()
    renew(host, instance)
    rebuild(host, instance, bdms)
    assert len(host.mappings(instance)) == 2


def test_only_the_management_partition_can_have_the_volume(host, ordinary_host, make_gpfs_volume):
    instance = host.make_instance()
    adapter = host.adapter_for(instance, host.attach(instance, make_gpfs_volume()))
    [vios_w] = virtual_io_server.VIOS.get(host.driver.adapter, xag=adapter.min_xags())
    [mapping] = host.mappings(instance)
    assert adapter.is_volume_on_vios(vios_w) == (True, mapping.udid)
    assert adapter.vios_uuids == [vios_w.uuid]
    [other_w] = virtual_io_server.VIOS.get(ordinary_host.driver.adapter, xag=adapter.min_xags())
    assert adapter.is_volume_on_vios(other_w) == (False, None)


# -- errors --------------------------------------------------------------------------------------


def test_connection_info_that_cannot_be_served_is_an_invalid_volume(host, make_nfs_volume):
    instance = host.make_instance()
    bdm = host.prepare(instance, make_nfs_volume())
    bdm['connection_info']['data']['encrypted'] = True
    with pytest.raises(nova_exception.InvalidVolume, match='ciphertext') as raised:
        host.adapter_for(instance, bdm).connect_volume(host.slot_manager(instance))
    assert isinstance(raised.value.__cause__, exceptions.UnsupportedVolume)


def test_connection_info_without_data_is_an_invalid_volume(host):
    adapter = volumes.build_volume_driver(
        host.driver.adapter, host.driver.host_uuid, host.make_instance(),
        {'driver_volume_type': 'nfs', 'serial': 'some-volume'})
    with pytest.raises(nova_exception.InvalidVolume, match="'name'"):
        adapter.connect_volume(None)


@pytest.mark.parametrize('is_deferred', [False, True])
def test_a_share_that_is_not_mounted_fails_the_attach_with_our_message(
        host, make_nfs_volume, mounter, nfs_base, is_deferred):
    instance = host.make_instance()
    bdm = host.prepare(instance, make_nfs_volume())
    mounter.unmount(next(nfs_base.iterdir()))
    feed_task = is_deferred and partition.build_active_vio_feed_task(host.driver.adapter)
    with pytest.raises(pvm_exception.VolumeAttachFailed, match='Mount it on the') as raised:
        host.adapter_for(instance, bdm, feed_task or None).connect_volume(
            host.slot_manager(instance))
    assert isinstance(raised.value.__cause__, exceptions.ShareNotMounted)
    assert instance.name in str(raised.value)
    assert host.novalink.requests.count('POST') == 0


@pytest.mark.parametrize('is_deferred', [False, True])
def test_an_instance_that_cannot_change_its_io_is_refused_by_our_rule(
        host, make_gpfs_volume, is_deferred):
    instance = host.make_instance(rmc_state='inactive')
    bdm = host.prepare(instance, make_gpfs_volume())
    feed_task = is_deferred and partition.build_active_vio_feed_task(host.driver.adapter)
    with pytest.raises(pvm_exception.VolumeAttachFailed, match='RMC inactive') as raised:
        host.adapter_for(instance, bdm, feed_task or None).connect_volume(
            host.slot_manager(instance))
    assert isinstance(raised.value.__cause__, exceptions.LPARNotReady)
    assert host.novalink.mappings() == []


def test_a_detach_that_the_instance_cannot_take_now_fails_as_nova_expects(host, make_gpfs_volume):
    instance = host.make_instance()
    bdm = host.attach(instance, make_gpfs_volume())
    host.novalink.change_lpar(lpar_uuid(instance), rmc_state='inactive')
    slot_mgr = host.slot_manager(instance)
    with host.novalink.state.rules.also('removal_needs_lpar_io'), pytest.raises(
            pvm_exception.VolumeDetachFailed, match='RMC inactive') as raised:
        host.adapter_for(instance, bdm).disconnect_volume(slot_mgr)
    assert isinstance(raised.value.__cause__, exceptions.LPARNotReady)
    assert len(host.mappings(instance)) == 1
    assert slot_mgr.topology


def test_a_conflict_that_shows_in_the_callers_feed_task_arrives_as_novas_error(
        host, make_gpfs_volume):
    instance, volume = host.make_instance(), make_gpfs_volume()
    bdm = host.prepare(instance, volume)
    host.attach(host.make_instance(), volume)
    with pytest.raises(pvm_exception.VolumeAttachFailed, match='mapped to') as raised:
        spawn(host, instance, [bdm], host.slot_manager(instance))
    assert isinstance(raised.value.__cause__, exceptions.VolumeInUse)
    assert host.mappings(instance) == []


def test_a_volume_that_the_answer_does_not_show_is_no_success(host, make_gpfs_volume):
    instance = host.make_instance()
    bdm = host.prepare(instance, make_gpfs_volume())
    feed_task = partition.build_active_vio_feed_task(host.driver.adapter)
    slot_mgr = host.slot_manager(instance)
    host.adapter_for(instance, bdm, feed_task).connect_volume(slot_mgr)
    feed_task.add_functor_subtask(
        lambda vios_w: scsi_mapper.remove_maps(vios_w, lpar_uuid(instance)))
    with pytest.raises(pvm_exception.VolumeAttachFailed, match='does not show'):
        feed_task.execute()
    assert slot_mgr.topology == {}


def test_a_failed_spawn_leaves_none_of_its_volumes_attached(host, make_gpfs_volume):
    instance = host.make_instance()
    bdms = [host.prepare(instance, make_gpfs_volume()) for _ in range(3)]
    taken = host.make_instance()
    host.adapter_for(taken, bdms[1]).connect_volume(host.slot_manager(taken))
    slot_mgr = host.slot_manager(instance)
    with pytest.raises(pvm_exception.VolumeAttachFailed):
        spawn(host, instance, bdms, slot_mgr)
    assert host.mappings(instance) == []
    assert len(host.mappings(taken)) == 1
    assert slot_mgr.topology == {}


def test_a_detach_of_an_instance_that_is_gone_is_success(host, make_gpfs_volume):
    instance = host.make_instance()
    bdm = host.attach(instance, make_gpfs_volume())
    host.novalink.remove_lpar(lpar_uuid(instance), leave_orphans=True)
    host.adapter_for(instance, bdm).disconnect_volume(host.slot_manager(instance))
    assert host.novalink.mappings() == []


def test_a_management_partition_that_is_no_io_server_is_refused(ordinary_host, make_gpfs_volume):
    instance, volume = ordinary_host.make_instance(), make_gpfs_volume()
    with pytest.raises(pvm_exception.VolumeAttachFailed, match='not an I/O server') as raised:
        ordinary_host.attach(instance, volume)
    assert isinstance(raised.value.__cause__, exceptions.NovaLinkNotIOServer)
    assert ordinary_host.novalink.mappings() == []


def test_nova_powervms_own_tasks_find_the_volumes_id(host, make_nfs_volume):
    instance = host.make_instance()
    bdm = host.prepare(instance, make_nfs_volume())
    for task in (storage_tasks.ConnectVolume, storage_tasks.DisconnectVolume):
        assert task(host.adapter_for(instance, bdm), None).vol_id == bdm.volume_id
