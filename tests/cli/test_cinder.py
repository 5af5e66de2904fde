# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio cinder attach``, ``detach`` and ``extend`` with a stand-in of Cinder."""

import concurrent.futures
import fcntl
import os
import time
import uuid

import pytest

from tests import cinder_api

HOST = 'neo-1'
INSTANCE = str(uuid.uuid4())


@pytest.fixture
def cinder(operate, cloud, tmp_path):
    """Run a command of the group, as host neo-1, with the credentials of the cloud."""
    def cinder(name, *args, environment=None, host=HOST, **kwargs):
        return operate('cinder', name, *args, '--host', host, environment={
            **cloud.environment(), 'XDG_STATE_HOME': str(tmp_path / host), 'HOME': str(tmp_path),
            **(environment or {})}, **kwargs)
    return cinder


@pytest.fixture
def volume(cloud, make_volume):
    """A volume of a GPFS driver; its file can be grown."""
    path = make_volume('volume-a')
    return cloud.add_volume('data', {'driver_volume_type': 'gpfs', 'name': 'volume-a',
                                     'device_path': path},
                            _grow=lambda size: os.truncate(path, size << 30))


def test_attach_tells_cinder_and_tags_the_mapping(cinder, cloud, volume, novalink):
    outcome = cinder('attach', volume['id'], '--lpar', 'lpar1', '-f', 'json')
    assert outcome.code == 0, outcome
    [mapping] = novalink.mappings()
    assert outcome.json['path'] == mapping.path == volume['_info']['device_path']
    assert outcome.json['volume_id'] == mapping.tag == volume['id']
    [attachment] = cloud.attachments.values()
    assert (attachment['status'], attachment['_host'], volume['status']) == (
        'attached', HOST, 'in-use')
    assert novalink.lpars[0].uuid in attachment['_device']


def test_the_slot_and_the_lua_that_were_asked_for_are_given_or_refused(cinder, cloud, volume,
                                                                       make_volume, novalink):
    arguments = ('--lpar', 'lpar1', '--slot', 9, '--lua', 'lun4')
    outcome = cinder('attach', 'data', *arguments, '-f', 'json')
    assert (outcome.code, outcome.json['slot'], outcome.json['lua']) == (0, 9, 'lun4'), outcome
    [mapping] = novalink.mappings()
    assert (mapping.slot, mapping.lua) == (9, 'lun4')
    other = cloud.add_volume('other', {**volume['_info'], 'device_path': make_volume('volume-b'),
                                       'name': 'volume-b'})
    assert cinder('attach', 'other', *arguments).code == 8
    assert (other['status'], len(cloud.attachments), novalink.mappings()) == (
        'available', 1, [mapping])


@pytest.mark.parametrize('is_admin', [True, False], ids=['administrator', 'member'])
def test_attach_twice_keeps_one_attachment_and_one_mapping(cinder, cloud, volume, novalink,
                                                           is_admin):
    cloud.is_admin = is_admin
    first = cinder('attach', 'data', '--lpar', 'lpar1', '-f', 'json')
    changes = cloud.changes()
    again = cinder('attach', volume['id'], '--lpar', 'lpar1', '-f', 'json')
    assert (first.code, again.code, again.json) == (0, 0, first.json)
    assert (len(cloud.attachments), len(novalink.mappings())) == (1, 1)
    assert cloud.changes() == changes


@pytest.mark.parametrize('is_admin', [True, False], ids=['administrator', 'member'])
def test_a_second_lpar_and_a_second_host_are_refused(cinder, cloud, volume, novalink, is_admin):
    cloud.is_admin = is_admin
    cinder('attach', 'data', '--lpar', 'lpar1')
    changes = cloud.changes()
    for arguments in ({'host': HOST}, {'host': 'neo-2'}):
        outcome = cinder('attach', 'data', '--lpar', 'lpar2', **arguments)
        assert outcome.code == 8, outcome
        assert novalink.lpars[0].uuid in outcome.err
    assert cloud.changes() == changes
    assert len(novalink.mappings()) == 1


def test_detach_leaves_nothing_and_may_be_repeated(cinder, cloud, volume, novalink):
    cinder('attach', 'data', '--lpar', 'lpar1')
    outcome = cinder('detach', 'data')
    assert outcome.code == 0, outcome
    assert '| detached ' in outcome.out
    assert 'lpar1' in outcome.out
    assert (cloud.attachments, novalink.mappings(), volume['status']) == ({}, [], 'available')
    outcome = cinder('detach', 'data')
    assert (outcome.code, 'was not attached' in outcome.out) == (0, True)


def test_an_attachment_of_this_host_that_names_no_lpar_is_detached(cinder, cloud, volume):
    cloud.attach(volume, HOST)
    outcome = cinder('detach', 'data', '-f', 'json')
    assert (outcome.code, outcome.json['result'], outcome.json['lpar']) == (0, 'detached', None)
    assert cloud.attachments == {}


def test_what_attach_prints_is_enough_to_detach_the_disk(cinder, operate, volume, novalink,
                                                         write_json):
    info = cinder('attach', 'data', '--lpar', 'lpar1', '-f', 'json').json
    assert operate('detach', '--device-info', write_json(info)).code == 0
    assert novalink.mappings() == []


@pytest.mark.parametrize('is_applied', [False, True], ids=['before', 'after'])
@pytest.mark.parametrize(('method', 'path'), [
    ('POST', 'attachments$'), ('PUT', 'attachments/'), ('POST', 'action$')],
    ids=['reserve', 'connect', 'complete'])
def test_a_failing_step_is_taken_back(cinder, cloud, volume, novalink, tmp_path, method, path,
                                      is_applied):
    cloud.faults.append(cinder_api.Fault(method, path, is_applied=is_applied, times=1))
    outcome = cinder('attach', 'data', '--lpar', 'lpar1')
    assert outcome.code == 14, outcome
    assert outcome.err.count('Cannot ') == 1, outcome.err
    assert (cloud.attachments, novalink.mappings(), volume['status']) == ({}, [], 'available')
    assert not list(tmp_path.rglob('*.json'))
    assert cinder('attach', 'data', '--lpar', 'lpar1').code == 0


def test_a_file_that_may_not_be_attached_leaves_the_volume_available(cinder, cloud, volume,
                                                                     novalink):
    os.truncate(volume['_info']['device_path'], 100)
    outcome = cinder('attach', 'data', '--lpar', 'lpar1')
    assert outcome.code == 5, outcome
    assert (cloud.attachments, novalink.mappings(), volume['status']) == ({}, [], 'available')


def test_a_disk_that_was_there_before_stays_when_attaching_fails(cinder, cloud, volume, novalink,
                                                                 add_mapping):
    add_mapping(volume['_info']['device_path'])
    cloud.faults.append(cinder_api.Fault('POST', 'action$', times=1))
    assert cinder('attach', 'data', '--lpar', 'lpar1').code == 14
    assert (cloud.attachments, len(novalink.mappings())) == ({}, 1)


def test_what_cannot_be_taken_back_is_said_and_gone_on_with(cinder, cloud, volume, novalink):
    cloud.faults += [cinder_api.Fault('POST', 'action$', times=1),
                     cinder_api.Fault('DELETE', 'attachments/', times=1)]
    outcome = cinder('attach', 'data', '--lpar', 'lpar1')
    assert outcome.code == 14
    assert 'remains' in outcome.err
    assert cinder('attach', 'data', '--lpar', 'lpar1').code == 0
    assert [one['status'] for one in cloud.attachments.values()] == ['attached']
    assert len(novalink.mappings()) == 1


def test_an_unfinished_attachment_of_another_host_is_left_alone(cinder, cloud, volume):
    other = cloud.attach(volume, 'neo-2', status='attaching')
    outcome = cinder('attach', 'data', '--lpar', 'lpar1')
    assert outcome.code == 8
    assert other['id'] in outcome.err
    assert cloud.changes() == []


def test_a_crash_before_the_id_was_noted_leaves_no_second_attachment(cinder, cloud, volume,
                                                                     novalink):
    """The answer to the reservation is lost, and nothing can be taken back."""
    cloud.faults += [cinder_api.Fault('POST', 'attachments$', is_applied=True, times=1),
                     cinder_api.Fault('GET', 'attachments/detail', times=2)]
    cloud.faults[1].times = 0
    cloud.faults.append(cinder_api.Fault('DELETE', 'attachments/', times=1))
    assert cinder('attach', 'data', '--lpar', 'lpar1').code == 14
    assert [one['status'] for one in cloud.attachments.values()] == ['reserved']
    outcome = cinder('attach', 'data', '--lpar', 'lpar1')
    assert outcome.code == 0, outcome
    assert [one['status'] for one in cloud.attachments.values()] == ['attached']


def test_detach_ends_what_was_begun(cinder, cloud, volume, novalink):
    cloud.faults += [cinder_api.Fault('POST', 'action$', times=1),
                     cinder_api.Fault('DELETE', 'attachments/', times=1)]
    cinder('attach', 'data', '--lpar', 'lpar1')
    outcome = cinder('detach', 'data')
    assert outcome.code == 0, outcome
    assert (cloud.attachments, novalink.mappings()) == ({}, [])


def test_detach_keeps_the_attachment_while_the_disk_remains(cinder, cloud, volume, novalink):
    cinder('attach', 'data', '--lpar', 'lpar1')
    changes = cloud.changes()
    outcome = cinder('detach', 'data', '--config-file', os.devnull, '--lpar', 'nobody')
    assert outcome.code == 7, outcome
    assert (cloud.changes(), len(novalink.mappings())) == (changes, 1)


def test_novas_attachment_is_refused_both_ways(cinder, cloud, volume, novalink):
    cloud.attach(volume, HOST, '/dev/sdb', INSTANCE)
    for arguments in (('attach', 'data', '--lpar', 'lpar1'), ('detach', 'data')):
        outcome = cinder(*arguments)
        assert outcome.code == 8, outcome
        _is_one_sentence(outcome, INSTANCE)
        assert 'openstack server remove volume' in outcome.err
    assert (cloud.changes(), novalink.mappings()) == ([], [])


def test_extend_grows_the_volume_and_shows_the_new_size(cinder, volume, novalink):
    cinder('attach', 'data', '--lpar', 'lpar1')
    outcome = cinder('extend', 'data', '--size', 2, '-f', 'json')
    assert outcome.code == 0, outcome
    assert outcome.json == {
        'volume': volume['id'], 'lpar': 'lpar1', 'lpar_uuid': novalink.lpars[0].uuid,
        'result': '1 MiB -> 2 GiB', 'size_bytes': 2 << 30}
    assert float(novalink.mappings()[0].capacity_gb) == 2
    again = cinder('extend', 'data', '--size', 2, '-f', 'json')
    assert (again.code, again.json['result']) == (0, 'already 2 GiB')
    assert cinder('extend', 'data', '--size', 1).code == 2


def test_extend_goes_by_what_the_command_that_it_waited_for_has_done(
        cinder, cloud, volume, tmp_path):
    cinder('attach', 'data', '--lpar', 'lpar1')
    changes, notes = cloud.changes(), tmp_path / HOST / 'powervm-fileio' / 'cinder'
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with open(notes / f'{volume["id"]}.json', 'w') as note:
            fcntl.flock(note, fcntl.LOCK_EX)
            extending = pool.submit(cinder, 'extend', 'data', '--size', 2)
            while not is_waited_for(note):
                assert not extending.done(), extending.result()
                time.sleep(0.01)
            volume['size'] = 2
            volume['_grow'](2)
            os.unlink(note.name)
        outcome = extending.result()
    assert (outcome.code, cloud.changes()) == (0, changes), outcome


def is_waited_for(file):
    """Whether a process waits for the lock of a file."""
    inode = os.fstat(file.fileno()).st_ino
    with open('/proc/locks') as locks:
        return any('->' in line and f':{inode} ' in line for line in locks)


@pytest.mark.parametrize('capabilities', [
    {'online_extend_support': False},
    {'vendor_name': 'Open Source', 'storage_protocol': 'NFS'}], ids=['reported', 'generic NFS'])
def test_extend_is_refused_before_cinder_is_asked(cinder, cloud, volume, capabilities):
    cloud.capabilities = capabilities
    cinder('attach', 'data', '--lpar', 'lpar1')
    changes = cloud.changes()
    outcome = cinder('extend', 'data', '--size', 2)
    assert outcome.code == 9, outcome
    assert 'Nothing was changed' in outcome.err
    assert cloud.changes() == changes


def test_extend_that_cinder_fails_says_the_state_and_the_way_out(cinder, cloud, volume):
    cloud.is_admin = False
    del volume['_grow']
    cinder('attach', 'data', '--lpar', 'lpar1')
    outcome = cinder('extend', 'data', '--size', 2)
    assert outcome.code == 9, outcome
    assert 'error_extending' in outcome.err
    assert '--state in-use' in outcome.err


def test_extend_of_what_is_not_attached_is_said(cinder, volume):
    assert cinder('extend', 'data', '--size', 2).code == 13


ARGUMENTS = {'attach': ('data', '--lpar', 'lpar1'), 'detach': ('data',),
             'extend': ('data', '--size', 2), 'audit': ()}
BAD_INPUT = {
    'no cloud': (2, 'clouds.yaml', {'OS_AUTH_URL': ''}),
    'unknown cloud': (2, 'nowhere', {'OS_CLOUD': 'nowhere'}),
    'no password': (2, 'password', {'OS_PASSWORD': ''}),
    'wrong password': (14, 'refuses the credentials', {'OS_PASSWORD': 'guess-of-mine'}),
    'nothing listens': (14, 'cannot be reached', {'OS_AUTH_URL': 'http://127.0.0.1:1/v3'}),
}


@pytest.mark.parametrize('name', ARGUMENTS)
@pytest.mark.parametrize('case', BAD_INPUT)
def test_a_cloud_that_cannot_be_used_is_told_in_one_sentence(cinder, cloud, novalink, volume,
                                                             case, name):
    code, said, environment = BAD_INPUT[case]
    outcome = cinder(name, *ARGUMENTS[name], environment=environment)
    assert outcome.code == code, outcome
    _is_one_sentence(outcome, said)
    assert (cloud.changes(), novalink.mappings()) == ([], [])


@pytest.mark.parametrize('name', ARGUMENTS)
def test_a_catalog_without_cinder_is_told(cinder, cloud, novalink, volume, name):
    cloud.has_cinder = False
    outcome = cinder(name, *ARGUMENTS[name])
    assert outcome.code == 14, outcome
    _is_one_sentence(outcome, 'catalog')
    assert (cloud.changes(), novalink.mappings()) == ([], [])


@pytest.mark.parametrize(('fields', 'code', 'said'), [
    ({'name': 'other'}, 3, 'no volume data'),
    ({'status': 'error'}, 3, 'is error in Cinder'),
    ({'status': 'error_extending'}, 3, 'is error_extending in Cinder'),
    ({'os-vol-tenant-attr:tenant_id': 'f' * 32}, 3, 'volume'),
    ({'status': 'maintenance'}, 9, 'maintenance'),
    ({'_info': {'driver_volume_type': 'iscsi', 'target_lun': 1}}, 3, 'iscsi'),
    ({'_info': {'driver_volume_type': 'gpfs', 'name': 'x', 'device_path': '/dev/shm/none'}}, 5,
     '/dev/shm/none')])
@pytest.mark.parametrize('is_admin', [True, False], ids=['administrator', 'member'])
def test_a_volume_that_cannot_be_attached_is_told_and_left_as_it_was(
        cinder, cloud, novalink, volume, fields, code, said, is_admin):
    cloud.is_admin = is_admin
    volume.update(fields)
    before = volume['status']
    outcome = cinder('attach', 'data', '--lpar', 'lpar1')
    assert outcome.code == code, outcome
    _is_one_sentence(outcome, said)
    assert (cloud.attachments, novalink.mappings(), volume['status']) == ({}, [], before)


ON_A_VOLUME = pytest.mark.parametrize('name', ['attach', 'detach', 'extend'])


@ON_A_VOLUME
@pytest.mark.parametrize('unknown', ['nothing', '7c1e0b1e-2a34-4a57-9d7c-51ce44f0f5a1'])
def test_a_volume_that_does_not_exist_is_told(cinder, cloud, novalink, volume, name, unknown):
    outcome = cinder(name, unknown, *ARGUMENTS[name][1:])
    assert (outcome.code, cloud.changes(), novalink.mappings()) == (3, [], []), outcome
    _is_one_sentence(outcome, unknown)


@ON_A_VOLUME
def test_an_id_of_another_project_is_told(cinder, cloud, novalink, volume, name):
    volume['os-vol-tenant-attr:tenant_id'] = 'f' * 32
    outcome = cinder(name, volume['id'], *ARGUMENTS[name][1:])
    assert (outcome.code, cloud.changes(), novalink.mappings()) == (3, [], []), outcome
    _is_one_sentence(outcome, 'f' * 32)


@ON_A_VOLUME
def test_two_volumes_of_one_name_are_told_with_their_ids(cinder, cloud, novalink, volume, name):
    other = cloud.add_volume('data', volume['_info'])
    outcome = cinder(name, *ARGUMENTS[name])
    assert (outcome.code, cloud.changes(), novalink.mappings()) == (2, [], []), outcome
    _is_one_sentence(outcome, volume['id'])
    assert other['id'] in outcome.err


def test_an_unknown_lpar_is_told_before_cinder_is_changed(cinder, cloud, volume):
    outcome = cinder('attach', 'data', '--lpar', 'nobody')
    assert (outcome.code, cloud.changes()) == (7, []), outcome


def test_a_cloud_that_does_not_answer_ends_by_the_timeout(cinder, cloud, volume):
    cloud.faults.append(cinder_api.Fault('GET', 'volumes/detail', hang_s=30))
    outcome = cinder('attach', 'data', '--lpar', 'lpar1', '--timeout', 3, timeout=25)
    assert outcome.code == 14, outcome
    _is_one_sentence(outcome, 'within 3 s')


def test_secrets_are_in_no_output(cinder, cloud, volume):
    volume['_info'] = {'driver_volume_type': 'vzstorage', 'export': 'mds:/one:canary-of-the-share',
                       'name': 'volume-a', 'format': 'raw'}
    for arguments in ((), ('--debug',), ('-v', '-v')):
        outcome = cinder('attach', 'data', '--lpar', 'lpar1', *arguments)
        assert outcome.code == 4, outcome
        for secret in ('canary', cinder_api.TOKEN):
            assert secret not in outcome.out + outcome.err


def _is_one_sentence(outcome, said):
    assert said in outcome.err, outcome.err
    assert outcome.err.count('\n') == 1, outcome.err
    assert outcome.out == ''
    assert 'Traceback' not in outcome.err
    assert cinder_api.PASSWORD not in outcome.err
