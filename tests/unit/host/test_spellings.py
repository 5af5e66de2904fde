# SPDX-License-Identifier: Apache-2.0
"""Which files under two names of a server are one, by recorded mount tables and by their facts."""

import dataclasses
import errno
import hashlib

import pytest

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import host
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.host import spellings
from powervm_fileio_connector.host.finder import VolumeFile
from tests.kernel import tables
from tests.unit.host.test_mount_table import table_of

RECORDED = tables.recorded()
OWN = probe.Answer(probe.HandleFacts('1:02', 2))


def test_a_server_that_hangs_takes_half_of_the_time_that_is_left(caplog):
    table = mount_table.parse(RECORDED['3-second_name_nosharecache'].encode())
    path = f'{place_of("nas1:/vols/cinder")}/v'
    asked = []

    class HangingProber:
        def probe_all(self, probes, deadline):
            asked.append(deadline.left())
            return [OWN, *(probe.Answer(is_hung=True) for _ in probes[1:])]

    deadline = Deadline(100)
    assert spellings.of_other_servers(
        table, table.covering(path), path, HangingProber(), deadline) == ((), ())
    assert asked[0] <= 50 < deadline.left()
    assert 'did not answer' in caplog.text


@pytest.mark.parametrize('answer', [
    {'errno': errno.EACCES, 'root_helper_failure': 'sudo: timed out'},
    {'failure': 'this process cannot start a thread'}, {'errno': errno.ENOMEM}])
def test_what_could_not_be_asked_is_not_taken_for_another_file(answer):
    table = mount_table.parse(RECORDED['3-second_name_nosharecache'].encode())
    path = f'{place_of("nas1:/vols/cinder")}/v'

    class FailingProber:
        def probe_all(self, probes, deadline):
            return [OWN, *(probe.Answer(**answer) for _ in probes[1:])]

    with pytest.raises(exceptions.MountNotResponding, match=r'another name is not known: \S'):
        spellings.of_other_servers(
            table, table.covering(path), path, FailingProber(), Deadline(100))


def test_one_call_makes_sixteen_probes_for_handles_at_most(caplog):
    table = table_of('30 27 0:50 / /a rw - nfs4 nas0:/vols rw', *(
        f'{number} 27 0:{number + 50} / /m/{number} rw - nfs4 nas{number}:/vols rw'
        for number in range(31, 60)))
    asked = []

    class CountingProber:
        def probe_all(self, probes, deadline):
            asked.extend(probes)
            return [probe.Answer(probe.HandleFacts(None, number))
                    for number, _ in enumerate(probes)]

    assert spellings.of_other_servers(
        table, table.at('/a'), '/a/v', CountingProber(), Deadline(1)) == ((), ())
    assert len(asked) == 16
    assert '29 more names of servers, of which 15 are checked' in caplog.text


def test_of_one_file_under_many_paths_one_is_probed(monkeypatch):
    lines = [f'{number} 27 0:50 / /m/{number} rw - nfs4 nas1:/vols rw' for number in range(30, 99)]
    table = table_of(*lines)
    monkeypatch.setattr(mount_table, 'table', lambda: table)
    asked = []

    class FollowingProber:
        def probe_all(self, probes, deadline):
            asked.extend(probes)
            return [probe.Answer(probe.PathFacts(one.path.replace('link', 'target')))
                    for one in probes]

    paths = [f'/m/{number}/link' for number in range(30, 99)]
    found = spellings.resolved_paths(paths, prober=FollowingProber())
    assert [one.path for one in asked] == ['/m/30/link', '/m/30']
    assert set(found) == {*paths, *(path.replace('link', 'target') for path in paths)}


class AnsweringProber:
    """Answers the probes for handles, in their order, with facts given beforehand.

    None stands for a file that is not there.
    """

    def __init__(self, *facts):
        self._facts = facts
        self.asked = []

    def probe_all(self, probes, deadline):
        self.asked += probes
        return [probe.Answer(errno=errno.ENOENT) if facts is None else probe.Answer(facts)
                for _, facts in zip(probes, self._facts, strict=True)]


def place_of(export):
    return f'/mnt/base/{hashlib.md5(export.encode()).hexdigest()}'


# What Linux shows of an NFS file: a handle since version 4.1, and with version 3.
@pytest.mark.parametrize(('case', 'other_path', 'facts', 'other_facts', 'expected'), [
    ('4.1-second_name_nosharecache', f'{place_of("nas2:/vols")}/cinder/v',
     ('1:aa', 7), ('1:aa', 7), 'certain'),
    ('4.1-second_name_nosharecache', f'{place_of("nas2:/vols")}/cinder/v',
     ('1:aa', 7), ('1:bb', 7), 'none'),
    ('3-second_address', f'{place_of("nas3:/vols/cinder")}/v',
     ('1:aa', 7), ('1:aa', 7), 'lookalike'),
    ('4.0-second_name_nosharecache', f'{place_of("nas2:/vols")}/cinder/v',
     (None, 7), (None, 7), 'certain'),
    ('4.0-second_name_nosharecache', f'{place_of("nas2:/vols")}/cinder/v',
     (None, 7), (None, 8), 'none'),
    ('4.0-second_address', f'{place_of("nas3:/vols/cinder")}/v',
     (None, 7), (None, 7), 'none'),
    ('4.0-second_address', f'{place_of("nas3:/vols/cinder")}/v',
     (None, 7, (2, 1_000_000_001)), (None, 7, (2, 1_000_000_001)), 'lookalike'),
    ('4.0-second_address', f'{place_of("nas3:/vols/cinder")}/v',
     (None, 7, (2, 1_000_000_001)), (None, 7, (2, 1_000_000_002)), 'none'),
    ('4.0-second_address', f'{place_of("nas3:/vols/cinder")}/v',
     (None, 7, (2, 1_000_000_001)), (None, 8, (2, 1_000_000_001)), 'none'),
    ('4.0-second_name_nosharecache', f'{place_of("nas2:/vols")}/cinder/v',
     (None, 7, (2, 1_000_000_001)), (None, 7, (2, 1_000_000_002)), 'certain'),
])
def test_handle_or_inode_number_tells_one_file_under_another_name(
        case, other_path, facts, other_facts, expected):
    table = mount_table.parse(RECORDED[case].encode())
    path = f'{place_of("nas1:/vols/cinder")}/v'
    found = spellings.of_other_servers(
        table, table.covering(path), path,
        AnsweringProber(probe.HandleFacts(*facts), probe.HandleFacts(*other_facts)), Deadline(1))
    assert found == {'certain': ((other_path,), ()), 'lookalike': ((), (other_path,)),
                     'none': ((), ())}[expected]


def smb(number, device, source, place, inodes='serverino,'):
    """As Linux 6.1 shows a share of Samba."""
    return (f'{number} 27 {device} / {place} rw,relatime - cifs {source} rw,vers=3.1.1,'
            f'cache=strict,username=root,addr=192.0.2.1,file_mode=0755,soft,nounix,{inodes}mapposix,actimeo=1')


@pytest.mark.parametrize(('inodes', 'other_facts', 'expected'), [
    ('serverino,', (None, 7, (2, 3)), 'certain'), ('serverino,', (None, 8, (2, 3)), 'none'),
    ('', (None, 8, (2, 3)), 'lookalike'), ('', None, 'none')])
def test_an_inode_number_of_the_server_tells_one_file_of_smb_under_another_name(
        inodes, other_facts, expected):
    table = table_of(smb(30, '0:31', '//nas1/vols', '/a', inodes),
                     smb(31, '0:32', '//nas2/vols', '/b', inodes))
    other = None if other_facts is None else probe.HandleFacts(*other_facts)
    found = spellings.of_other_servers(
        table, table.at('/a'), '/a/v', AnsweringProber(probe.HandleFacts(None, 7, (2, 3)), other),
        Deadline(1))
    assert found == {'certain': (('/b/v',), ()), 'lookalike': ((), ('/b/v',)),
                     'none': ((), ())}[expected]


@pytest.mark.parametrize(('inodes', 'path', 'ino', 'expected'), [
    ('serverino,', '/b/VOLUME', 7, 'same'), ('serverino,', '/b/VOLUME', 8, 'none'),
    ('serverino,', '/c/VOLUME', 7, 'none'), ('', '/b/VOLUME', 8, 'conflict'),
    ('', '/c/VOLUME', 8, 'none')])
def test_a_name_of_smb_in_another_case_is_told_on_each_mount(monkeypatch, inodes, path, ino,
                                                             expected):
    table = table_of(smb(30, '0:31', '//nas1/vols', '/a', inodes),
                     smb(31, '0:32', '//nas2/vols', '/b', inodes),
                     smb(32, '0:33', '//nas1/other', '/c', inodes))
    monkeypatch.setattr(mount_table, 'table', lambda: table)
    file = VolumeFile(path='/a/volume', spellings=('/a/volume',), size=512, format='raw',
                      identity=(31, 7), is_block_device=False, mount=table.at('/a'),
                      ignores_case=bool(inodes))
    assert file.may_have_other_names
    found = host.names_among(file, [path], prober=AnsweringProber(
        probe.HandleFacts(None, 7, (2, 3)), probe.HandleFacts(None, ino, (2, 3))))
    assert found.same == ((path,) if expected == 'same' else ())
    assert [path for path, _ in found.conflicts] == [path] * (expected == 'conflict')


def gluster(number, device, source, place):
    """As Linux 6.1 shows a volume of GlusterFS 10."""
    return (f'{number} 27 {device} / {place} rw,relatime - fuse.glusterfs {source} rw,user_id=0,'
            'group_id=0,default_permissions,allow_other,max_read=131072')


@pytest.mark.parametrize(('ino', 'expected'), [(7, ('/b/v',)), (8, ())])
def test_a_file_of_gluster_may_be_one_under_another_name_of_its_servers(ino, expected):
    """All servers of a pool serve each volume. A copy on another pool has equal numbers, too."""
    table = table_of(gluster(30, '0:31', 'nas1:/vols', '/a'),
                     gluster(31, '0:32', 'nas2:/vols', '/b'))
    prober = AnsweringProber(probe.HandleFacts(None, 7, (2, 3)),
                             probe.HandleFacts(None, ino, (2, 3)))
    assert spellings.of_other_servers(
        table, table.at('/a'), '/a/v', prober, Deadline(1)) == ((), expected)
    assert not any(request.has_handles for request in prober.asked)


@pytest.mark.parametrize(('fstype', 'sources'), [
    ('ceph', ('mon1,mon2:/vols', 'mon3:/vols')),
    ('ceph', ('mon1:/vols', 'admin@b7f5cd4e-0000-4000-8000-000000000001.cephfs=/vols')),
    ('lustre', ('mgs1@tcp:/vols', 'mgs2@tcp:/vols'))])
@pytest.mark.parametrize(('handle', 'expected'), [('2:aa', ('/b/v',)), ('2:bb', ())])
def test_a_file_of_a_cluster_may_be_one_by_another_of_its_servers(fstype, sources, handle,
                                                                  expected):
    table = table_of(*(
        f'{number} 27 0:{number} / {place} rw,relatime - {fstype} {source} rw,acl'
        for number, place, source in zip((30, 31), ('/a', '/b'), sources, strict=True)))
    prober = AnsweringProber(probe.HandleFacts('2:aa', 7), probe.HandleFacts(handle, 7))
    assert spellings.of_other_servers(
        table, table.at('/a'), '/a/v', prober, Deadline(1)) == ((), expected)


# As Linux 6.1 shows the mounts of a cluster of Ceph 16.2.15 with three monitors.
CEPH = ('33 27 0:31 / /k1 rw,relatime - ceph 127.0.0.1:6789,127.0.0.2:6789:/ rw,name=admin',
        '35 27 0:33 / /k2 rw,relatime - ceph 127.0.0.3,127.0.0.1:/vols rw,name=admin',
        '38 27 0:36 / /n rw,relatime - ceph admin@b7f5cd4e-1111-4000-8000-000000000001.cephfs=/vols'
        ' rw,name=admin,mon_addr=127.0.0.1:6789/127.0.0.2:6789',
        '44 27 0:41 / /second rw,relatime - ceph 127.0.0.1:6789,127.0.0.2:6789:/'
        ' rw,name=admin,mds_namespace=second',
        '40 27 0:38 / /f1 rw,nosuid,nodev,relatime - fuse.ceph-fuse ceph-fuse'
        ' rw,user_id=0,group_id=0,allow_other',
        '42 27 0:40 / /fvols rw,nosuid,nodev,relatime - fuse.ceph-fuse ceph-fuse'
        ' rw,user_id=0,group_id=0,allow_other')
ONE = probe.HandleFacts('fsid:data:10000000002', 0x10000000002, names_cluster=True)
OTHER = probe.HandleFacts('fsid:data2:10000000002', 0x10000000002, names_cluster=True)


def test_a_file_of_ceph_that_tells_its_cluster_is_the_same_by_each_monitor_and_form():
    table = table_of(*CEPH)
    prober = AnsweringProber(ONE, ONE, dataclasses.replace(ONE, ino=0x102), OTHER)   # n with ino32
    assert spellings.of_other_servers(
        table, table.at('/k1'), '/k1/vols/v', prober, Deadline(1)) == (('/k2/v', '/n/v'), ())
    assert [request.mount_point for request in prober.asked] == ['/k1', '/k2', '/n', '/second']
    assert all(request.is_ceph for request in prober.asked)


@pytest.mark.parametrize(('mount', 'link'), [
    ('/k1', '/k2/{}'), ('/k1', '/n/{}'), ('/k1', '/f1/vols/{}'), ('/k1', '/fvols/{}'),
    ('/f1', '/k1/vols/{}'), ('/f1', '/n/{}'), ('/f1', '/fvols/{}'), ('/fvols', '/f1/vols/{}')])
@pytest.mark.parametrize('has_hard_links', [True, False])
def test_a_file_of_ceph_is_found_on_each_mount_by_whichever_client(monkeypatch, mount, link,
                                                                   has_hard_links):
    table = table_of(*CEPH)
    monkeypatch.setattr(mount_table, 'table', lambda: table)
    file = VolumeFile(path=f'{mount}/v', spellings=(f'{mount}/v',), size=512, format='raw',
                      identity=(31, 7), is_block_device=False, mount=table.at(mount),
                      has_hard_links=has_hard_links, may_be_on_other_mounts=True)
    assert file.may_have_other_names
    path = link.format('link' if has_hard_links else 'v')
    assert host.names_among(file, [path], prober=AnsweringProber(ONE, ONE)) == ((path,), ())
    assert host.names_among(file, [path], prober=AnsweringProber(ONE, OTHER)) == ((), ())


def test_an_equal_handle_of_ceph_that_names_no_cluster_may_be_that_of_another_file(monkeypatch):
    """Each file system begins to count at the same number."""
    table = table_of(*CEPH)
    monkeypatch.setattr(mount_table, 'table', lambda: table)
    file = VolumeFile(path='/k1/vols/v', spellings=('/k1/vols/v',), size=512, format='raw',
                      identity=(31, 7), is_block_device=False, mount=table.at('/k1'),
                      has_hard_links=True)
    handle = probe.HandleFacts('1:0200000000010000', 0x10000000002)
    assert host.names_among(file, ['/n/link'], prober=AnsweringProber(handle, handle)) == ((), ())


@pytest.mark.parametrize(('path', 'ino', 'is_same'), [
    ('/b/other', 7, True), ('/b/other', 8, False), ('/c/other', 7, False)])
def test_a_hard_link_of_gluster_is_found_on_each_mount_of_the_volume(monkeypatch, path, ino,
                                                                     is_same):
    table = table_of(gluster(30, '0:31', 'nas1:/vols', '/a'),
                     gluster(31, '0:32', 'nas1:/vols', '/b'),
                     gluster(32, '0:33', 'nas1:/more', '/c'))
    monkeypatch.setattr(mount_table, 'table', lambda: table)
    file = VolumeFile(path='/a/volume', spellings=('/a/volume',), size=512, format='raw',
                      identity=(31, 7), is_block_device=False, mount=table.at('/a'),
                      has_hard_links=True)
    assert host.names_among(file, [path], prober=AnsweringProber(
        probe.HandleFacts(None, 7, (2, 3)), probe.HandleFacts(None, ino, (4, 5)))
    ) == ((path,) if is_same else (), ())


@pytest.mark.parametrize(('rounds', 'expected'), [
    ([(1, 2), (3, 3)], 'lookalike'),        # changed between the two probes of the first round
    ([(1, 2), (3, 4)], 'lookalike'),        # changes all the time
    ([(1, 2), (1, 2)], 'none'),             # another directory, of a server with the same numbers
])
def test_a_directory_that_changed_between_two_probes_is_compared_again(rounds, expected):
    table = mount_table.parse(RECORDED['4.0-second_address'].encode())
    path, other_path = (f'{place_of(export)}/v' for export in (
        'nas1:/vols/cinder', 'nas3:/vols/cinder'))
    left = list(rounds)

    class ChangingProber:
        def probe_all(self, probes, deadline):
            return [probe.Answer(probe.HandleFacts(None, 7, (2, changed_ns)))
                    for changed_ns in left.pop(0)]

    found = spellings.of_other_servers(
        table, table.covering(path), path, ChangingProber(), Deadline(1))
    assert found == {'lookalike': ((), (other_path,)), 'none': ((), ())}[expected]
    assert not left
