# SPDX-License-Identifier: Apache-2.0
"""Lists of volumes: one command, a result for each, and what an interrupt leaves."""

import contextlib
import os
import pty
import re

import pytest

from powervm_fileio_connector.simulator.faults import Forbidden403
from tests.cli.conftest import Held
from tests.cli.conftest import posts


@pytest.fixture
def many(connection_info):
    """Make so many volumes, each for one of the two LPARs."""
    def make(count):
        return [connection_info(f'volume-{number:03d}', volume_id=f'id-{number:03d}',
                                lpar=f'lpar{number % 2 + 1}') for number in range(count)]
    return make


def test_two_hundred_volumes_take_few_posts(as_json, novalink, many, write_json):
    rows = as_json('attach', write_json(many(200)))
    assert [row['volume'] for row in rows] == [f'id-{number:03d}' for number in range(200)]
    assert {row['result'] for row in rows} == {'attached'}
    assert len(novalink.mappings()) == 200
    assert posts(novalink) <= 8


def test_bad_ones_among_many_are_named_and_leave_the_others_alone(operate, novalink, many,
                                                                  write_json):
    volumes = many(20)
    os.unlink(volumes[3]['data']['device_path'])
    volumes[7]['data']['encrypted'] = True
    volumes[11]['data']['device_path'] = '/etc/passwd'
    outcome = operate('attach', write_json(volumes), '-f', 'value',
                      *('-c', 'volume', '-c', 'result', '-c', 'error_type'),
                      environment={'OS_POWERVM_FILEIO__PROBE_TIMEOUT_S': '60'})
    assert outcome.code == 11
    assert [line for line in outcome.out.splitlines() if 'attached' not in line] == [
        'id-003 failed VolumeFileNotFound', 'id-007 failed UnsupportedVolume',
        'id-011 failed UnsafeVolumePath']
    assert [re.search(r'id-\d+', line)[0] for line in outcome.err.splitlines()] == [
        'id-003', 'id-007', 'id-011']
    assert outcome.out.count(' attached ') == len(novalink.mappings()) == 17


def test_a_list_that_was_attached_is_detached_and_extended(as_json, novalink, many, write_json):
    volumes = write_json(many(5))
    as_json('attach', volumes)
    assert {row['size_bytes'] for row in as_json('extend', volumes)} == {1 << 20}
    assert {row['result'] for row in as_json('detach', volumes)} == {'detached'}
    assert novalink.mappings() == []
    assert {row['result'] for row in as_json('detach', volumes)} == {'was not attached'}


def test_an_unknown_lpar_fails_its_own_entry_only(operate, novalink, many, write_json):
    volumes = many(3)
    volumes[1]['lpar'] = 'web01'
    outcome = operate('attach', write_json(volumes))
    assert outcome.code == 11
    assert outcome.err.startswith('Volume id-001: Cannot find LPAR web01')
    assert re.search(r'id-001 \| web01 \| failed: LPARNotFound', outcome.out)
    assert len(novalink.mappings()) == 2


def test_the_lpar_of_the_command_line_is_for_entries_without_one(as_json, many, write_json):
    volumes = many(3)
    del volumes[2]['lpar']
    rows = as_json('attach', write_json(volumes), '--lpar', 'lpar2')
    assert [row['lpar'] for row in rows] == ['lpar1', 'lpar2', 'lpar2']


def test_a_usage_error_of_one_entry_stops_the_list_before_it_begins(operate, novalink, many,
                                                                    write_json):
    volumes = many(4)
    volumes[2]['lpar_uuid'] = novalink.lpars[1].uuid
    outcome = operate('attach', write_json(volumes))
    assert (outcome.code, posts(novalink)) == (2, 0)
    assert 'id-002 is given two LPARs' in outcome.err


@pytest.mark.parametrize('same', ['id', 'path', 'symlink'])
def test_one_volume_for_two_lpars_is_refused_before_anything_is_sent(
        as_json, operate, novalink, make_volume, share, write_json, same):
    path = make_volume('a')
    os.symlink(path, share / 'link')
    other = {'id': make_volume('b'), 'path': path, 'symlink': str(share / 'link')}[same]
    volumes = [{'path': path, 'volume_id': 'x', 'lpar': 'lpar1'},
               {'path': make_volume('c'), 'volume_id': 'z', 'lpar': 'lpar1'},
               {'path': other, 'volume_id': 'x' if same == 'id' else 'y', 'lpar': 'lpar2'}]
    outcome = operate('attach', write_json(volumes))
    assert (outcome.code, posts(novalink)) == (2, 0)
    assert 'is given for two LPARs, lpar1 and lpar2' in outcome.err
    assert len(outcome.err.splitlines()) == 1
    for volume in volumes:
        volume['multiattach'] = True
    as_json('attach', write_json(volumes))
    assert len(novalink.mappings()) == 3


@pytest.mark.parametrize('without', [{}, {'multiattach': 'false'}, {'multiattach': 0}])
def test_each_entry_of_a_volume_for_two_lpars_needs_multiattach(operate, novalink, make_volume,
                                                                write_json, without):
    path = make_volume()
    volumes = [{'path': path, 'lpar': 'lpar1', 'multiattach': True},
               {'path': path, 'lpar': 'lpar1', **without},
               {'path': path, 'lpar': 'lpar2', 'multiattach': True}]
    outcome = operate('attach', write_json(volumes))
    assert (outcome.code, posts(novalink)) == (2, 0)
    assert 'is given for two LPARs, lpar1 and lpar2' in outcome.err


@pytest.mark.parametrize('more', [[], ['--dry-run']], ids=['', 'dry run'])
def test_an_unattached_volume_leaves_the_others_of_an_extend_alone(operate, many, write_json,
                                                                   more):
    volumes = many(3)
    for volume in volumes:
        del volume['lpar']
    operate('attach', write_json(volumes[:2]), '--lpar', 'lpar1')
    outcome = operate('extend', write_json(volumes), *more)
    assert outcome.code == 11
    assert outcome.err == 'Volume id-002 is not attached to any LPAR. Attach it first.\n'
    assert 'id-000' in outcome.out
    assert 'id-001' in outcome.out


def test_detaching_a_list_takes_a_gone_lpar_for_what_it_is(as_json, novalink, many, write_json):
    volumes = write_json(many(3))
    as_json('attach', volumes)
    novalink.remove_lpar(novalink.lpars[1].uuid, leave_orphans=False)
    assert [row['result'] for row in as_json('detach', volumes)] == [
        'detached', 'was not attached', 'detached']


def test_an_entry_that_names_nothing_is_called_by_its_place(operate, novalink, many, write_json):
    volumes = [*many(1), {'lpar': 'lpar1'}]
    outcome = operate('attach', write_json(volumes))
    assert outcome.code == 11
    assert re.search(r'^Cannot attach volume entry 2 of .*volumes\.json to LPAR lpar1', outcome.err)
    assert len(novalink.mappings()) == 1


def test_a_list_of_device_infos_is_detached(as_json, novalink, make_volume, write_json):
    infos = [as_json('attach', make_volume(name), '--lpar', 'lpar1') for name in ('a', 'b')]
    assert len(as_json('detach', write_json(infos))) == 2
    assert novalink.mappings() == []


def test_entries_have_a_slot_and_lua_of_their_own(as_json, novalink, many, write_json):
    volumes = many(2)
    volumes[0] |= {'slot': 7, 'lua': 'lun3'}
    volumes[1] |= {'slot': 8}
    as_json('attach', write_json(volumes))
    assert {mapping.slot for mapping in novalink.mappings()} == {7, 8}


def test_a_slot_for_all_makes_no_sense(operate, many, write_json):
    outcome = operate('attach', write_json(many(2)), '--slot', 7)
    assert outcome.code == 2
    assert 'for one volume' in outcome.err


def test_an_entry_without_lpar_stops_the_list_before_it_begins(operate, novalink, many,
                                                              write_json):
    volumes = many(3)
    del volumes[1]['lpar']
    outcome = operate('attach', write_json(volumes))
    assert outcome.code == 2
    assert 'id-001 names no LPAR' in outcome.err
    assert posts(novalink) == 0


def test_dry_run_of_a_list_names_those_that_would_fail(operate, novalink, many, write_json):
    volumes = many(3)
    os.unlink(volumes[1]['data']['device_path'])
    outcome = operate('attach', write_json(volumes), '--dry-run')
    assert outcome.code == 11
    assert outcome.out.count('| add ') == 2
    assert 'id-001' in outcome.err
    assert posts(novalink) == 0


@pytest.mark.parametrize('name', ['attach', 'detach'])
def test_dry_run_of_a_list_asks_novalink_as_often_as_that_of_two(operate, novalink, many,
                                                                write_json, name):
    asked = []
    for count in (2, 12):
        volumes = write_json(many(count))
        if name == 'detach':
            operate('attach', volumes)
        before = novalink.requests.count('GET')
        assert operate(name, volumes, '--dry-run').code == 0
        asked.append(novalink.requests.count('GET') - before)
    assert asked[0] == asked[1]


def test_dry_run_of_a_list_shows_an_entry_that_is_given_twice_as_often(as_json, many, write_json):
    edits = [row['edit'] for row in as_json('attach', write_json(many(2) * 2), '--dry-run')]
    assert edits == ['add'] * 4


@pytest.mark.parametrize(('name', 'edits'), [
    ('detach', ['remove', 'none', None]), ('extend', [None, None, None])])
def test_dry_run_of_a_list_has_a_row_for_each_volume(operate, novalink, many, write_json, name,
                                                     edits):
    volumes = [{**volume, 'lpar': None} for volume in many(2)]
    operate('attach', write_json(volumes[:1]), '--lpar', 'lpar1')
    listed = write_json([*volumes, {'path': '/b/../c'}])
    outcome = operate(name, listed, '--dry-run', '-f', 'json')
    assert outcome.code == 11
    assert [row['volume'] for row in outcome.json] == ['id-000', 'id-001', f'entry 3 of {listed}']
    assert [row.get('edit') for row in outcome.json] == edits
    assert outcome.json[2]['error_type'] == 'UnsafeVolumePath'
    assert '/c' in outcome.json[2]['error']


def test_dry_run_of_a_list_in_which_all_would_fail_shows_each(operate, many, write_json):
    outcome = operate('extend', write_json(many(2)), '--dry-run')
    assert outcome.code == 11
    assert outcome.out.count('| NotAttached |') == 2


def test_the_progress_bar_is_for_terminals(forks, operate, novalink, many, write_json):
    volumes = write_json(many(4))
    assert operate('attach', volumes).err == ''
    ours, theirs = pty.openpty()
    with open(ours, 'rb', buffering=0) as terminal:
        with open(theirs, 'wb', buffering=0) as stderr, open(os.devnull, 'r+') as nothing:
            child = forks.start(['detach', str(volumes), '--simulator', novalink.url],
                                [nothing.fileno(), nothing.fileno(), stderr.fileno()])
        shown = b''
        with contextlib.suppress(OSError):      # how a terminal ends
            while chunk := terminal.read(4096):
                shown += chunk
    assert child.wait(60) == 0
    assert 'Detaching: 100%' in shown.decode()
    assert '4/4' in shown.decode()


@pytest.mark.parametrize('count', [1, 150])
def test_an_interrupt_leaves_nothing_half_done_and_says_what_was(begin, novalink, many, count,
                                                                 write_json):
    with Held(novalink, 'POST') as gate:
        process = begin('attach', write_json(many(count)))
        assert gate.reached.wait(60)
        process.interrupt()
        assert process.stderr.readline() == '\n'
        assert 'Interrupted: waiting for' in process.stderr.readline()
    outcome = process.outcome()
    assert outcome.code == 130
    attached = len(novalink.mappings())
    assert outcome.out.count('| attached ') == attached
    assert f'Interrupted: {attached} attached' in outcome.err
    assert outcome.out.count('| not tried ') == count - attached
    assert 'Traceback' not in outcome.err


def test_one_volume_that_fails_after_an_interrupt_is_an_interrupted_command(begin, novalink,
                                                                            make_volume):
    with Held(novalink, 'POST') as gate:
        novalink.faults.add(Forbidden403(method='POST'))
        process = begin('attach', make_volume(), '--lpar', 'lpar1')
        assert gate.reached.wait(60)
        process.interrupt()
        process.stderr.readline()
        process.stderr.readline()
    outcome = process.outcome()
    assert outcome.code == 130
    assert 'Interrupted: 1 failed. ' in outcome.err


def test_a_second_interrupt_does_not_wait(begin, novalink, many, write_json):
    with Held(novalink, 'POST') as gate:
        process = begin('attach', write_json(many(2)))
        assert gate.reached.wait(60)
        process.interrupt()
        process.stderr.readline()
        process.stderr.readline()
        process.interrupt()
        outcome = process.outcome()
    assert outcome.code == 130
    # On a busy host the second volume may not have been sent yet.
    unknown, not_tried = (outcome.out.count(f'| {result} ') for result in ('unknown', 'not tried'))
    assert unknown >= 1
    assert unknown + not_tried == 2
