# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio list`` and ``show``: who has what, and how it is."""

import os

import pytest

from powervm_fileio_connector.host.health import MountState

VOLUME_ID = '7c1e0b1e-2a34-4a57-9d7c-51ce44f0f5a1'


def test_list_shows_each_disk_with_its_file_and_mount(as_json, novalink, make_volume, add_mapping):
    path = make_volume()
    add_mapping(path, tag=VOLUME_ID)
    [disk] = as_json('list')
    [mapping] = novalink.mappings()
    assert disk == {
        'lpar': 'lpar1', 'lpar_uuid': mapping.lpar_uuid, 'slot': 2, 'lua': 'lun1', 'path': path,
        'size_bytes': 1 << 20, 'backstore': 'loop', 'tag': VOLUME_ID, 'udid': mapping.udid,
        'file_state': 'present', 'mount_state': 'healthy', 'kind': 'file', 'delayed_by': None}


def test_list_is_ordered_by_lpar_slot_and_number_of_the_lua(as_json, operate, make_volume):
    for number, lpar, slot, lua in ((1, 'lpar2', 2, 'lun1'), (2, 'lpar1', 9, 'lun10'),
                                    (3, 'lpar1', 9, 'lun2'), (4, 'lpar1', 3, 'lun7')):
        operate('attach', make_volume(f'volume-{number}'), '--lpar', lpar, '--slot', slot, '--lua',
                lua)
    assert [(disk['lpar'], disk['slot'], disk['lua']) for disk in as_json('list')] == [
        ('lpar1', 3, 'lun7'), ('lpar1', 9, 'lun2'), ('lpar1', 9, 'lun10'), ('lpar2', 2, 'lun1')]


def test_list_of_nothing_is_empty(as_json):
    assert as_json('list') == []


def test_list_of_one_lpar_leaves_out_the_others(as_json, novalink, make_volume, add_mapping):
    add_mapping(make_volume('a'))
    add_mapping(make_volume('b'), 'lpar2')
    for lpar in ('lpar2', novalink.lpars[1].uuid.lower()):
        assert [disk['lpar'] for disk in as_json('list', '--lpar', lpar)] == ['lpar2']


def test_list_of_an_unknown_lpar_is_an_error(operate):
    outcome = operate('list', '--lpar', 'web01')
    assert outcome.code == 7
    assert outcome.err.startswith('Cannot find LPAR web01: none of the 3 LPARs')


@pytest.mark.parametrize('novalink', [{'mappings': 4}], indirect=True)
def test_list_shows_other_storage_only_when_asked(as_json):
    assert len(as_json('list')) == 2
    disks = as_json('list', '--all-storage')
    kinds = [disk['kind'] for disk in disks if disk['lpar'].startswith('lpar')]
    assert sorted(kinds) == ['file', 'file', 'lv', 'lv']
    # Those of another program, and adapters without a disk.
    assert {disk['kind'] for disk in disks} == {'file', 'lu', 'lv', 'none', 'optical', 'pv', 'rbd'}


def test_list_tells_a_file_that_is_gone_from_a_mount_that_is_gone(as_json, novalink, make_volume,
                                                                  add_mapping):
    path = make_volume()
    add_mapping(path)
    os.unlink(path)
    [disk] = as_json('list')
    assert (disk['file_state'], disk['mount_state']) == ('missing', 'healthy')


@pytest.mark.parametrize('novalink', [{'mappings': 1}], indirect=True)
def test_list_says_where_nothing_is_mounted(as_json):
    [disk] = as_json('list')
    assert (disk['file_state'], disk['mount_state']) == ('missing', 'absent')


def test_a_table_shows_no_python(operate, make_volume, add_mapping):
    add_mapping(make_volume())
    outcome = operate('list')
    assert 'None' not in outcome.out
    assert operate('list', '-c', 'LUA', '-f', 'value').out == 'lun1\n'
    assert operate('list', '-c', 'LUA', '-f', 'csv').out == '"lua"\n"lun1"\n'


def test_a_column_that_is_named_twice_is_shown_once(operate, make_volume, add_mapping):
    add_mapping(make_volume())
    assert operate('list', '-c', 'lpar', '-c', 'LPAR', '-f', 'csv').out == '"lpar"\n"lpar1"\n'
    assert operate('list', '-c', 'lpar', '-c', 'LPAR').out == operate('list', '-c', 'lpar').out


def test_an_unknown_column_is_a_usage_error(operate):
    outcome = operate('list', '-c', 'Colour')
    assert outcome.code == 2
    assert 'Colour' in outcome.err


def test_an_orphan_is_listed_without_lpar(as_json, novalink, make_volume, add_mapping):
    add_mapping(make_volume())
    novalink.remove_lpar(novalink.lpars[0].uuid)
    assert [disk['lpar'] for disk in as_json('list')] == ['(gone)']


@pytest.mark.parametrize('how', ['path', 'id', 'json', 'id in the name'])
def test_show_finds_a_volume_however_it_is_known(as_json, operate, connection_info, write_json,
                                                 novalink, how):
    info = connection_info(f'volume-{VOLUME_ID}')
    path = info['data']['device_path']
    tagged = [] if how == 'id in the name' else ['--volume-id', VOLUME_ID]
    operate('attach', path, '--lpar', 'lpar1', *tagged)
    shown = as_json('show', {'path': path, 'json': write_json(info)}.get(how, VOLUME_ID))
    [mapping] = novalink.mappings()
    assert (shown['path'], shown['udid']) == (path, mapping.udid)
    assert (shown['file_state'], shown['file_bytes']) == ('present', 1 << 20)
    assert shown['mount'] == 'tmpfs (tmpfs) on /dev/shm' or shown['mount'].endswith(' on /dev/shm')


def test_show_of_what_is_not_attached_has_its_exit_code(operate, make_volume):
    path = make_volume()
    outcome = operate('show', path)
    assert (outcome.code, outcome.out) == (13, '')
    assert outcome.err == f'Volume {path} is not attached to any LPAR.\n'


def test_show_has_a_line_for_each_lpar(as_json, make_volume, add_mapping):
    path = make_volume()
    add_mapping(path)
    add_mapping(path, 'lpar2')
    assert [disk['lpar'] for disk in as_json('show', path)] == ['lpar1', 'lpar2']
    assert as_json('show', path, '--lpar', 'lpar2')['lpar'] == 'lpar2'


def test_show_takes_one_volume(operate, connection_info, write_json):
    outcome = operate('show', write_json([connection_info('a'), connection_info('b')]))
    assert outcome.code == 2
    assert 'has 2 volumes; this command takes one' in outcome.err


@pytest.mark.parametrize('state', [state.value for state in MountState])
def test_disks_may_be_listed_by_each_state_of_a_mount(operate, state):
    outcome = operate('list', '--state', state)
    assert (outcome.code, outcome.err) == (0, 'No disk fits.\n')
