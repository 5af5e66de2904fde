# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio attach``, ``detach`` and ``extend``: one volume."""

import dataclasses
import json
import os
import uuid

import pytest

from tests.cli.conftest import Held
from tests.cli.conftest import posts

VOLUME_ID = '7c1e0b1e-2a34-4a57-9d7c-51ce44f0f5a1'


def test_what_attach_prints_is_all_that_detach_needs(as_json, operate, novalink, connection_info,
                                                     write_json):
    volume = write_json(connection_info(volume_id=VOLUME_ID))
    info = as_json('attach', volume, '--lpar', 'lpar1')
    [mapping] = novalink.mappings()
    assert info['path'] == mapping.path
    assert (info['slot'], info['lua'], info['udid']) == (mapping.slot, mapping.lua, mapping.udid)
    assert info['volume_id'] == mapping.tag == VOLUME_ID
    outcome = operate('detach', '--device-info', write_json(info, 'device_info.json'))
    assert (outcome.code, outcome.err) == (0, '')
    assert '| result    | detached ' in outcome.out
    assert novalink.mappings() == []


def test_attach_makes_the_mapping_that_other_tests_add(operate, novalink, make_volume, add_mapping):
    path = add_mapping(make_volume(), tag=VOLUME_ID)
    [added] = novalink.mappings()
    assert operate('detach', path).code == 0
    assert operate('attach', path, '--lpar', 'lpar1', '--volume-id', VOLUME_ID).code == 0
    [made] = novalink.mappings()
    assert dataclasses.replace(made, id=added.id, target_name=added.target_name) == added


@pytest.mark.parametrize('empty', [None, ''])
def test_an_lpar_beside_data_that_names_none_counts(as_json, novalink, make_volume, write_json,
                                                    empty):
    lpar = novalink.lpars[1]
    for named in ({'lpar': lpar.name}, {'lpar_uuid': lpar.uuid}):
        data = {'path': make_volume(), **dict.fromkeys(named, empty)}
        volume = write_json({'driver_volume_type': 'file', 'data': data, **named})
        assert as_json('attach', volume)['lpar_uuid'] == lpar.uuid
        as_json('detach', volume)


def test_attach_twice_prints_the_same_and_sends_nothing(as_json, novalink, make_volume):
    path = make_volume()
    first = as_json('attach', path, '--lpar', 'lpar1')
    sent = posts(novalink)
    assert as_json('attach', path, '--lpar', 'lpar1') == first
    assert posts(novalink) == sent


@pytest.mark.parametrize('name_of', [
    lambda lpar: lpar.name, lambda lpar: lpar.id, lambda lpar: lpar.uuid,
    lambda lpar: lpar.uuid.lower()], ids=['name', 'id', 'UUID', 'lower case'])
def test_an_lpar_is_known_by_name_id_or_uuid(as_json, novalink, make_volume, name_of):
    lpar = novalink.lpars[1]
    as_json('attach', make_volume(), '--lpar', name_of(lpar))
    assert [mapping.lpar_uuid for mapping in novalink.mappings()] == [lpar.uuid]


def test_an_ambiguous_lpar_is_refused_with_its_bearers(operate, novalink, make_volume):
    twins = [novalink.add_lpar(name='twin') for _ in range(2)]
    outcome = operate('attach', make_volume(), '--lpar', 'twin')
    assert outcome.code == 2
    assert all(twin.uuid in outcome.err for twin in twins)
    assert posts(novalink) == 0


def test_connection_info_is_read_from_stdin(operate, novalink, connection_info):
    outcome = operate('attach', '-', '--lpar', 'lpar1', stdin=json.dumps(connection_info()))
    assert outcome.code == 0, outcome.err
    assert len(novalink.mappings()) == 1


def test_slot_and_lua_are_honoured(as_json, make_volume):
    info = as_json('attach', make_volume(), '--lpar', 'lpar1', '--slot', 9, '--lua', 'lun4')
    assert (info['slot'], info['lua']) == (9, 'lun4')


def test_a_taken_lua_is_a_conflict(operate, make_volume, add_mapping):
    add_mapping(make_volume('a'), slot=9, lua='lun4')
    outcome = operate('attach', make_volume('b'), '--lpar', 'lpar1', '--slot', 9, '--lua', 'lun4')
    assert outcome.code == 8
    assert outcome.out == ''
    assert 'lun4 in slot 9' in outcome.err
    assert 'Traceback' not in outcome.err


def test_options_say_what_the_json_does_not(as_json, novalink, make_volume):
    as_json('attach', make_volume(), '--lpar', 'lpar1', '--backstore', 'fileio', '--volume-id',
            VOLUME_ID)
    [mapping] = novalink.mappings()
    assert (mapping.backstore, mapping.tag) == ('fileio', VOLUME_ID)


def test_a_volume_of_another_lpar_is_refused_unless_multiattach(operate, novalink, make_volume,
                                                                add_mapping):
    path = make_volume()
    add_mapping(path)
    outcome = operate('attach', path, '--lpar', 'lpar2')
    assert outcome.code == 8
    first, second = (f'LPAR {lpar.name} ({lpar.uuid})' for lpar in novalink.lpars)
    assert f'to {second}: {path} is mapped to {first}.' in outcome.err
    assert operate('attach', path, '--lpar', 'lpar2', '--multiattach').code == 0
    assert len(novalink.mappings()) == 2


@pytest.mark.parametrize(('arguments', 'code', 'words'), [
    (['/dev/shm/no-such-volume', '--lpar', 'lpar1'], 5, 'does not exist'),
    (['/etc/passwd', '--lpar', 'lpar1'], 5, 'root file system'),
    (['/dev/shm/no-such-volume', '--lpar', 'web01'], 7, 'has the name or id web01'),
    (['/dev/shm/no-such-volume'], 2, 'Which LPAR?'),
    ([], 2, 'Which volume?'),
    (['volume-1', '--lpar', 'lpar1'], 2, 'neither a .json file, nor the path of a file'),
    ([VOLUME_ID, '--lpar', 'lpar1'], 2, 'does not tell where the file is'),
    (['no-such.json', '--lpar', 'lpar1'], 2, 'no-such.json cannot be read: No such file'),
    (['--export', 'nas1:/vols', '--lpar', 'lpar1'], 2, 'belong together'),
    (['/x', '--export', 'nas1:/vols', '--name', 'v', '--lpar', 'lpar1'], 2, 'given twice'),
    (['--export', 'nas1:/vols', '--name', 'v', '--lpar', 'lpar1'], 4,
     'nas1:/vols is not in the mount table'),
    (['--export', 'nas1:/vols', '--name', '../v', '--lpar', 'lpar1'], 5, 'plain path component'),
    (['/dev/shm/x', '--volume-format', 'qcow2', '--backstore', 'loop', '--lpar', 'lpar1'], 3,
     "'loop' cannot serve a qcow2 file"),
])
def test_a_refusal_says_why_and_changes_nothing(operate, novalink, arguments, code, words):
    outcome = operate('attach', *arguments)
    assert (outcome.code, outcome.out) == (code, ''), outcome
    assert words in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert posts(novalink) == 0


@pytest.mark.parametrize(('content', 'words'), [
    ('{', 'stdin is not JSON'), ('[]', 'empty list'), ('3', 'no connection_info but 3'),
    ('[{}, "x"]', 'entry 2 of stdin'), ('[' * 200_000, 'stdin is not JSON'),
])
def test_json_that_is_no_volume_is_a_usage_error(operate, content, words):
    outcome = operate('attach', '-', '--lpar', 'lpar1', stdin=content)
    assert outcome.code == 2
    assert words in outcome.err


def test_an_error_names_an_lpar_whose_name_has_a_backslash(operate, novalink, make_volume):
    lpar = novalink.add_lpar(r'web\1', rmc_state='inactive')
    outcome = operate('attach', make_volume(), '--lpar', lpar.name)
    assert outcome.code == 7
    assert rf'to LPAR web\1 ({lpar.uuid})' in outcome.err


def test_an_lpar_that_contradicts_the_json_is_refused(operate, novalink, connection_info,
                                                      write_json):
    volume = write_json(connection_info(lpar_uuid=novalink.lpars[0].uuid))
    outcome = operate('attach', volume, '--lpar', 'lpar2')
    assert outcome.code == 2
    assert 'Leave one of them out' in outcome.err
    assert operate('attach', volume, '--lpar', 'lpar1').code == 0


def test_dry_run_of_attach_shows_the_edit_and_sends_nothing(as_json, novalink, make_volume):
    path = make_volume()
    [row] = as_json('attach', path, '--lpar', 'lpar1', '--dry-run', '--volume-id', VOLUME_ID)
    lpar = novalink.lpars[0]
    assert row == {'volume': VOLUME_ID, 'edit': 'add', 'lpar': lpar.name, 'lpar_uuid': lpar.uuid,
                   'slot': None, 'lua': None, 'path': path, 'backstore': 'loop', 'tag': VOLUME_ID,
                   'error_type': None, 'error': None}
    assert (posts(novalink), novalink.mappings()) == (0, [])


def test_dry_run_of_attach_shows_the_orphan_that_would_go(as_json, novalink, make_volume,
                                                          add_mapping):
    path = make_volume()
    add_mapping(path)
    novalink.remove_lpar(novalink.lpars[0].uuid)
    rows = as_json('attach', path, '--lpar', 'lpar2', '--dry-run')
    assert [row['edit'] for row in rows] == ['remove', 'add']


def test_dry_run_says_that_nothing_is_to_be_done(as_json, make_volume, add_mapping):
    path = make_volume()
    add_mapping(path)
    [row] = as_json('attach', path, '--lpar', 'lpar1', '--dry-run')
    assert (row['edit'], row['lua']) == ('none', 'lun1')


def test_dry_run_refuses_what_attach_would_refuse(operate, make_volume, add_mapping):
    path = make_volume()
    add_mapping(path)
    assert operate('attach', path, '--lpar', 'lpar2', '--dry-run').code == 8


@pytest.mark.parametrize('more', [[], ['--dry-run']], ids=['', 'dry run'])
def test_an_lpar_that_cannot_change_its_io_gets_no_more_disks(operate, novalink, make_volume,
                                                              add_mapping, more):
    mapped = add_mapping(make_volume('mapped'))
    novalink.change_lpar(novalink.lpars[0].uuid, rmc_state='inactive')
    outcome = operate('attach', make_volume('free'), '--lpar', 'lpar1', *more)
    assert outcome.code == 7
    assert 'lpar1 is running with RMC inactive' in outcome.err
    assert operate('attach', mapped, '--lpar', 'lpar1', *more).code == 0
    assert operate('detach', mapped, *more).code == 0


def test_detach_finds_the_only_lpar_that_has_the_volume(operate, novalink, make_volume,
                                                        add_mapping):
    path = make_volume()
    add_mapping(path, 'lpar2')
    assert operate('detach', path, '--dry-run').code == 0
    assert len(novalink.mappings()) == 1
    assert operate('detach', path).code == 0
    assert novalink.mappings() == []


def test_detach_asks_which_of_several_lpars_is_meant(operate, novalink, make_volume, add_mapping):
    path = make_volume()
    add_mapping(path)
    add_mapping(path, 'lpar2')
    outcome = operate('detach', path)
    assert outcome.code == 2
    assert 'lpar1 and lpar2. Say which with --lpar.' in outcome.err
    assert operate('detach', path, '--lpar', 'lpar2').code == 0
    assert [mapping.lpar_uuid for mapping in novalink.mappings()] == [novalink.lpars[0].uuid]


def test_detach_knows_a_volume_by_its_id(operate, novalink, make_volume, add_mapping):
    add_mapping(make_volume(), tag=VOLUME_ID)
    outcome = operate('detach', VOLUME_ID)
    assert (outcome.code, outcome.err) == (0, '')
    assert novalink.mappings() == []


def test_detach_of_what_is_gone_is_success(operate, make_volume):
    outcome = operate('detach', make_volume())
    assert outcome.code == 0
    assert 'was not attached' in outcome.out
    assert operate('detach', str(uuid.uuid4())).code == 0


def test_detach_needs_no_file(operate, novalink, make_volume, add_mapping):
    path = make_volume()
    add_mapping(path)
    os.unlink(path)
    assert operate('detach', path).code == 0
    assert novalink.mappings() == []


def test_extend_returns_the_new_size(as_json, novalink, make_volume, add_mapping):
    path = make_volume()
    add_mapping(path)
    os.truncate(path, 3 << 20)
    [row] = as_json('extend', path, '--dry-run')
    assert (row['size_bytes'], row['file_bytes']) == (1 << 20, 3 << 20)
    assert as_json('extend', path)['size_bytes'] == 3 << 20
    assert [float(mapping.capacity_gb) for mapping in novalink.mappings()] == [
        pytest.approx(3 / 1024, rel=0.01)]


@pytest.mark.parametrize('more', [[], ['--dry-run']], ids=['', 'dry run'])
def test_extend_of_what_is_not_attached_is_refused(operate, make_volume, more):
    outcome = operate('extend', make_volume(), *more)
    assert (outcome.code, outcome.out) == (13, '')
    assert 'not attached to any LPAR. Attach it first.' in outcome.err


def test_novalink_that_is_not_there_has_its_exit_code(run):
    outcome = run('attach', '/dev/shm/x', '--lpar', 'lpar1', '--simulator', 'http://localhost:1')
    assert outcome.code == 6
    assert 'Cannot reach NovaLink at localhost:1' in outcome.err
    assert 'Traceback' not in outcome.err


def test_debug_shows_the_traceback(run):
    outcome = run('--debug', 'list', '--simulator', 'http://localhost:1')
    assert outcome.code == 6
    assert 'Traceback' in outcome.err


@pytest.mark.parametrize('novalink', [{'mgmt_is_io_server': False}], indirect=True)
def test_a_partition_that_is_no_io_server_is_never_a_silent_no_op(operate, make_volume):
    outcome = operate('attach', make_volume(), '--lpar', 'lpar1')
    assert outcome.code == 6
    assert 'software-defined I/O' in outcome.err


@pytest.mark.parametrize('how', ['csv', 'value'])
def test_one_volume_is_one_line_where_there_are_no_records(operate, make_volume, how):
    outcome = operate('attach', make_volume(), '--lpar', 'lpar1', '-f', how, '-c', 'slot', '-c',
                      'lua')
    assert outcome.out.split() == {'csv': ['"slot","lua"', '2,"lun1"'], 'value': ['2', 'lun1']}[how]


def test_dry_run_of_detach_of_what_is_gone_shows_nothing_to_do(as_json, make_volume):
    [row] = as_json('detach', make_volume(), '--dry-run')
    assert row['edit'] == 'none'


def test_a_device_info_that_is_none_is_a_usage_error(operate, write_json):
    outcome = operate('detach', '--device-info', write_json([1]))
    assert outcome.code == 2
    assert 'does not hold a device_info' in outcome.err


def test_an_interrupt_while_novalink_is_asked_ends_the_command(begin, novalink):
    with Held(novalink, 'GET') as gate:
        process = begin('list')
        assert gate.reached.wait(60)
        process.interrupt()
        outcome = process.outcome()
    assert (outcome.code, outcome.out, outcome.err) == (130, '', 'Interrupted.\n')


def test_an_interrupted_fix_says_how_to_find_out(begin, novalink, make_volume, add_mapping):
    add_mapping(make_volume())
    novalink.remove_lpar(novalink.lpars[0].uuid)
    with Held(novalink, 'POST') as gate:
        process = begin('audit', '--fix', '--yes')
        assert gate.reached.wait(60)
        process.interrupt()
    outcome = process.outcome()
    assert outcome.code == 130
    assert '"powervm-fileio audit" tells' in outcome.err
