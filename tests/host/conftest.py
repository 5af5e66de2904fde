# SPDX-License-Identifier: Apache-2.0
"""Real mounts, in a mount namespace of our own, so that nothing of them shows on the machine."""

import contextlib
import ctypes
import importlib
import os
import pathlib
import select
import subprocess
import sys

import pytest
import retrying

from powervm_fileio_connector import conf
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.host import table_watch
from tests import fork_server

CLONE_NEWNS = 0x20000


@pytest.fixture(scope='package', autouse=True)
def private_mounts():
    """Leave the machine's mount namespace for one of our own, until the last of these tests."""
    if os.geteuid() != 0:
        pytest.skip('real mounts need root')
    libc = ctypes.CDLL(None, use_errno=True)
    machine = os.open('/proc/thread-self/ns/mnt', os.O_RDONLY)
    root, here = os.open('/', os.O_PATH), os.getcwd()
    try:
        if libc.unshare(CLONE_NEWNS):
            pytest.skip(f'no mount namespace of our own: {os.strerror(ctypes.get_errno())}')
        subprocess.run(['mount', '--make-rprivate', '/'], check=True)
        yield
        probe.close_idle()
        # Fails only while other threads share our root and working directory; ours have ended.
        assert libc.setns(machine, CLONE_NEWNS) == 0, os.strerror(ctypes.get_errno())
        # We are at its root now, which is another than ours was where tests run in a chroot.
        os.fchdir(root)
        os.chroot('.')
        os.chdir(here)
    finally:
        os.close(machine)
        os.close(root)


@pytest.fixture(scope='package')
def forks(private_mounts, command):
    """What commands are forked from sees our mounts."""
    with fork_server.Server(command) as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_remains(private_mounts):
    """No test leaves a child process or an open descriptor behind."""
    probe.close_idle()
    table_watch.close()
    # Other tests of the same run may keep processes of their own, such as a fork server.
    processes = set(children())
    descriptors = set(os.listdir('/proc/self/fd'))
    yield
    probe.close_idle()
    table_watch.close()
    assert set(children()) <= processes
    # A simulator that was stopped may still be closing the last of its connections.
    patience = retrying.Retrying(retry_on_result=bool, stop_max_delay=5000, wait_fixed=10)
    patience.call(lambda: set(os.listdir('/proc/self/fd')) - descriptors)


def children():
    """Return the processes, zombies included, whose parent we are."""
    found = []
    for task in pathlib.Path('/proc/self/task').iterdir():
        with contextlib.suppress(FileNotFoundError):        # a thread that just ended
            found += (task / 'children').read_text().split()
    return found


class Mounter:
    """Mounts, and unmounts all of it at the end."""

    def __init__(self):
        self._mounted = []

    def tmpfs(self, source, place, options='size=64m'):
        """Mount an empty file system whose source is an export's name."""
        return self._mount(place, '-t', 'tmpfs', '-o', options, source)

    def bind(self, source, place, *options):
        return self._mount(place, '--bind', *options, source)

    def remount_read_only(self, place):
        subprocess.run(['mount', '-o', 'remount,bind,ro', place], check=True)

    def adopt(self, place):
        """Unmount at the end what was mounted otherwise."""
        self._mounted.append(place)

    def unmount(self, place):
        subprocess.run(['umount', '--lazy', place], check=True)
        self._mounted.remove(pathlib.Path(place))

    def close(self):
        while self._mounted:
            subprocess.run(['umount', '--lazy', self._mounted.pop()], check=True)

    def _mount(self, place, *arguments):
        place = pathlib.Path(place)
        if not place.exists():
            place.mkdir(parents=True)
        subprocess.run(['mount', *arguments, place], check=True)
        self._mounted.append(place)
        return place


MOST_SILENT_S = 60      # of a FUSE share, before the test fails rather than waits for ever


class FuseShare:
    """A running :mod:`tests.host.fuse_share`."""

    def __init__(self, place, source, subtype='nfs'):
        try:
            importlib.import_module('fuse')
        except (ImportError, OSError) as err:   # OSError: there is no libfuse 2
            pytest.skip(f'no FUSE shares here: {err}')
        place.mkdir(parents=True, exist_ok=True)
        self.place = place
        script = pathlib.Path(__file__).with_name('fuse_share.py')
        self._process = subprocess.Popen(
            [sys.executable, script, place, source, subtype], bufsize=0, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE)
        assert self._said() == 'ready'

    @property
    def pid(self):
        return self._process.pid

    def tell(self, word):
        """Have it behave differently from now on; the words are the module's."""
        self._process.stdin.write(f'{word}\n'.encode())
        while self._said() != 'done':
            pass

    def wait_until_it_holds_a_request(self):
        while self._said() != 'taken':
            pass

    def die(self):
        """End it at once; the kernel then lets go of what waits for it."""
        self._process.kill()
        self._process.wait()

    def close(self):
        self.die()
        subprocess.run(['umount', '--lazy', self.place], check=True)
        self._process.stdin.close()
        self._process.stdout.close()

    def _said(self):
        told = select.select([self._process.stdout], [], [], MOST_SILENT_S)[0]
        assert told, 'the FUSE share holds no request, or does not answer'
        word = self._process.stdout.readline().decode().strip()
        assert word, 'the FUSE share ended'
        return word


@pytest.fixture
def mounter():
    with contextlib.closing(Mounter()) as mounter:
        yield mounter


@pytest.fixture
def fuse_share(tmp_path):
    """Make FUSE shares."""
    with contextlib.ExitStack() as shares:
        def make(source='nas1:/export/a', place=tmp_path / 'fuse', subtype='nfs'):
            return shares.enter_context(contextlib.closing(FuseShare(place, source, subtype)))
        yield make


@pytest.fixture
def prober():
    return probe.Prober(timeout_s=20)


@pytest.fixture
def hasty_prober():
    """A prober that does not wait long for a share that never answers."""
    return probe.Prober(timeout_s=0.4)


@pytest.fixture
def settings(tmp_path):
    return conf.Settings(mount_point_base=(str(tmp_path / 'nova'), str(tmp_path / 'cinder')))


def write(path, size=4096):
    """Make a volume's file."""
    path.write_bytes(b'\1' * size)
    return path
