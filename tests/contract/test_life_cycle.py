# SPDX-License-Identifier: Apache-2.0
"""The life of a volume: each call once, and again."""

import concurrent.futures
import copy
import dataclasses
import json
import os
import re

import pytest
from pypowervm.tasks import scsi_mapper
from pypowervm.wrappers import storage

import powervm_fileio_connector as pfc
from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.simulator import Fault
from powervm_fileio_connector.simulator import Latency

KEYS = {'type', 'path', 'volume_id', 'lpar_uuid', 'vios_uuid', 'slot', 'lua', 'udid',
        'target_name', 'backstore'}


@pytest.fixture
def volume(make_volume, volume_id):
    return {'driver_volume_type': 'gpfs', 'volume_id': volume_id,
            'data': {'name': 'volume-1', 'device_path': make_volume()}}


def test_attach_returns_what_novalink_shows(connector, novalink, volume):
    info = connector.connect_volume(volume)
    [mapping] = novalink.mappings()
    assert set(info) == KEYS
    assert info == json.loads(json.dumps(info))
    assert info == {
        'type': 'file', 'path': volume['data']['device_path'], 'volume_id': volume['volume_id'],
        'lpar_uuid': novalink.lpars[0].uuid, 'vios_uuid': novalink.vios_uuid,
        'slot': mapping.slot, 'lua': mapping.lua, 'udid': mapping.udid,
        'target_name': mapping.target_name, 'backstore': 'loop'}
    assert mapping.tag == volume['volume_id']


def test_attach_twice_keeps_one_mapping_and_sends_no_post(connector, novalink, volume):
    before = copy.deepcopy(volume)
    first = connector.connect_volume(volume)
    novalink.requests.clear()
    assert connector.connect_volume(volume) == first
    assert novalink.requests.count('POST') == 0
    assert len(novalink.mappings()) == 1
    assert volume == before


def test_another_connector_sees_the_same(connector, novalink, config, volume):
    first = connector.connect_volume(volume)
    other = pfc.FileIOConnector('sudo', adapter=novalink.adapter(), conf=config,
                                lpar_uuid=novalink.lpars[0].uuid)
    novalink.requests.clear()
    assert other.connect_volume(volume) == first
    assert novalink.requests.count('POST') == 0


def test_two_spellings_of_a_file_are_one_mapping(connector, novalink, volume):
    first = connector.connect_volume(volume)
    path = volume['data']['device_path']
    directory, name = os.path.split(path)
    os.symlink(path, f'{path}.link')
    for spelling in (f'{directory}//{name}', f'{directory}/./{name}', f'{path}.link'):
        again = copy.deepcopy(volume)
        again['data']['device_path'] = spelling
        assert connector.connect_volume(again) == first
    assert len(novalink.mappings()) == 1


@pytest.mark.parametrize('repeat', [1, 2])
def test_detach_removes_the_mapping_and_may_be_repeated(connector, novalink, volume, repeat):
    info = connector.connect_volume(volume)
    for _ in range(repeat):
        assert connector.disconnect_volume(volume, info) is None
    assert novalink.mappings() == []


def test_detach_of_what_was_never_attached_is_success(connector, novalink, volume):
    connector.disconnect_volume(volume, None)
    assert novalink.requests.count('POST') == 0


@pytest.mark.parametrize('what', ['nothing', 'device_info', 'properties'])
def test_detach_needs_only_one_of_both(connector, novalink, volume, what):
    info = connector.connect_volume(volume)
    connector.disconnect_volume({} if what == 'properties' else volume,
                                None if what == 'device_info' else info)
    assert novalink.mappings() == []


def test_detach_when_the_file_is_gone(connector, novalink, volume):
    info = connector.connect_volume(volume)
    os.unlink(volume['data']['device_path'])
    connector.disconnect_volume(volume, info)
    assert novalink.mappings() == []


def test_detach_without_device_info_when_the_file_is_gone(connector, novalink, volume):
    connector.connect_volume(volume)
    os.unlink(volume['data']['device_path'])
    connector.disconnect_volume(volume, None)
    assert novalink.mappings() == []


def test_detach_after_an_online_snapshot_renamed_the_file(connector, novalink, volume):
    connector.connect_volume(volume)
    renamed = copy.deepcopy(volume)
    renamed['data'] |= {'format': 'qcow2',
                        'device_path': volume['data']['device_path'] + '.snapshot-1'}
    connector.disconnect_volume(renamed, None)
    assert novalink.mappings() == []


def test_detach_when_the_lpar_is_gone_removes_its_orphan(connector, novalink, volume):
    info = connector.connect_volume(volume)
    novalink.remove_lpar(novalink.lpars[0].uuid, leave_orphans=True)
    assert len(novalink.mappings()) == 1
    connector.disconnect_volume(volume, info)
    assert novalink.mappings() == []


def test_detach_leaves_other_volumes_alone(connector, novalink, volume, make_volume):
    other = connector.connect_volume({'path': make_volume('volume-2')})
    connector.disconnect_volume(volume, connector.connect_volume(volume))
    [left] = novalink.mappings()
    assert left.path == other['path']


def test_detach_again_leaves_a_file_alone_that_got_the_udid_meanwhile(
        connector, novalink, volume, make_volume):
    gone = connector.connect_volume(volume)
    connector.disconnect_volume(volume, gone)
    kept = connector.connect_volume({'path': make_volume('volume-2')})
    connector.disconnect_volume(volume, gone | {'udid': kept['udid']})
    assert [mapping.path for mapping in novalink.mappings()] == [kept['path']]


def test_detach_by_udid_where_no_path_is_known(connector, novalink, volume):
    info = connector.connect_volume(volume)
    connector.disconnect_volume({}, {'udid': info['udid']})
    assert novalink.mappings() == []


def test_extend_returns_the_new_size_and_novalink_sees_it(connector, novalink, volume):
    connector.connect_volume(volume)
    os.truncate(volume['data']['device_path'], 3 << 20)
    for _ in range(2):
        assert connector.extend_volume(volume) == 3 << 20
    [mapping] = novalink.mappings()
    assert float(mapping.capacity_gb) == pytest.approx(3 / 1024, abs=1e-6)


def test_extend_never_shrinks(connector, volume):
    connector.connect_volume(volume)
    os.truncate(volume['data']['device_path'], 1 << 19)
    with pytest.raises(exceptions.ExtendFailed, match='never shrunk'):
        connector.extend_volume(volume)


def test_extend_of_what_is_not_attached_says_so(connector, volume):
    with pytest.raises(exceptions.ExtendFailed, match='not mapped'):
        connector.extend_volume(volume)


def test_extend_of_another_file_than_the_one_that_is_tagged_changes_nothing(
        connector, novalink, volume, volume_id, make_volume):
    connector.connect_volume(volume)
    other = make_volume('volume-2', size=8 << 20)
    novalink.requests.clear()
    with pytest.raises(exceptions.ExtendFailed, match=r'volume-2 is not mapped.*volume-1'):
        connector.extend_volume({'path': other, 'volume_id': volume_id})
    assert novalink.requests.count('PUT') == 0


@pytest.mark.parametrize('known', [{}, {'volume_id': 'another'}])
def test_detach_of_what_is_known_by_its_file_name_alone_names_what_it_may_be(
        connector, novalink, make_volume, known):
    path = make_volume()
    connector.disconnect_volume({'name': 'volume-1', **known}, None)
    connector.connect_volume({'path': path})
    connector.disconnect_volume({'name': 'volume-2', **known}, None)
    with pytest.raises(exceptions.MappingFailed, match=path):
        connector.disconnect_volume({'name': 'volume-1', **known}, None)
    assert len(novalink.mappings()) == 1


@pytest.mark.parametrize('given', ['lpar1', '../VirtualIOServer', '', 5])
def test_an_lpar_that_is_none_is_an_error_of_every_call_that_needs_one(novalink, config, volume,
                                                                       given):
    connector = pfc.FileIOConnector('sudo', adapter=novalink.adapter(), conf=config,
                                    lpar_uuid=given)
    path = volume['data']['device_path']
    for call in (connector.connect_volume, connector.extend_volume,
                 lambda volume: connector.disconnect_volume(volume, None)):
        with pytest.raises(exceptions.InvalidConnectionProperties, match='lpar_uuid'):
            call(volume)
    assert connector.get_volume_paths(volume) == [path]
    assert connector.check_valid_device(path)
    assert connector.get_all_available_volumes(volume) == [path]
    connector.lpar_uuid = novalink.lpars[0].uuid
    info = connector.connect_volume(volume)
    connector.lpar_uuid = given
    connector.disconnect_volume(volume, info)
    assert novalink.mappings() == []


@pytest.mark.parametrize('given', ['id ', ' id', 'id\u00a0'])
@pytest.mark.parametrize('key', ['volume_id', 'serial'])
def test_a_volume_is_detached_by_an_id_with_blanks_around_it(connector, novalink, make_volume, key,
                                                             given):
    info = connector.connect_volume({'path': make_volume(), key: given})
    assert info['volume_id'] == 'id'
    assert connector.connect_volume({'path': make_volume()}) == info
    connector.disconnect_volume({key: given}, None)
    assert novalink.mappings() == []


def test_slot_and_lua_are_given_back_and_honoured(connector, novalink, volume):
    info = connector.connect_volume(volume | {'slot': 37, 'lua': 'lun5'})
    assert (info['slot'], info['lua']) == (37, 'lun5')
    connector.disconnect_volume(volume, info)
    again = connector.connect_volume(volume | {'slot': info['slot'], 'lua': info['lua']})
    assert again == info


def test_another_slot_for_an_attached_volume_is_refused(connector, novalink, volume):
    info = connector.connect_volume(volume)
    with pytest.raises(exceptions.SlotOrLUAConflict, match=str(info['slot'])):
        connector.connect_volume(volume | {'slot': info['slot'] + 1})
    assert len(novalink.mappings()) == 1


def test_a_taken_lua_is_refused(connector, novalink, volume, make_volume):
    info = connector.connect_volume(volume)
    with pytest.raises(exceptions.SlotOrLUAConflict, match=info['lua']):
        connector.connect_volume({'path': make_volume('volume-2'), 'slot': info['slot'],
                                  'lua': info['lua']})
    assert len(novalink.mappings()) == 1


def test_buses_are_filled_one_after_the_other(novalink, config, make_volume):
    config.set_override('max_mappings_per_bus', 2, group=conf.GROUP)
    connector = pfc.FileIOConnector('sudo', adapter=novalink.adapter(), conf=config,
                                    lpar_uuid=novalink.lpars[0].uuid)
    slots = [connector.connect_volume({'path': make_volume(f'volume-{i}')})['slot']
             for i in range(4)]
    assert slots[0] == slots[1] != slots[2] == slots[3]


def test_a_file_of_another_lpar_is_refused_unless_multiattach(connector, novalink, volume):
    connector.connect_volume(volume)
    other = novalink.lpars[1]
    with pytest.raises(exceptions.VolumeInUse, match=f'LPAR with id {novalink.lpars[0].id}'):
        connector.connect_volume(volume | {'lpar_uuid': other.uuid})
    info = connector.connect_volume(volume | {'lpar_uuid': other.uuid, 'multiattach': True})
    assert info['lpar_uuid'] == other.uuid
    assert {mapping.lpar_uuid for mapping in novalink.mappings()} == {
        lpar.uuid for lpar in novalink.lpars}
    connector.disconnect_volume(volume, info)
    [left] = novalink.mappings()
    assert left.lpar_uuid == novalink.lpars[0].uuid


def test_an_orphan_of_the_file_is_removed_by_the_next_attach(connector, novalink, volume):
    connector.connect_volume(volume)
    novalink.remove_lpar(novalink.lpars[0].uuid, leave_orphans=True)
    lpar = novalink.lpars[-1]
    novalink.requests.clear()
    connector.connect_volume(volume | {'lpar_uuid': lpar.uuid})
    [mapping] = novalink.mappings()
    assert mapping.lpar_uuid == lpar.uuid
    assert novalink.requests.count('POST') == 1


def test_the_backstore_asked_for_is_used(connector, novalink, volume):
    info = connector.connect_volume(volume | {'backstore': 'fileio'})
    assert info['backstore'] == novalink.mappings()[0].backstore == 'fileio'


def test_paths_and_devices_are_found_without_side_effects(connector, novalink, volume, share):
    path = volume['data']['device_path']
    assert connector.get_volume_paths(volume) == [path]
    assert connector.check_valid_device(path)
    assert not connector.check_valid_device(f'{path}.gone')
    assert not connector.check_valid_device('/etc/passwd')
    assert connector.get_all_available_volumes(volume) == [path]
    os.unlink(path)
    assert connector.get_volume_paths(volume) == []
    assert novalink.requests.count('GET') == 0
    assert connector.get_search_path() == '/var/lib/nova/mnt'


@pytest.mark.parametrize('change', ['unlink', 'empty', 'directory', 'symlink'])
def test_detach_by_a_symlinked_path_whose_file_is_gone(connector, novalink, share, make_volume,
                                                       change):
    path = make_volume('deep/volume-1')
    (share / 'link').symlink_to(share / 'deep')
    volume = {'path': f'{share}/link/volume-1'}
    connector.connect_volume(volume)
    if change == 'empty':
        os.truncate(path, 0)
    else:
        os.unlink(path)
    if change == 'directory':
        os.mkdir(path)
    elif change == 'symlink':
        os.symlink('/etc/hostname', path)
    connector.disconnect_volume(volume, None)
    assert novalink.mappings() == []


def test_detach_by_a_symlink_that_leads_nowhere_any_more(connector, novalink, share, make_volume):
    path = make_volume()
    (share / 'link').symlink_to('volume-1')
    connector.connect_volume({'path': f'{share}/link'})
    os.unlink(path)
    connector.disconnect_volume({'path': f'{share}/link'}, None)
    assert novalink.mappings() == []


def map_by_hand(novalink, path, lpar):
    """Map a file as other tools do, which take any spelling."""
    adapter = novalink.adapter()
    scsi_mapper.add_vscsi_mapping(None, novalink.vios_uuid, lpar.uuid,
                                  storage.FileIO.bld_ref(adapter, path))


@pytest.mark.parametrize('with_info', [True, False])
def test_detach_takes_every_spelling_off(connector, novalink, volume, share, with_info):
    info = connector.connect_volume(volume)
    path = volume['data']['device_path']
    map_by_hand(novalink, f'{share}/./volume-1', novalink.lpars[0])
    assert len(novalink.mappings()) == 2
    connector.disconnect_volume(volume, info if with_info else None)
    assert novalink.mappings() == [], path


def test_a_file_that_another_lpar_has_under_the_spelling_given_is_refused(connector, novalink,
                                                                          share, make_volume):
    make_volume('deep/volume-1')
    (share / 'link').symlink_to(share / 'deep')
    map_by_hand(novalink, f'{share}/link/volume-1', novalink.lpars[1])
    with pytest.raises(exceptions.VolumeInUse, match=f'LPAR with id {novalink.lpars[1].id}'):
        connector.connect_volume({'path': f'{share}/link/volume-1'})


def test_a_bus_without_link_gives_the_next_mapping_one(connector, novalink, make_volume):
    connector.connect_volume({'path': make_volume('volume-1')})
    novalink.faults.add(WithoutLinks(times=None))
    connector.connect_volume({'path': make_volume('volume-2')})
    assert [mapping.lpar_uuid for mapping in novalink.mappings()] == [novalink.lpars[0].uuid] * 2


@dataclasses.dataclass(frozen=True)
class WithoutLinks(Fault):
    """A server that does not say to which LPAR a mapping leads."""

    def on_answer(self, exchange, answer):
        return dataclasses.replace(
            answer, body=re.sub(rb'<AssociatedLogicalPartition [^>]*>', b'', answer.body))


@dataclasses.dataclass(frozen=True)
class SwapFile(Fault):
    """Somebody swaps the file for a symlink while NovaLink is at it."""

    victim: str = ''

    def on_request(self, exchange):
        os.unlink(self.victim)
        os.symlink('/etc/hostname', self.victim)


@pytest.mark.parametrize('method', ['GET', 'POST'])
def test_a_file_that_is_swapped_meanwhile_is_taken_off_again(connector, novalink, volume, method):
    novalink.faults.add(SwapFile(victim=volume['data']['device_path'], method=method))
    with pytest.raises(exceptions.UnsafeVolumePath):
        connector.connect_volume(volume)
    assert novalink.mappings() == []


@dataclasses.dataclass(frozen=True)
class OneChange(Fault):
    """A server that refuses all changes after the first."""

    sent: list = dataclasses.field(default_factory=list)

    def on_request(self, exchange):
        self.sent.append(exchange.request)
        return exchange.error(400, 'Invalid input.', 'Not now.') if len(self.sent) > 1 else None


def test_a_mapping_that_cannot_be_taken_off_again_is_said_to_remain(connector, novalink, volume):
    path = volume['data']['device_path']
    novalink.faults.add(SwapFile(victim=path, method='POST'))
    novalink.faults.add(OneChange(method='POST', times=None))
    with pytest.raises(exceptions.UnsafeVolumePath) as caught:
        connector.connect_volume(volume)
    assert f'{path} remains mapped' in str(caught.value)
    assert 'Not now' in str(caught.value)
    assert 'nothing was changed' not in str(caught.value)
    assert len(novalink.mappings()) == 1


def test_a_swapped_file_is_taken_off_where_mappings_have_no_link(connector, novalink, volume):
    novalink.faults.add(WithoutLinks(times=None))
    novalink.faults.add(SwapFile(victim=volume['data']['device_path'], method='POST'))
    with pytest.raises(exceptions.UnsafeVolumePath):
        connector.connect_volume(volume)
    assert novalink.mappings() == []


def test_a_file_that_is_swapped_later_stays_attached(connector, novalink, volume):
    info = connector.connect_volume(volume)
    path = volume['data']['device_path']
    os.rename(path, f'{path}.old')
    with open(path, 'wb') as other:
        other.truncate(1 << 20)
    assert connector.connect_volume(volume) == info
    assert len(novalink.mappings()) == 1


def test_files_of_one_name_are_attached_together(connector, novalink, make_volume):
    connector.connect_volume({'path': make_volume('warm')})
    novalink.faults.add(Latency(post_s=1.0))
    novalink.requests.clear()
    paths = [make_volume(f'{i}/volume') for i in range(16)]
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda path: connector.connect_volume({'path': path}), paths))
    assert len(novalink.mappings()) == 17
    assert novalink.requests.count('POST') <= 3


@pytest.mark.parametrize('body', [
    b'<feed xmlns="http://www.w3.org/2005/Atom"/>', b'<entry xmlns="http://www.w3.org/2005/Atom"/>'])
@pytest.mark.parametrize('method', ['GET', 'POST'])
def test_an_answer_of_another_kind_is_our_error(connector, novalink, config, volume, method, body):
    config.set_override('rest_timeout_s', 2.0, group=conf.GROUP)
    connector = pfc.FileIOConnector('sudo', adapter=novalink.adapter(), conf=config,
                                    lpar_uuid=novalink.lpars[0].uuid)
    novalink.faults.add(Answering(times=None, method=method, path=novalink.vios_uuid, body=body))
    try:
        connector.connect_volume(volume)
    except exceptions.NovaLinkUnavailable:
        return
    assert method == 'POST'
    assert len(novalink.mappings()) == 1


@dataclasses.dataclass(frozen=True)
class Answering(Fault):
    """A server that answers with something else than was asked for."""

    body: bytes = b''

    def on_answer(self, exchange, answer):
        return dataclasses.replace(answer, body=self.body)
