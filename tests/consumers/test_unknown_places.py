# SPDX-License-Identifier: Apache-2.0
"""Volumes whose places the slot map does not know.

It does not know those that nova-powervm's own adapter attached; with ``nvram_store = none``,
nova-powervm's default, it knows none.
"""

import threading

import pytest

pytest.importorskip('nova_powervm', reason='nova-powervm is not installed')

from nova import exception as nova_exception
from nova_powervm.virt.powervm import exception as pvm_exception
from nova_powervm.virt.powervm import slot
from nova_powervm.virt.powervm.tasks import vm as vm_tasks
from pypowervm.utils import transaction

from powervm_fileio_connector.simulator import InternalError500
from tests.consumers.test_lives import failing


def forget(host, server, volume_id):
    """Have the saved map not know a volume."""
    [mapping] = [one for one in host.novalink.mappings(server.uuid) if one.tag == volume_id]
    slot_mgr = slot.build_slot_mgr(server.instance, host.slot_maps)
    slot_mgr._drop_slot('VDisk', mapping.udid, mapping.slot)
    slot_mgr.save()


@pytest.mark.parametrize('unknown', [1, 2])
@pytest.mark.parametrize('act', ['evacuate', 'migrate', 'resize'])
def test_a_volume_of_any_place_goes_where_no_known_one_belongs(
        one, two, make_volumes, act, unknown):
    server = one.create(make_volumes(unknown), is_volume_backed=True)
    one.slot_maps.saved.clear()
    [late] = make_volumes(1)
    one.attach(server, late)
    place = one.places(server)[late.id]
    host = one if act == 'resize' else two
    if act == 'evacuate':
        two.evacuate(server)
    else:
        one.resize(server, host)
    assert host.places(server).keys() == set(server.volumes)
    assert host.places(server)[late.id] == place


@pytest.mark.parametrize('unknown', [0, 1, 2])
def test_a_revert_puts_a_volume_back_that_the_map_does_not_know(one, make_volumes, unknown):
    server = one.create(make_volumes(3))
    forget(one, server, server.rows[unknown].volume_id)
    before = one.places(server)
    with failing(vm_tasks.Rename), pytest.raises(nova_exception.InstanceFaultRollback):
        one.resize(server, one)
    assert one.places(server) == before


def test_a_revert_puts_volumes_back_where_no_map_is_kept(one, make_volumes):
    one.slot_maps = one.driver.store_api = None
    server = one.create(make_volumes(3), is_volume_backed=True)
    before = one.places(server)
    with failing(vm_tasks.Rename), pytest.raises(nova_exception.InstanceFaultRollback):
        one.resize(server, one)
    assert one.places(server) == before


@pytest.fixture
def host_with_vios(cluster, monkeypatch):
    """A host with a traditional VIOS, whose part of each FeedTask follows that of the other."""
    host, turns = cluster('neo-1', other_vioses=1), threading.Semaphore(0)
    execute = transaction.WrapperTask.execute

    def execute_in_order(task):
        if task.wrapper.uuid != host.novalink.vios_uuid:
            assert turns.acquire(timeout=60)
            return execute(task)
        try:
            return execute(task)
        finally:
            turns.release()

    monkeypatch.setattr(transaction.WrapperTask, 'execute', execute_in_order)
    return host


def test_a_revert_puts_volumes_back_where_a_traditional_vios_is_handled_last(
        host_with_vios, make_volumes):
    host = host_with_vios
    host.slot_maps = host.driver.store_api = None
    server = host.create(make_volumes(3), is_volume_backed=True)
    host.detach(server, server.rows[0].volume_id)
    before = host.places(server)
    with failing(vm_tasks.Rename), pytest.raises(nova_exception.InstanceFaultRollback):
        host.resize(server, host)
    assert host.places(server) == before


def test_a_spawn_takes_one_post_where_a_traditional_vios_is_handled_last(
        host_with_vios, make_volumes):
    host_with_vios.delete(host_with_vios.create(make_volumes(1)))
    requests = host_with_vios.novalink.requests
    requests.clear()
    server = host_with_vios.create(make_volumes(2))
    methods = [request.method for request in requests.records(path='VirtualIOServer')]
    assert methods.count('POST') == 1
    assert methods[-1] == 'POST'
    assert host_with_vios.disagreement(server) is None


@pytest.mark.parametrize('is_known', [True, False], ids=['known', 'unknown'])
def test_a_revert_tells_the_first_error_and_puts_back_what_can_be(one, make_volumes, is_known):
    volumes = make_volumes(3)
    server = one.create(volumes)
    if not is_known:
        one.slot_maps.saved.clear()
    before = one.places(server)
    volumes[2].more = {'access_mode': 'ro'}
    one.refresh(server)
    with failing(vm_tasks.Rename), pytest.raises(nova_exception.InstanceFaultRollback) as raised:
        one.resize(server, one)
    assert isinstance(raised.value.inner_exception, RuntimeError)
    assert one.places(server) == {id: place for id, place in before.items() if id != volumes[2].id}


def test_a_detach_that_is_refused_leaves_all_as_it_was_and_says_so(one, two, make_volumes):
    volumes = make_volumes(3)
    server = one.create(volumes)
    before = one.places(server)
    volumes[2].path.unlink()
    one.novalink.faults.add(InternalError500(method='POST', path='VirtualIOServer', times=1))
    with pytest.raises(nova_exception.InstanceFaultRollback) as raised:
        one.resize(server, two)
    assert not isinstance(raised.value.inner_exception, pvm_exception.InvalidRebuild)
    assert one.places(server) == before
    assert one.disagreement(server) is None


def test_a_volume_without_id_is_attached_and_detached(one, make_volumes):
    server = one.create(make_volumes(1))
    before = one.places(server)
    [volume] = make_volumes(1)
    info = {'driver_volume_type': 'gpfs',
            'data': {'name': volume.path.name, 'device_path': str(volume.path)}}
    one.driver.attach_volume(None, info, server.instance, '/dev/sdz')
    assert str(volume.path) in {one.path for one in one.novalink.mappings(server.uuid)}
    one.driver.detach_volume(None, info, server.instance, '/dev/sdz')
    assert one.places(server) == before


@pytest.mark.parametrize('info', [{}, {'data': None}], ids=['no data', 'data is None'])
def test_attaching_connection_info_without_data_is_an_invalid_volume(one, make_volumes, info):
    server = one.create(make_volumes(1))
    with pytest.raises(nova_exception.InvalidVolume):
        one.driver.attach_volume(
            None, {'driver_volume_type': 'gpfs', **info}, server.instance, '/dev/sdz')
