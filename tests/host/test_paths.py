# SPDX-License-Identifier: Apache-2.0
"""Volumes that are named by a path."""

import dataclasses
import os
import stat
import subprocess

import pytest

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import host
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.volume import Kind
from powervm_fileio_connector.volume import VolumeSpec
from tests.host.conftest import write


@pytest.fixture
def find(settings, prober):
    def find(path, settings=settings, protocol='gpfs', **fields):
        return finder.find(VolumeSpec(protocol=protocol, path=str(path), **fields), settings,
                                prober=prober)
    return find


@pytest.fixture
def share(mounter, tmp_path):
    return mounter.tmpfs('fs1', tmp_path / 'gpfs')


def test_a_file_on_a_mount_of_its_own_is_found(share, find):
    (share / 'consisgroup-1').mkdir()
    path = write(share / 'consisgroup-1/volume-1')
    assert find(path).path == str(path)


def test_symlinks_in_the_directory_lead_where_they_lead(share, tmp_path, find):
    path = write(share / 'volume-1')
    (tmp_path / 'link').symlink_to(share)
    assert find(tmp_path / 'link/./../link/volume-1').path == str(path)


def test_a_symlink_that_stays_in_the_mount_is_resolved(share, find):
    (share / 'sub').mkdir()
    path = write(share / 'volume-1')
    (share / 'sub/link').symlink_to('../sub/../volume-1')
    assert find(share / 'sub/link').path == str(path)


@pytest.mark.parametrize('target', ['/etc/shadow', '../outside', 'sub/../../outside'])
def test_a_symlink_that_leaves_the_mount_is_refused(target, share, tmp_path, find):
    write(tmp_path / 'outside')
    (share / 'sub').mkdir()
    (share / 'link').symlink_to(target)
    with pytest.raises(exceptions.UnsafeVolumePath, match='leads out of the mount'):
        find(share / 'link')


def test_an_absolute_symlink_back_into_the_mount_is_resolved(share, find):
    path = write(share / 'volume-1')
    (share / 'sub').mkdir()
    (share / 'sub/link').symlink_to(path)
    assert find(share / 'sub/link').path == str(path)


def test_an_absolute_symlink_that_climbs_out_again_is_refused(share, find):
    (share / 'link').symlink_to(f'{share}/../../etc/shadow')
    with pytest.raises(exceptions.UnsafeVolumePath, match='leads out of the mount'):
        find(share / 'link')


def test_symlinks_that_loop_are_refused(share, find):
    (share / 'link').symlink_to('link')
    with pytest.raises(exceptions.UnsafeVolumePath, match='symbolic links'):
        find(share / 'link')


def test_a_directory_that_leads_to_the_root_file_system_is_refused(share, find):
    (share / 'sub').symlink_to('/etc')
    with pytest.raises(exceptions.UnsafeVolumePath, match='leads out of the mount'):
        find(share / 'sub/shadow')


def test_the_root_file_system_is_refused(tmp_path, find):
    with pytest.raises(exceptions.UnsafeVolumePath, match='root file system'):
        find(write(tmp_path / 'volume-1'))


def test_the_root_file_system_bound_elsewhere_is_refused(mounter, tmp_path, find):
    (tmp_path / 'sub').mkdir()
    write(tmp_path / 'sub/volume-1')
    mounter.bind(tmp_path / 'sub', tmp_path / 'bound')
    with pytest.raises(exceptions.UnsafeVolumePath, match='root file system'):
        find(tmp_path / 'bound/volume-1')


def test_a_trusted_directory_may_lie_on_the_root_file_system(tmp_path, settings, find):
    (tmp_path / 'fileio').mkdir()
    path = write(tmp_path / 'fileio/volume-1')
    trusting = dataclasses.replace(settings, trusted_directories=(f'{tmp_path}/fileio/',))
    assert find(path, trusting).path == str(path)
    with pytest.raises(exceptions.VolumeFileNotFound):
        find(tmp_path / 'fileio/gone', trusting)


@pytest.mark.parametrize('way', ['symlink', 'dots', 'prefix'])
def test_no_path_leads_out_of_a_trusted_directory(way, tmp_path, settings, find):
    (tmp_path / 'fileio').mkdir()
    (tmp_path / 'fileio/link').symlink_to('../outside')
    write(tmp_path / 'outside')
    write(tmp_path / 'fileio-2')
    trusting = dataclasses.replace(settings, trusted_directories=(f'{tmp_path}/fileio', 'fileio'))
    with pytest.raises(exceptions.UnsafeVolumePath):
        find({'symlink': tmp_path / 'fileio/link', 'dots': f'{tmp_path}/fileio/../outside',
              'prefix': tmp_path / 'fileio-2'}[way], trusting)


def test_nothing_mounted_where_the_directory_should_be_is_told(tmp_path, find):
    for path in (tmp_path / 'gpfs/volume-1', tmp_path / 'volume-1'):
        with pytest.raises(exceptions.ShareNotMounted, match='no file system that would hold it'):
            find(path)


def test_a_missing_file_or_directory_of_a_mount_is_missing(share, find):
    for path in (share / 'volume-1', share / 'sub/volume-1'):
        with pytest.raises(exceptions.VolumeFileNotFound):
            find(path)


def test_a_file_where_a_directory_should_be_is_missing(share, find):
    write(share / 'file')
    with pytest.raises(exceptions.VolumeFileNotFound):
        find(share / 'file/volume-1')


@pytest.mark.parametrize('path', ['/proc/self/maps', '/proc/self/root/etc/shadow',
                                  '/sys/kernel/notes', '/dev/null'])
def test_files_that_the_kernel_makes_up_are_refused(path, find):
    with pytest.raises(exceptions.UnsafeVolumePath):
        find(path)


@pytest.mark.parametrize('path', ['/', '/..', '/etc/', '/etc/..'])
def test_a_path_that_names_a_directory_is_refused(path, find):
    with pytest.raises(exceptions.UnsafeVolumePath, match='names a directory'):
        find(path)


def test_only_regular_files_that_are_not_empty_are_served(share, find):
    (share / 'directory').mkdir()
    os.mkfifo(share / 'pipe')
    os.mknod(share / 'null', stat.S_IFCHR, os.makedev(1, 3))
    write(share / 'empty', size=0)
    for name, why in (('directory', 'a directory'), ('pipe', 'a pipe'),
                      ('null', 'a character device'), ('empty', 'is empty')):
        with pytest.raises(exceptions.UnsafeVolumePath, match=why):
            find(share / name)


def test_a_file_without_mode_bits_is_served(share, find):
    path = write(share / 'volume-1')
    path.chmod(0)
    assert find(path).size == 4096


def test_a_file_with_another_mounted_over_it_is_refused(share, mounter, find):
    path = write(share / 'volume-1')
    mounter.bind(write(share / 'other'), path)
    with pytest.raises(exceptions.UnsafeVolumePath, match=f'Attach the file as {share}/other'):
        find(path)


def test_the_root_of_a_file_system_is_refused_without_another_name_for_it(share, find):
    with pytest.raises(exceptions.UnsafeVolumePath, match='is the root of a file') as raised:
        find(str(share))
    assert 'Attach the file as' not in str(raised.value)


@pytest.fixture
def device(mounter, share):
    """A block device's node, and its size."""
    image = write(share / 'disk', size=1 << 20)
    attached = subprocess.run(['losetup', '--find', '--show', image],
                              capture_output=True, text=True)
    if attached.returncode:
        pytest.skip(f'no loop device: {attached.stderr.strip()}')
    loop = attached.stdout.strip()
    try:
        # A node of our own, in a tmpfs below /dev, so that no symlink of ours shows on the machine.
        node = mounter.tmpfs('devices', '/dev/shm') / 'disk'
        os.mknod(node, stat.S_IFBLK | 0o600, os.stat(loop).st_rdev)
        yield node, 1 << 20
    finally:
        subprocess.run(['losetup', '--detach', loop], check=True)


@pytest.fixture
def allowing(settings):
    return dataclasses.replace(settings, allow_block_devices=True)


def test_a_block_device_is_served_where_allowed(device, allowing, find):
    node, size = device
    (node.parent / 'by-id').symlink_to('disk')
    found = find(node.parent / 'by-id', allowing, protocol='local')
    assert (found.path, found.size, found.is_block_device) == (f'{node.parent}/by-id', size, True)
    assert str(node) in found.spellings


@pytest.mark.parametrize('way', ['directory', 'chain', 'file'])
def test_a_block_device_keeps_its_stable_name_behind_a_symlink_into_dev(
        way, device, allowing, tmp_path, find):
    by_id = device[0].parent / 'by-id'
    by_id.mkdir()
    (by_id / 'disk').symlink_to('../disk')
    (tmp_path / 'link').symlink_to(by_id)
    (tmp_path / 'chain').symlink_to('link')
    (tmp_path / 'file').symlink_to(by_id / 'disk')
    path = {'directory': 'link/disk', 'chain': 'chain/disk', 'file': 'file'}[way]
    found = find(tmp_path / path, allowing, protocol='local')
    assert (found.path, found.is_block_device) == (f'{by_id}/disk', True)


def test_a_block_device_is_refused_where_not_allowed(device, settings, allowing, find):
    for allowed, protocol in ((settings, 'local'), (allowing, 'nfs')):
        with pytest.raises(exceptions.UnsafeVolumePath, match='is a block device'):
            find(device[0], allowed, protocol=protocol)


def test_a_block_device_is_never_served_as_qcow2(device, allowing, find):
    with pytest.raises(exceptions.UnsupportedVolume, match='only be served as raw'):
        find(device[0], allowing, format='qcow2')


def test_a_block_device_node_on_a_share_is_refused(share, device, allowing, find):
    os.mknod(share / 'node', stat.S_IFBLK, os.stat(device[0]).st_rdev)
    with pytest.raises(exceptions.UnsafeVolumePath, match='outside of /dev'):
        find(share / 'node', allowing)


def test_a_block_device_that_this_host_has_mounted_is_refused(device, allowing, find):
    root = os.stat('/').st_dev
    if not os.path.exists(f'/sys/dev/block/{os.major(root)}:{os.minor(root)}'):
        pytest.skip('the root file system is on no block device')
    os.mknod(device[0].parent / 'root', stat.S_IFBLK, root)
    with pytest.raises(exceptions.UnsafeVolumePath, match='uses itself'):
        find(device[0].parent / 'root', allowing)


def test_a_file_that_did_not_change_is_found_unchanged(share, settings, prober, find):
    found = find(write(share / 'volume-1'))
    write(share / 'volume-1', size=8192)
    finder.recheck(found, settings, prober=prober)


@pytest.mark.parametrize('change', [
    'file', 'symlink', 'moved', 'directory', 'unmounted', 'covered'])
def test_a_file_that_was_replaced_is_not_the_same(
        change, mounter, share, settings, prober, find):
    path = write(share / 'volume-1')
    other = write(share / 'other')
    found = find(path)
    if change == 'file':
        other.rename(path)
    elif change == 'moved':         # the same file, but by a symlink that may be changed again
        path.rename(share / 'moved')
        path.symlink_to('moved')
    elif change == 'unmounted':
        mounter.unmount(share)
        write(path)
    elif change == 'covered':
        mounter.tmpfs('fs1', share)
        write(path)
    else:
        path.unlink()
        path.mkdir() if change == 'directory' else path.symlink_to('other')
    with pytest.raises(exceptions.UnsafeVolumePath, match='replaced'):
        finder.recheck(found, settings, prober=prober)


def test_a_file_that_is_gone_is_missing_at_the_second_look(share, settings, prober, find):
    path = write(share / 'volume-1')
    found = find(path)
    path.unlink()
    with pytest.raises(exceptions.VolumeFileNotFound):
        finder.recheck(found, settings, prober=prober)


@pytest.mark.parametrize('blank', [' ', '\u00a0', '\u3000'])
def test_a_symlink_to_a_name_that_ends_with_a_blank_is_refused(share, find, blank):
    write(share / 'volume-1')
    write(share / f'volume-1{blank}')
    (share / 'link').symlink_to(f'volume-1{blank}')
    with pytest.raises(exceptions.UnsafeVolumePath, match='ends with a blank'):
        find(share / 'link')


def test_a_base_that_hangs_leaves_time_for_a_share_that_does_not(
        mounter, tmp_path, settings, fuse_share):
    hung = fuse_share()
    spec = VolumeSpec(kind=Kind.NETWORK, export='cluster', name='volume-1')
    path = write(mounter.tmpfs('cluster', tmp_path / 'real' / spec.export_hash) / 'volume-1')
    (tmp_path / 'link').symlink_to('real')
    hung.tell('hang')
    settings = dataclasses.replace(settings, mount_point_base=(
        f'{hung.place}/sub', str(tmp_path / 'link')))
    assert finder.find(spec, settings, prober=probe.Prober(2)).path == str(path)
    hung.die()


def test_the_two_slashes_that_posix_allows_at_the_beginning_are_one(mounter, share, tmp_path,
                                                                   settings):
    path = write(share / 'volume-1')
    mounter.bind(share, tmp_path / 'bound')
    assert host.candidate_paths(VolumeSpec(path=f'/{path}'), settings) == (
        str(path), f'{tmp_path}/bound/volume-1')


def test_files_below_a_base_that_is_a_symlink_are_listed(mounter, tmp_path, settings, prober):
    spec = VolumeSpec(export='cluster', name='volume-1')
    share = mounter.tmpfs('cluster', tmp_path / 'real' / spec.export_hash)
    expected = [str(write(share / 'volume-1'))]
    (tmp_path / 'link').symlink_to('real')
    (tmp_path / 'elsewhere').mkdir()
    linked = dataclasses.replace(settings, mount_point_base=(str(tmp_path / 'link'),))
    assert host.list_files(None, linked, prober=prober) == expected
    assert host.list_files(spec, linked, prober=prober) == expected
    settings = dataclasses.replace(settings, mount_point_base=(str(tmp_path / 'elsewhere'),))
    spec = dataclasses.replace(spec, mount_point_base=str(tmp_path / 'link'))
    assert host.list_files(spec, settings, prober=prober) == expected


def test_files_below_the_bases_are_listed(mounter, tmp_path, settings, prober):
    share = mounter.tmpfs('nas1:/vols', tmp_path / 'nova/a')
    other = mounter.tmpfs('nas1:/other', tmp_path / 'cinder/b')
    mounter.tmpfs('nas1:/not', tmp_path / 'c')
    expected = sorted(map(str, (write(share / 'volume-1'), write(other / 'volume-2'))))
    write(share / '.hidden')
    write(tmp_path / 'nova/decoy')
    write(tmp_path / 'c/volume-3')
    (share / 'directory').mkdir()
    (share / 'link').symlink_to('volume-1')
    assert host.list_files(None, settings, prober=prober) == expected
    assert host.list_files(
        VolumeSpec(export='nas1:/not', name='x'), settings, prober=prober) == [
            str(tmp_path / 'c/volume-3')]
    assert host.list_files(
        VolumeSpec(path=str(other / 'x')), settings, prober=prober) == [str(other / 'volume-2')]


@pytest.mark.parametrize('directory', ['/', '/proc', '/proc/self/root/proc', '/dev', '/gone',
                                       '/etc/passwd'])
def test_no_files_are_listed_where_no_volume_can_be(settings, prober, directory):
    spec = VolumeSpec(path=os.path.join(directory, 'x'))
    assert host.list_files(spec, settings, prober=prober) == []


def test_files_on_the_root_file_system_are_listed_where_it_is_trusted(mounter, tmp_path, settings,
                                                                      prober):
    (tmp_path / 'plain').mkdir()
    path = write(tmp_path / 'plain/volume-1')
    (tmp_path / 'link').symlink_to('plain')
    bound = mounter.bind(tmp_path / 'plain', tmp_path / 'nova/bound')
    trusting = dataclasses.replace(settings, trusted_directories=(str(tmp_path / 'plain'),))
    for directory in (tmp_path / 'plain', tmp_path / 'link', bound):
        spec = VolumeSpec(path=str(directory / 'x'))
        assert host.list_files(spec, settings, prober=prober) == []
        expected = [str(directory / 'volume-1')] if directory != bound else []
        assert host.list_files(spec, trusting, prober=prober) == expected
    assert host.list_files(None, settings, prober=prober) == []
    trusting = dataclasses.replace(settings, trusted_directories=(str(tmp_path / 'nova'),))
    assert host.list_files(None, trusting, prober=prober) == [str(bound / path.name)]


def test_files_of_a_share_are_listed_by_a_symlink_to_it(share, tmp_path, settings, prober):
    write(share / 'volume-1')
    (tmp_path / 'link').symlink_to(share)
    spec = VolumeSpec(path=str(tmp_path / 'link/x'))
    assert host.list_files(spec, settings, prober=prober) == [str(tmp_path / 'link/volume-1')]
