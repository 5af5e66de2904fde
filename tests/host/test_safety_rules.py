# SPDX-License-Identifier: Apache-2.0
"""Files that look right and may not be attached."""

import contextlib
import dataclasses
import os
import subprocess

import pytest

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.volume import Kind
from powervm_fileio_connector.volume import VolumeSpec
from tests.host.conftest import write

HASH = 'd1cdef49d9a25ea608944a2d4a7f45ea'


@pytest.fixture
def find(settings, prober):
    def find(path, settings=settings, kind=Kind.LOCAL, protocol='file', **fields):
        return finder.find(VolumeSpec(protocol=protocol, kind=kind, path=str(path), **fields),
                           settings, prober=prober)
    return find


@pytest.fixture
def share(mounter, tmp_path):
    return mounter.tmpfs('nas1:/vols', tmp_path / 'share', 'size=1g')


@pytest.fixture(params=['ext4', 'xfs', 'btrfs', 'vfat'])
def local_disk(request, mounter, share, tmp_path):
    """A file system of a local disk, as one that holds /var is."""
    image = share / 'disk'
    image.touch()
    os.truncate(image, 512 << 20)
    try:
        subprocess.run([f'mkfs.{request.param}', image], check=True, capture_output=True)
        mounter._mount(tmp_path / 'var', '-o', 'loop', image)
    except (OSError, subprocess.CalledProcessError) as err:
        pytest.skip(f'no {request.param} here: {err}')
    return tmp_path / 'var'


@pytest.mark.parametrize('kind', [Kind.NETWORK, Kind.CLUSTER])
def test_a_volume_of_a_server_never_lies_on_a_local_disk(local_disk, find, settings, kind):
    path = write(local_disk / 'volume-1')
    with pytest.raises(exceptions.ShareNotMounted, match=f'{local_disk} lies on'):
        find(path, kind=kind, protocol='gpfs')
    assert find(path).path == str(path)
    trusting = dataclasses.replace(settings, trusted_directories=(str(local_disk),))
    assert find(path, trusting, kind=kind).path == str(path)


@pytest.mark.parametrize('base', ['mnt', 'nova'])
def test_a_clusters_path_below_a_base_needs_a_mount_of_its_own(mounter, tmp_path, find, base):
    mounter.tmpfs('gpfs1', tmp_path)
    place = tmp_path / base / HASH
    place.mkdir(parents=True)
    path = write(place / 'volume-1')
    with pytest.raises(exceptions.ShareNotMounted, match=f'nothing is mounted at {place}'):
        find(path, kind=Kind.CLUSTER, protocol='gpfs')
    assert find(path).path == str(path)
    mounter.tmpfs('gpfs1', place)
    write(path)
    assert find(path, kind=Kind.CLUSTER, protocol='gpfs').path == str(path)


def test_a_file_that_is_a_symlink_in_the_conventional_place_lies_on_its_mount(
        mounter, tmp_path, find):
    place = mounter.tmpfs('gpfs1', tmp_path / 'mnt' / HASH)
    (place / 'deep').mkdir()
    path = write(place / 'deep/file')
    (place / 'volume-1').symlink_to('deep/file')
    assert find(place / 'volume-1', kind=Kind.CLUSTER, protocol='gpfs').path == str(path)


@pytest.mark.parametrize('way', ['dot', 'slashes', 'link', 'upper case'])
def test_a_clusters_conventional_place_is_known_however_it_is_spelled(
        way, mounter, tmp_path, find):
    mounter.tmpfs('gpfs1', tmp_path)
    name = HASH.upper() if way == 'upper case' else HASH
    (tmp_path / 'mnt' / name).mkdir(parents=True)
    (tmp_path / 'link').symlink_to(f'mnt/{name}')
    path = write(tmp_path / 'mnt' / name / 'volume-1')
    given = {'dot': f'{path.parent}/./volume-1', 'slashes': f'{path.parent}//volume-1',
             'link': tmp_path / 'link/volume-1', 'upper case': path}[way]
    with pytest.raises(exceptions.ShareNotMounted, match=f'nothing is mounted at {path.parent}'):
        find(given, kind=Kind.CLUSTER, protocol='gpfs')


@pytest.mark.parametrize('base', ['link', 'link/', 'link/../real', 'relative', 'own link'])
@pytest.mark.parametrize('given', ['link', 'real'])
def test_a_base_of_a_clusters_conventional_place_is_known_however_it_is_spelled(
        base, given, mounter, tmp_path, settings, find):
    mounter.tmpfs('gpfs1', tmp_path)
    path = tmp_path / 'real' / HASH / 'volume-1'
    path.parent.mkdir(parents=True)
    write(path)
    (tmp_path / 'link').symlink_to('real')
    written = {'relative': f'{tmp_path}/real'.lstrip('/'),
               'own link': f'{tmp_path}/link'}.get(base, f'{tmp_path}/{base}')
    is_own = base == 'own link'
    chosen = dataclasses.replace(settings, mount_point_base=() if is_own else (written,))
    with pytest.raises(exceptions.ShareNotMounted, match=f'nothing is mounted at .*/{HASH}'):
        find(tmp_path / given / HASH / 'volume-1', chosen, kind=Kind.CLUSTER, protocol='gpfs',
             mount_point_base=written if is_own else None)
    mounter.tmpfs('gpfs1', path.parent)
    write(path)
    assert find(tmp_path / given / HASH / 'volume-1', chosen, kind=Kind.CLUSTER,
                protocol='gpfs').path == str(path)


def test_a_base_that_does_not_answer_hides_no_other(
        mounter, tmp_path, settings, fuse_share):
    mounter.tmpfs('gpfs1', tmp_path / 'gpfs')
    path = tmp_path / 'gpfs' / HASH / 'volume-1'
    path.parent.mkdir()
    write(path)
    hung = fuse_share()
    hung.tell('hang')
    chosen = dataclasses.replace(settings, mount_point_base=(f'{hung.place}/base',
                                                             f'{tmp_path}/link'))
    (tmp_path / 'link').symlink_to('gpfs')
    with pytest.raises(exceptions.ShareNotMounted, match='nothing is mounted at'):
        finder.find(VolumeSpec(protocol='gpfs', kind=Kind.CLUSTER, path=str(path)), chosen,
                    prober=probe.Prober(timeout_s=2))


def test_a_clusters_path_elsewhere_needs_none(share, find):
    (share / 'volumes').mkdir()
    path = write(share / 'volumes/volume-1')
    assert find(path, kind=Kind.CLUSTER, protocol='gpfs').path == str(path)


def test_a_trusted_directory_may_be_a_symlink(tmp_path, settings, find):
    (tmp_path / 'real').mkdir()
    path = write(tmp_path / 'real/volume-1')
    (tmp_path / 'trusted').symlink_to('real')
    trusting = dataclasses.replace(settings, trusted_directories=(str(tmp_path / 'trusted'),))
    assert find(tmp_path / 'trusted/volume-1', trusting).path == str(path)
    (tmp_path / 'other').mkdir()
    with pytest.raises(exceptions.UnsafeVolumePath, match='root file system'):
        find(write(tmp_path / 'other/volume-1'), trusting)


def test_dots_behind_a_symlink_trust_the_directory_that_they_lead_to(tmp_path, settings, find):
    for name in ('real/deep', 'real/trusted', 'trusted'):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / 'link').symlink_to('real/deep')
    path, other = write(tmp_path / 'real/trusted/v'), write(tmp_path / 'trusted/v')
    trusting = dataclasses.replace(
        settings, trusted_directories=(f'{tmp_path}/link/../trusted',))
    assert find(path, trusting).path == str(path)
    with pytest.raises(exceptions.UnsafeVolumePath, match='root file system'):
        find(other, trusting)


def test_a_trusted_directory_that_hangs_delays_no_other(
        fuse_share, tmp_path, settings):
    hung = fuse_share()
    hung.tell('hang')
    (tmp_path / 'real').mkdir()
    (tmp_path / 'trusted').symlink_to('real')
    path = write(tmp_path / 'real/volume-1')
    trusting = dataclasses.replace(settings, trusted_directories=(
        str(hung.place), str(tmp_path / 'trusted')))
    assert finder.find(VolumeSpec(path=str(path)), trusting,
                       prober=probe.Prober(2)).path == str(path)
    hung.die()


@pytest.mark.parametrize('target', ['absolute', 'relative', 'below'])
def test_a_directory_link_on_a_share_may_not_lead_to_another_mount(
        share, mounter, tmp_path, find, target):
    other = mounter.tmpfs('nas2:/other', share / 'below' if target == 'below' else tmp_path / 'o')
    write(other / 'volume-1')
    (share / 'link').symlink_to(
        other if target == 'absolute' else os.path.relpath(other, share))
    with pytest.raises(exceptions.UnsafeVolumePath, match='leads out of the mount'):
        find(share / 'link/volume-1')


def test_a_deployers_link_does_not_excuse_one_on_the_share(share, mounter, tmp_path, find):
    write(mounter.tmpfs('nas2:/other', tmp_path / 'other') / 'volume-1')
    (tmp_path / 'first').symlink_to(share)
    (share / 'second').symlink_to(tmp_path / 'other')
    with pytest.raises(exceptions.UnsafeVolumePath, match='leads out of the mount'):
        find(tmp_path / 'first/second/volume-1')


@pytest.mark.parametrize('kind', [Kind.NETWORK, Kind.CLUSTER])
def test_a_symlink_that_is_trusted_lifts_the_rule_for_local_disks(
        local_disk, tmp_path, settings, find, kind):
    path = write(local_disk / 'volume-1')
    (tmp_path / 'trusted').symlink_to(local_disk)
    trusting = dataclasses.replace(settings, trusted_directories=(str(tmp_path / 'trusted'),))
    for given in (path, tmp_path / 'trusted/volume-1'):
        assert find(given, trusting, kind=kind, protocol='gpfs').path == str(path)


def test_a_link_on_a_local_disk_may_lead_anywhere(share, tmp_path, find):
    path = write(share / 'volume-1')
    (tmp_path / 'directory').symlink_to(share)
    (tmp_path / 'file').symlink_to(path)
    for way in ('directory/volume-1', 'file'):
        assert find(tmp_path / way).path == str(path)


@pytest.mark.parametrize(('size', 'is_served'), [(0, False), (1, False), (511, False), (512, True)])
def test_a_file_has_at_least_one_sector(share, find, size, is_served):
    path = write(share / 'volume-1', size)
    if is_served:
        assert find(path).size == size
    else:
        with pytest.raises(exceptions.UnsafeVolumePath, match=r'is empty|one sector'):
            find(path)


@pytest.mark.parametrize(('backstore', 'name', 'is_served'), [
    ('fileio', 'a,b', False), ('loop', 'a,b', True), ('loop', 'a:b', True),
    ('fileio', 'a:b', True), ('user:qcow', 'a,b', False), ('user:qcow', 'a:b', False)])
def test_a_path_that_a_backstore_would_cut_is_refused(share, find, backstore, name, is_served):
    path = write(share / name)
    if is_served:
        assert find(path, backstore=backstore).path == str(path)
    else:
        with pytest.raises(exceptions.UnsafeVolumePath, match='would cut it'):
            find(path, backstore=backstore)


@pytest.mark.parametrize(('backstore', 'most'), [('fileio', 255), ('user:qcow', 250)])
def test_a_path_that_is_too_long_for_a_backstore_is_refused(share, find, backstore, most):
    # In bytes: é has two.
    directory = share / ('d' * 60)
    directory.mkdir()
    left = most - len(os.fsencode(directory)) - 1
    path = write(directory / ('é' + 'v' * (left - 2)))
    assert find(path, backstore=backstore).path == str(path)
    longer = write(directory / ('é' + 'v' * (left - 1)))
    with pytest.raises(exceptions.UnsafeVolumePath, match='would cut it'):
        find(longer, backstore=backstore)
    assert find(longer, backstore='loop').path == str(longer)


def test_a_file_that_this_host_has_mounted_is_refused(local_disk, share, find):
    with pytest.raises(exceptions.UnsafeVolumePath, match='used by this host itself'):
        find(share / 'disk')


def test_another_mount_at_the_same_place_is_not_the_same_file(
        share, mounter, settings, prober, find):
    found = find(write(share / 'volume-1'))
    mounter.unmount(share)
    mounter.tmpfs('nas2:/other', share)
    write(share / 'volume-1')
    with pytest.raises(exceptions.UnsafeVolumePath, match='another'):
        finder.recheck(found, settings, prober=prober)


def test_a_file_that_is_made_anew_is_another_also_with_the_same_inode_number(
        local_disk, settings, prober, find):
    path = write(local_disk / 'volume-1')
    found = find(path)
    path.unlink()
    inode = write(path).stat().st_ino
    assert inode == found.identity[1] or found.mount.fstype != 'ext4'
    with pytest.raises(exceptions.UnsafeVolumePath, match='replaced by another file'):
        finder.recheck(found, settings, prober=prober)


def test_a_file_that_grows_and_changes_stays_the_same_file(local_disk, settings, prober, find):
    path = write(local_disk / 'volume-1')
    found = find(path)
    write(path, size=1 << 20)
    os.link(path, local_disk / 'other')
    path.chmod(0o640)
    finder.recheck(found, settings, prober=prober)


@pytest.mark.parametrize(('before', 'is_same'), [
    ((), True), ((None,), True), (('1:other',), False)])
def test_only_a_handle_that_is_told_tells_files_apart(
        before, is_same, share, settings, prober, find):
    found = find(write(share / 'volume-1'))
    if None in found.handles:
        pytest.skip('tmpfs tells no handles here')
    before = dataclasses.replace(found, handles=before)
    with contextlib.nullcontext() if is_same else pytest.raises(exceptions.UnsafeVolumePath):
        finder.recheck(before, settings, prober=prober)


@pytest.mark.parametrize(('attribute', 'reason'), [('a', 'is append-only'), ('i', 'cannot be')])
def test_a_file_that_root_cannot_write_to_is_refused(attribute, reason, local_disk, find):
    path = write(local_disk / 'volume-1')
    set_by = subprocess.run(['chattr', f'+{attribute}', path], capture_output=True, text=True)
    if set_by.returncode:
        pytest.skip(f'no such attribute here: {set_by.stderr}')
    with pytest.raises(exceptions.UnsafeVolumePath, match=f'volume-1 {reason}'):
        find(path)
    subprocess.run(['chattr', f'-{attribute}', path], check=True)
    assert find(path).path == str(path)


def test_a_mount_that_names_another_source_is_another_mount(share, settings, prober, find):
    found = find(write(share / 'volume-1'))
    before = dataclasses.replace(found, mount=dataclasses.replace(
        found.mount, source='nas2:/other'))
    with pytest.raises(exceptions.UnsafeVolumePath, match='another mount'):
        finder.recheck(before, settings, prober=prober)
    finder.recheck(found, settings, prober=prober)
