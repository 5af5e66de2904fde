# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio check``: whether a volume could be attached, without changing anything."""

import os

import pytest

from powervm_fileio_connector.cli import shares
from powervm_fileio_connector.host.mount import Mount
from tests.cli.conftest import posts


@pytest.fixture
def check(as_json, novalink):
    """Check, and return verdict and detail of each row."""
    def check(*arguments, code=0):
        rows = as_json('check', *arguments, code=code)
        assert posts(novalink) == 0
        return {row['check']: (row['verdict'], row['detail']) for row in rows}
    return check


def test_all_checks_of_a_volume_that_can_be_attached_pass(check, make_volume):
    path = make_volume()
    rows = check(path, '--lpar', 'lpar1')
    assert [verdict for verdict, _ in rows.values()] == ['ok'] * 8
    assert list(rows) == ['NovaLink', 'management partition', 'share', 'file', 'format', 'LPAR',
                          'attached', 'overall']
    assert 'answered in' in rows['share'][1]
    assert rows['file'][1] == f'{path} lies on it, 1 MiB'
    assert rows['attached'][1] == 'attached to no LPAR'


def test_a_hard_link_of_an_attached_file_is_attached(as_json, make_volume, share):
    path = make_volume()
    as_json('attach', path, '--lpar', 'lpar1')
    os.link(path, share / 'other-name')
    rows = as_json('check', share / 'other-name', '--lpar', 'lpar2', code=12)
    [attached] = [row for row in rows if row['check'] == 'attached']
    assert attached['verdict'] == 'FAILED'
    assert 'it is attached to lpar1' in attached['detail']


def test_a_missing_file_fails_the_check(check, make_volume):
    path = make_volume()
    os.unlink(path)
    rows = check(path, '--lpar', 'lpar1', code=12)
    assert rows['file'][0] == rows['overall'][0] == 'FAILED'
    assert rows['share'][0] == rows['LPAR'][0] == 'ok'
    assert rows['overall'][1] == '1 of 6 checks failed'


def test_one_fault_of_what_describes_the_volume_is_told_once(check):
    rows = check('/srv/a/../b', '--lpar', 'lpar1', code=12)
    assert "path contains '..'" in rows['volume'][1]
    assert rows['attached'] == ('not checked', 'what describes the volume must be right first')
    assert rows['overall'][1].startswith('1 of ')


def test_an_export_that_is_not_mounted_fails_the_check(check):
    rows = check('--export', 'nas1:/vols', '--name', 'volume-1', code=12)
    assert rows['share'][0] == 'FAILED'
    assert 'nas1:/vols is not in the mount table' in rows['share'][1]
    assert rows['file'] == ('not checked', 'the share must be mounted and answer first')


def test_an_unsafe_image_fails_the_check(check, make_volume):
    path = make_volume()
    rows = check(path, '--volume-format', 'qcow2', code=12)
    assert rows['format'][0] == 'FAILED'


def test_a_volume_that_cannot_be_served_fails_the_check(check, connection_info, write_json):
    rows = check(write_json(connection_info(encrypted=True)), code=12)
    assert 'ciphertext' in rows['volume'][1]


def test_another_lpar_that_has_it_fails_the_check(check, novalink, make_volume, add_mapping):
    path = make_volume()
    add_mapping(path)
    novalink.requests.clear()
    assert 'attached to lpar1 (slot 2, lun1)' in check(path, '--lpar', 'lpar2', code=12)[
        'attached'][1]
    assert check(path, '--lpar', 'lpar1')['attached'] == (
        'ok', 'attached to lpar1 (slot 2, lun1)')
    assert check(path, '--lpar', 'lpar2', '--multiattach')['attached'][0] == 'ok'


def test_what_else_attaching_would_be_refused_for_fails_the_check(check, novalink, make_volume,
                                                                  add_mapping, volume_id):
    name = f'volume-{volume_id}'
    add_mapping(make_volume(f'gone/{name}'))
    os.unlink(make_volume(f'gone/{name}'))
    path = make_volume(name)
    novalink.requests.clear()
    rows = check(path, '--lpar', 'lpar2', code=12)
    assert rows['attached'][0] == 'FAILED'
    assert 'may be the file that is mapped to LPAR lpar1 (' in rows['attached'][1]
    assert check(path, '--lpar', 'lpar2', '--multiattach')['attached'][0] == 'ok'


def test_an_orphan_of_the_file_does_not_fail_the_check(check, novalink, make_volume, add_mapping):
    path = make_volume()
    add_mapping(path)
    novalink.remove_lpar(novalink.lpars[0].uuid)
    novalink.requests.clear()
    assert 'an LPAR that is gone' in check(path, '--lpar', 'lpar2')['attached'][1]


def test_an_lpar_that_cannot_change_its_io_fails_the_check(check, novalink, make_volume):
    novalink.change_lpar(novalink.lpars[0].uuid, rmc_state='inactive')
    rows = check(make_volume(), '--lpar', 'lpar1', code=12)
    assert rows['LPAR'][0] == 'FAILED'
    assert 'lpar1 is running with RMC inactive' in rows['LPAR'][1]


@pytest.mark.parametrize('name', ['web01', '4D2C1F61-8F2D-4C1C-9E4C-0E6C2B6D3A11'])
def test_an_unknown_lpar_fails_the_check(check, make_volume, name):
    assert name in check(make_volume(), '--lpar', name, code=12)['LPAR'][1]


@pytest.mark.parametrize('novalink', [{'mgmt_is_io_server': False}], indirect=True)
def test_a_partition_that_is_no_io_server_fails_the_check(check, make_volume):
    rows = check(make_volume(), '--lpar', 'lpar1', code=12)
    assert 'not an I/O server' in rows['management partition'][1]


def test_without_novalink_the_share_is_checked_all_the_same(run, make_volume):
    outcome = run('check', make_volume(), '--lpar', 'lpar1', '--simulator', 'localhost:1', '-f',
                  'value', '-c', 'check', '-c', 'verdict')
    assert outcome.code == 12
    assert outcome.out.splitlines() == [
        'NovaLink FAILED', 'management partition not checked', 'share ok', 'file ok', 'format ok',
        'LPAR not checked', 'attached not checked', 'overall FAILED']


def test_without_a_volume_novalink_and_all_shares_are_checked(check, make_volume, novalink,
                                                              add_mapping):
    assert check()['share'][1].startswith('none is mounted below /var/lib/nova/mnt')
    add_mapping(make_volume())
    novalink.requests.clear()
    assert ' on /dev/shm is healthy' in check()['share'][1]


@pytest.mark.parametrize(('path', 'directory'), [
    ('/no-such-share/volume-1', '/no-such-share'), ('/etc/passwd', '/etc')],
    ids=['missing', 'present'])
def test_a_share_of_a_disk_that_is_not_mounted_fails_the_check(changed_world, make_volume, path,
                                                               directory, add_mapping):
    add_mapping(make_volume())
    with changed_world(path=path) as (_, operate_there):
        outcome = operate_there('check', '-f', 'json')
    assert outcome.code == 12
    assert f'{directory} is on the root file system: nothing is mounted for the disks there' in [
        row['detail'] for row in outcome.json if row['verdict'] == 'FAILED']


@pytest.mark.parametrize(('state', 'verdict'), [
    ('healthy', 'ok'), ('read-only', 'FAILED'), ('hung', 'FAILED'), ('stale', 'FAILED')])
def test_a_share_that_cannot_be_written_to_fails_the_check(state, verdict):
    mount = Mount(1, 0, '0:1', '/', '/vols', 'nfs', 'nas1:/vols', frozenset())
    row = shares.row(mount, state, 0.01)
    assert (row.verdict, row.detail) == (verdict, f'nas1:/vols (nfs) on /vols is {state} (10 ms)')
