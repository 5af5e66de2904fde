# SPDX-License-Identifier: Apache-2.0
"""Which paths reach the same file, as the mount table alone tells."""

import sys

import pytest

from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host import same_file
from tests.unit.host.test_mount_table import HOST
from tests.unit.host.test_mount_table import table_of


def spellings(path, *lines):
    table = table_of(*lines)
    return set(same_file.index(table).spellings(table.covering(path), path)) - {path}


def nfs(number, source, place, device='0:50', root='/', options='rw,addr=192.0.2.1', fstype='nfs4'):
    return f'{number} 27 {device} {root} {place} rw - {fstype} {source} {options}'


@pytest.mark.parametrize('fstype', ['nfs', 'nfs4', 'fuse.nfs', 'fuse', 'tmpfs', 'ceph', 'lustre'])
@pytest.mark.parametrize('device', ['0:50', '0:51'])
def test_directories_nest_by_their_sources(fstype, device):
    lines = (nfs(30, 'nas1:/vols', '/a', fstype=fstype),
             nfs(31, 'nas1:/vols/cinder', '/b', device=device, fstype=fstype))
    assert spellings('/a/cinder/v', *lines) == {'/b/v'}
    assert spellings('/b/v', *lines) == {'/a/cinder/v'}
    assert spellings('/a/cinder2/v', *lines) == set()


@pytest.mark.parametrize(('upper', 'lower'), [
    ('//srv/share', '//SRV/SHARE/dir'), ('one@fsid.fs=/', 'other@fsid.fs=/dir'),
    ('nas1:/', 'NAS1:/dir/'), ('[fd00::3]:/', 'fd00:0::3:/dir'), ('mgs@tcp:/fs', 'mgs@tcp:/fs/dir'),
    ('//u:pw@srv/share', '//srv/share/dir')])
def test_every_form_that_carries_a_directory_nests(upper, lower):
    lines = (nfs(30, upper, '/a'), nfs(31, lower, '/b', device='0:51'))
    assert spellings('/a/dir/v', *lines) == {'/b/v'}


def test_cifs_may_show_the_directory_as_root_as_well():
    lines = (nfs(30, '//srv/share', '/a', fstype='cifs'),
             nfs(31, '//srv/share/dir', '/b', root='/dir', fstype='cifs'),
             nfs(32, '//srv/share/dir', '/c', root='/dir/sub', fstype='cifs'))
    assert spellings('/a/dir/sub/v', *lines) == {'/b/sub/v', '/c/v'}


def test_cifs_mounts_of_one_file_system_show_the_source_of_the_first():
    lines = (nfs(30, '//srv/share/a', '/a', root='/a', fstype='cifs'),
             nfs(31, '//srv/share/a', '/b', root='/b', fstype='cifs'),
             nfs(32, '//srv/share/b', '/c', device='0:51', fstype='cifs'))
    assert spellings('/b/v', *lines) == {'/c/v'}
    assert spellings('/a/v', *lines) == set()


def test_a_bound_directory_of_a_cifs_mount_lies_below_its_source():
    lines = (nfs(30, '//srv/share/a', '/a', fstype='cifs'),
             nfs(31, '//srv/share/a', '/b', root='/b', fstype='cifs'),
             nfs(32, '//srv/share/a/b', '/c', device='0:51', fstype='cifs'))
    assert spellings('/b/v', *lines) == {'/a/b/v', '/c/v'}


def test_one_device_is_one_server_whatever_its_names():
    lines = (nfs(30, 'nas1:/vols', '/a'), nfs(31, 'nas2:/vols/cinder', '/b'),
             nfs(32, 'nas2:/vols', '/c', device='0:51'))
    assert spellings('/b/v', *lines) == {'/a/cinder/v', '/c/cinder/v'}


@pytest.mark.parametrize(('one', 'other'), [
    ('nas1:/vols', 'nas2:/vols'), ('nas1:/a', 'nas1:/b'), ('//srv/a', '//srv/b'),
    ('u@x.fs=/', 'u@y.fs=/'), ('tmpfs', 'tmpfs'), ('/dev/sda1', '/dev/sda1')])
def test_different_devices_and_sources_are_different_files(one, other):
    assert spellings('/a/v', nfs(30, one, '/a'), nfs(31, other, '/b', device='0:51')) == set()


def test_servers_of_one_name_on_two_ports_are_different():
    lines = (nfs(30, 'nas1:/vols', '/a', options='rw,port=20490'),
             nfs(31, 'nas1:/vols', '/b', device='0:51', options='rw,port=20491'),
             nfs(32, 'nas1:/vols', '/c', device='0:52', options='rw,port=2049'),
             nfs(33, 'nas1:/vols', '/d', device='0:53'))
    assert spellings('/a/v', *lines) == set()
    assert spellings('/c/v', *lines) == {'/d/v'}


def test_two_file_systems_of_a_ceph_cluster_have_one_source():
    """As Linux 6.1 shows them with Ceph 16.2, where ``fs=second`` was given."""
    lines = tuple(nfs(number, '192.0.2.1:6789,192.0.2.2:6789:/', place, fstype='ceph',
                      device=f'0:{number}', options=f'rw,name=admin{file_system}')
                  for number, place, file_system in (
                      (30, '/a', ''), (31, '/b', ',mds_namespace=second'),
                      (32, '/c', ',mds_namespace=second'), (33, '/d', '')))
    assert spellings('/a/v', *lines) == {'/d/v'}
    assert spellings('/b/v', *lines) == {'/c/v'}
    assert under_other_names('/a/v', *lines) == ['/b/v', '/c/v']


def test_a_disk_is_the_same_file_system_under_each_of_its_names():
    assert spellings('/a/v', '30 27 8:1 / /a rw - xfs /dev/sda1 rw',
                     '31 27 8:1 / /b rw - xfs /dev/disk/by-label/x rw') == {'/b/v'}


def test_a_bound_directory_shows_only_what_is_in_it():
    lines = ('30 27 8:1 / /a rw - xfs /dev/sda1 rw', '31 27 8:1 /sub /b rw - xfs /dev/sda1 rw')
    assert spellings('/a/sub/v', *lines) == {'/b/v'}
    assert spellings('/a/subv', *lines) == set()
    assert spellings('/b/v', *lines) == {'/a/sub/v'}


@pytest.mark.parametrize('line', [
    '31 27 8:1 /sub/v /file rw - xfs /dev/sda1 rw', '31 27 8:1 /sub /b rw - xfs /dev/sda1 rw'])
def test_a_bound_file_is_a_spelling_of_it(line):
    lines = ('30 27 8:1 / /a rw - xfs /dev/sda1 rw', line)
    bound = line.split()[4]
    other = bound if bound == '/file' else '/b/v'
    assert spellings('/a/sub/v', *lines) == {other}
    assert spellings(other, *lines) == {'/a/sub/v'}


@pytest.mark.parametrize('source', ['nas1:/vols', '/dev/sda1'])
def test_a_bound_file_that_was_deleted_is_no_other_one(source):
    lines = (f'30 27 0:50 / /a rw - any {source} rw',
             f'31 27 0:50 /v//deleted /file rw - any {source} rw',
             f'32 27 0:50 /v//deleted /same rw - any {source} rw')
    assert spellings('/a/v', *lines) == spellings('/a/v/deleted', *lines) == set()
    assert spellings('/file', *lines) == {'/same'}


def test_a_bound_file_of_kernel_nfs_has_the_file_in_its_source():
    assert spellings('/a/v', nfs(30, 'nas1:/vols', '/a'), nfs(31, 'nas1:/vols/v', '/file')) == {
        '/file'}


def test_a_path_that_another_mount_covers_is_no_spelling():
    assert spellings('/a/sub/v', '30 27 8:1 / /a rw - xfs /dev/sda1 rw',
                     '31 27 8:1 / /b rw - xfs /dev/sda1 rw',
                     '32 31 0:50 / /b/sub rw - tmpfs x rw') == set()


def test_a_path_that_a_mount_on_a_mount_covers_is_no_spelling():
    assert spellings('/a/sub/v', '30 27 8:1 / /a rw - xfs /dev/sda1 rw',
                     '31 27 8:1 / /b rw - xfs /dev/sda1 rw',
                     '32 31 0:50 / /b/sub rw - tmpfs x rw',
                     '33 32 0:51 / /b/sub rw - tmpfs y rw') == set()


def under_other_names(path, *lines):
    table = table_of(*lines)
    return [spelling for _, spelling in same_file.index(table).under_other_names(
        table.covering(path), path)]


def test_another_name_of_a_server_may_show_the_same_file():
    lines = (nfs(30, 'nas1:/vols', '/a'), nfs(31, 'nas2:/vols/cinder', '/b', device='0:51'),
             nfs(32, 'nas2:/vols/cinder', '/c', device='0:51'),
             nfs(33, 'nas3:/other', '/d', device='0:52'),
             nfs(34, 'nas4:/vols', '/e', device='0:53', fstype='fuse.nfs'))
    assert under_other_names('/a/cinder/v', *lines) == ['/b/v']
    assert under_other_names('/e/cinder/v', *lines) == []


@pytest.mark.parametrize(('fstype', 'other_fstype', 'expected'), [
    ('fuse.ceph-fuse', 'fuse.ceph-fuse', True), ('fuse.ceph', 'ceph', True),
    ('fuse', 'fuse', True), ('ceph', 'ceph', False), ('fuse.ceph-fuse', 'fuse.sshfs', False)])
def test_a_file_of_ceph_may_be_on_any_other_mount_where_ceph_fuse_serves_one(fstype, other_fstype,
                                                                             expected):
    def line(number, fstype):
        source = {'ceph': 'mon1:/', 'fuse.sshfs': 'host:/'}.get(fstype, 'ceph-fuse')
        return nfs(number, source, f'/{number}', device=f'0:{number}', fstype=fstype)

    table = table_of(line(30, fstype), line(31, other_fstype), '32 27 0:30 /d /b rw - x y rw')
    index = same_file.index(table)
    assert index.may_be_on_others(table.at('/30')) is expected
    assert not same_file.index(table_of(line(30, fstype))).may_be_on_others(table.at('/30'))


def test_the_address_decides_whether_two_names_are_one_server():
    mounts = list(table_of(nfs(30, 'nas1:/v', '/a'), nfs(31, 'nas2:/v', '/b'),
                           nfs(32, 'nas3:/v', '/c', options='rw,addr=192.0.2.2'),
                           nfs(33, 'nas4:/v', '/d', options='rw,addr=192.0.2.1,port=1')))[-4:]
    assert [same_file.agree_on_server(mounts[0], mount) for mount in mounts[1:]] == [
        True, False, False]


def many(count):
    """Return a table of that many mounts, of which a fifth show one export of a server.

    None of its lines is one of another table's.
    """
    return '\n'.join([HOST.rstrip(), *(
        nfs(number, 'nas1:/vols' if number % 5 == 0 else f'nas1:/vol{number}',
            f'/{count}/{number}',
            device='0:50' if number % 5 == 0 else f'0:{number + 50}')
        for number in range(30, 30 + count))]).encode()


def steps(function):
    """Return how many lines of Python are executed."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += event == 'line'
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def test_a_known_table_costs_no_more_than_a_path_has_spellings():
    def asked(count):
        table = mount_table.parse(many(count))
        index = same_file.index(table)
        return steps(lambda: index.spellings(
            table.at(f'/{count}/30'), f'/{count}/30/volume-1'))

    assert asked(1000) <= asked(10) + 2 * 198


def test_a_table_of_thousands_is_indexed_in_one_pass():
    def made(count):
        text = many(count)
        return steps(lambda: same_file.SameFiles(mount_table.parse.__wrapped__(text)))

    assert made(2000) < 11 * made(200)


class FoundOnce:
    """A key that another thread forgets as soon as it has been looked for."""

    def __init__(self, forget):
        self.forget, self.lookups = forget, 0

    def __hash__(self):
        self.lookups += 1
        if self.lookups > 1:
            self.forget()
        return 1


def test_what_is_remembered_may_be_forgotten_by_another_thread_at_any_time():
    index = same_file.SameFiles(table_of(nfs(30, 'nas1:/vols', '/a')))
    key = FoundOnce(index._remembered.clear)
    index.remember(key, lambda: 'made')
    key.lookups = 0
    assert index.remember(key, lambda: 'made') == 'made'
