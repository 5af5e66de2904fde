# SPDX-License-Identifier: Apache-2.0
"""A thread may see other mounts than the rest of its process."""

import concurrent.futures
import ctypes
import dataclasses
import errno
import os
import subprocess
import sys

import pytest

from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector import host
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.volume import VolumeSpec
from tests.host.conftest import CLONE_NEWNS
from tests.host.conftest import write

SPEC = VolumeSpec(export='nas1:/vols', name='volume-1')


def test_a_probe_sees_the_mounts_of_the_thread_that_makes_it(tmp_path, settings, prober):
    def find_where_it_is_mounted():
        assert ctypes.CDLL(None).unshare(CLONE_NEWNS) == 0
        subprocess.run(['mount', '-t', 'tmpfs', 'nas1:/vols', tmp_path], check=True)
        path = write(tmp_path / 'volume-1')
        assert finder.find(SPEC, settings, prober=prober).path == str(path)

    def find_where_it_is_not():
        with pytest.raises(exceptions.ShareNotMounted):
            finder.find(SPEC, settings, prober=prober)
        with pytest.raises(exceptions.ShareNotMounted):
            finder.find(VolumeSpec(path=f'{tmp_path}/volume-1'), settings, prober=prober)

    find_where_it_is_not()
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        thread.submit(find_where_it_is_mounted).result()
    find_where_it_is_not()


IN_CHROOT = """
import os
import sys
from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.volume import VolumeSpec

os.chroot(sys.argv[1])
os.chdir('/')
assert mount_table.table().root is None
settings = conf.Settings(mount_point_base=('/mnt',), trusted_directories=('/data',))
prober = probe.Prober(10)
for path in ('/share/volume-1', '/link/volume-1'):
    assert finder.find(VolumeSpec(path=path), settings,
                       prober=prober).path == '/share/volume-1'
for path, error in (('/data/volume-1', exceptions.UnsafeVolumePath),
                    ('/data/gone', exceptions.ShareNotMounted),
                    ('/nowhere/volume-1', exceptions.ShareNotMounted)):
    try:
        finder.find(VolumeSpec(path=path), settings, prober=prober)
        raise AssertionError('it is found')
    except error as err:
        assert not isinstance(err, exceptions.Retryable), err
"""


def make_root(mounter, root):
    """Make a directory that can be the root directory; skip where Python lies elsewhere."""
    for entry in os.scandir('/'):
        place = root / entry.name
        if entry.is_symlink():
            place.symlink_to(os.readlink(entry))
        elif entry.is_dir():
            mounter.bind(entry.path, place)
    if not (root / sys.executable[1:]).exists():
        pytest.skip('Python lies on a mount of its own')
    mounter.bind('/proc', root / 'proc')


def test_a_chroot_without_an_entry_of_its_root_serves_what_is_mounted(tmp_path, mounter):
    make_root(mounter, tmp_path)
    (tmp_path / 'data').mkdir()
    write(tmp_path / 'data/volume-1')
    write(mounter.tmpfs('nas1:/vols', tmp_path / 'share') / 'volume-1')
    (tmp_path / 'link').symlink_to('share')
    subprocess.run([sys.executable, '-c', IN_CHROOT, tmp_path], check=True, timeout=60)


ON_BTRFS = """
import os
import sys
from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.volume import VolumeSpec

os.chroot(sys.argv[1])
os.chdir('/')
prober = probe.Prober(10)
found = []
for path in ('/vols/v', '/v', '/nested/v', '/below/v', '/top/@vols/v', '/top/@/v'):
    try:
        found.append(finder.find(VolumeSpec(path=path), conf.Settings(), prober=prober).path)
    except exceptions.UnsafeVolumePath as err:
        assert 'root file system' in str(err), err
assert found == ['/vols/v', '/top/@vols/v'], found
"""


def test_a_btrfs_beside_that_of_the_root_directory_holds_volumes(tmp_path, mounter):
    image = mounter.tmpfs('disk', tmp_path / 'disk', 'size=1g') / 'image'
    image.touch()
    os.truncate(image, 256 << 20)
    root, top = tmp_path / 'root', tmp_path / 'top'
    try:
        subprocess.run(['mkfs.btrfs', image], check=True, capture_output=True)
        mounter._mount(top, '-o', 'loop', image)
        for name in ('@', '@vols', '@/nested'):
            subprocess.run(['btrfs', 'subvolume', 'create', top / name], check=True,
                           capture_output=True)
    except (OSError, subprocess.CalledProcessError) as err:
        pytest.skip(f'no btrfs here: {err}')
    for directory in ('@', '@vols', '@/nested'):
        write(top / directory / 'v')
    mounter.bind(top / '@', root)
    make_root(mounter, root)
    mounter.bind(top / '@vols', root / 'vols')
    mounter.bind(top / '@/nested', root / 'below')
    mounter.bind(top, root / 'top')
    subprocess.run([sys.executable, '-c', ON_BTRFS, root], check=True, timeout=60)


@pytest.fixture
def on_power(tmp_path, monkeypatch):
    (tmp_path / 'lparcfg').touch()
    monkeypatch.setattr(conf, 'LPARCFG', str(tmp_path / 'lparcfg'))


@pytest.fixture
def check(prober, on_power):
    """Check a file as on Power, in the host's pid namespace unless told otherwise."""
    def check(found, **options):
        host.require_same_namespace(found, **{
            'prober': prober,
            'host_pid_namespace': os.stat('/proc/self/ns/pid').st_ino} | options)
    return check


@pytest.fixture
def on_private_mount(mounter, tmp_path, settings, prober):
    """A file that only the mount namespace of these tests has."""
    path = write(mounter.tmpfs('nas1:/vols', tmp_path / 'share') / 'volume-1')
    return finder.find(VolumeSpec(path=str(path)), settings, prober=prober)


def test_a_file_that_the_host_does_not_see_is_refused(check, on_private_mount):
    words = 'has not the mounts of PID 1'
    try:
        os.stat('/proc/1/ns/mnt')
    except PermissionError:
        words = 'whether this process has the mounts of PID 1.* cannot be looked at'
    with pytest.raises(exceptions.NotOnNovaLink, match=words):
        check(on_private_mount)


def test_a_root_helper_that_cannot_look_at_pid_1_is_told(check, on_private_mount):
    class Denied(probe.Prober):
        def probe_all(self, requests, deadline=None):
            return [probe.Answer(errno=errno.EACCES, root_helper_failure='no sudo here')
                    for _ in requests]

    with pytest.raises(exceptions.NotOnNovaLink, match='the root helper failed: no sudo here'):
        check(on_private_mount, prober=Denied(20))


def test_a_decoy_at_the_same_path_of_the_host_is_refused(check, on_private_mount, settings, prober,
                                                         tmp_path):
    share = tmp_path / 'share'
    in_host = f'/proc/1/root{share}'
    if not os.path.isdir(in_host):
        pytest.skip('PID 1 has another root')
    write(type(share)(in_host) / 'volume-1')
    with pytest.raises(exceptions.NotOnNovaLink, match='the host has another file'):
        check(on_private_mount)


def test_a_file_that_the_host_sees_too_is_accepted(check, tmp_path, settings, prober):
    if not os.path.isdir(f'/proc/1/root{tmp_path}'):
        pytest.skip('PID 1 has another root')
    trusting = dataclasses.replace(settings, trusted_directories=(str(tmp_path),))
    path = write(tmp_path / 'volume-1')
    check(finder.find(VolumeSpec(path=str(path)), trusting, prober=prober))


def test_a_pid_namespace_of_its_own_cannot_be_checked(check, on_private_mount):
    with pytest.raises(exceptions.NotOnNovaLink, match="host's pid namespace"):
        check(on_private_mount, host_pid_namespace=1)


def test_nothing_is_checked_off_power(check, on_private_mount, monkeypatch):
    monkeypatch.setattr(conf, 'LPARCFG', '/nowhere')
    check(on_private_mount)
