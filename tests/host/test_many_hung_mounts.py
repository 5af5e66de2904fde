# SPDX-License-Identifier: Apache-2.0
"""Many mounts that hang at once: few processes, one deadline, and the others are answered."""

import contextlib
import ctypes
import json
import os
import subprocess
import sys
import threading
import time

import psutil
import pytest

from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector import host
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.host import health
from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.volume import VolumeSpec
from tests.host.conftest import write

HUNG = 60
MOST_PROCESSES = 20
MOST_THREADS = 5        # the guard's, and a worker's: its own two, and two that probe
TIMEOUT_S = 2.0

MS_NOSUID, MS_NODEV = 2, 4
libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def base(tmp_path):
    return tmp_path / 'mnt'


@pytest.fixture
def settings(base):
    return conf.Settings(mount_point_base=(str(base),))


@pytest.fixture
def mount_hung(base, mounter):
    """Mount FUSE file systems that never answer: nobody reads what the kernel asks for."""
    with contextlib.ExitStack() as stack:
        def mount_hung(name, source):
            place = base / name
            place.mkdir(parents=True)
            daemon = os.open('/dev/fuse', os.O_RDWR | os.O_CLOEXEC)
            stack.callback(os.close, daemon)        # also ends what waits for an answer
            options = f'fd={daemon},rootmode=40000,user_id=0,group_id=0'
            if libc.mount(source.encode(), bytes(place), b'fuse.nfs', MS_NOSUID | MS_NODEV,
                          options.encode()):
                pytest.skip(f'no FUSE here: {os.strerror(ctypes.get_errno())}')
            mounter.adopt(place)
            return place
        yield mount_hung


@pytest.fixture
def hung(mount_hung):
    return [mount_hung(f'hung{number}', f'nas{number}:/vols') for number in range(HUNG)]


@pytest.fixture
def volume(base, mounter):
    """The file of a volume on a share that answers."""
    return write(mounter.tmpfs('nas:/healthy', base / 'healthy') / 'volume-1')


class Watch:
    """The most processes, and the most threads in them, that were there below this one."""

    def __init__(self):
        self.processes = self.threads = 0
        self._ended = threading.Event()

    def __enter__(self):
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._started = time.monotonic()
        return self

    def __exit__(self, *exc_info):
        self.took_s = time.monotonic() - self._started
        self._ended.set()
        self._thread.join()

    def _run(self):
        is_last = False
        while not is_last:
            is_last = self._ended.wait(0.01)        # what is idle at the end was there, too
            threads = []
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    threads.append(process.num_threads())
            self.processes = max(self.processes, len(threads))
            self.threads = max(self.threads, sum(threads))


@contextlib.contextmanager
def bounded():
    """Fail where a call takes too many processes or too long."""
    with Watch() as watch:
        yield watch
    assert 1 <= watch.processes <= MOST_PROCESSES
    assert watch.took_s < TIMEOUT_S + 1


def test_files_of_a_healthy_mount_are_listed_beside_many_that_hang(hung, volume, settings):
    with bounded():
        assert host.list_files(None, settings, prober=probe.Prober(TIMEOUT_S)) == [str(volume)]


def test_mounts_that_hang_are_told_from_those_that_answer(hung, volume):
    with bounded():
        healths = health.of_mounts([mount for mount in mount_table.table()
                                    if str(volume.parent.parent) in mount.mount_point],
                                   probe.Prober(TIMEOUT_S))
    states = [one.state for one in healths]
    assert (states.count(health.MountState.HUNG), states.count(health.MountState.HEALTHY)) == (
        HUNG, 1)


def test_a_volume_of_a_healthy_mount_is_found_whichever_others_hang(hung, volume, settings):
    with bounded():
        found = finder.find(VolumeSpec(export='nas:/healthy', name='volume-1'), settings,
                            prober=probe.Prober(TIMEOUT_S))
    assert found.path == str(volume)


def test_paths_on_a_healthy_mount_are_resolved_beside_many_that_hang(hung, volume):
    paths = [f'{place}/volume-1' for place in hung]
    with bounded():
        assert str(volume) in host.resolved_paths(
            [*paths, str(volume)], prober=probe.Prober(TIMEOUT_S))


def test_a_hung_share_that_is_mounted_many_times_holds_one_probe(
        mount_hung, mounter, base, volume, settings):
    place = mount_hung('first', 'nas1:/vols')
    for number in range(150):
        mounter.bind(place, base / f'again{number}')
    prober = probe.Prober(TIMEOUT_S)
    mounts = [mount for mount in mount_table.table() if mount.source == 'nas1:/vols']
    assert len(mounts) == 151
    spec = VolumeSpec(export='nas1:/vols', name='volume-1')
    with bounded() as watch:
        assert host.list_files(None, settings, prober=prober) == [str(volume)]
    assert watch.threads <= MOST_THREADS
    with bounded() as watch:
        assert host.list_files(spec, settings, prober=prober) == []
    assert watch.threads <= MOST_THREADS
    with bounded() as watch, pytest.raises(exceptions.MountNotResponding):
        finder.find(spec, settings, prober=prober)
    assert watch.threads <= MOST_THREADS
    with bounded() as watch:
        resolved = host.resolved_paths(host.candidate_paths(spec, settings), prober=prober)
    assert resolved == (f'{base}/{spec.export_hash}/volume-1',)
    assert watch.threads <= MOST_THREADS
    with bounded() as watch:
        assert {one.state for one in health.of_mounts(mounts, prober)} == {health.MountState.HUNG}
    assert watch.threads <= MOST_THREADS


CALLS = """
import concurrent.futures, json, sys, time
patched = sys.argv[1] == 'eventlet'
if patched:
    import eventlet
    eventlet.monkey_patch()
from powervm_fileio_connector import conf, exceptions
from powervm_fileio_connector.host import finder, probe
from powervm_fileio_connector.volume import VolumeSpec
volume, timeout_s, hung = sys.argv[2], float(sys.argv[3]), sys.argv[4:]
settings = conf.Settings()

def find(path):
    started = time.monotonic()
    try:
        finder.find(VolumeSpec(path=path), settings, prober=probe.Prober(timeout_s))
        found = 'found'
    except exceptions.MountNotResponding:
        found = 'hung'
    return found, time.monotonic() - started

find(volume)
paths = [f'{place}/volume-1' for place in hung]
paths[20:20] = paths[40:40] = [volume] * 5
paths += [volume] * 5
with concurrent.futures.ThreadPoolExecutor(len(paths)) as pool:
    started = time.monotonic()
    told = list(pool.map(find, paths))
print(json.dumps([[path == volume, *one] for path, one in zip(paths, told)]))
"""


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('mode', ['native', 'eventlet'])
def test_calls_on_many_hung_shares_at_once_share_few_processes(mode, hung, volume):
    pytest.importorskip('eventlet')
    timeout_s = 4.0
    with Watch() as watch:
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', CALLS, mode, volume, str(timeout_s), *hung],
            text=True, stdout=subprocess.PIPE, check=True, timeout=120)
    told = json.loads(done.stdout)
    assert [found for is_healthy, found, _ in told if is_healthy] == ['found'] * 15
    assert [found for is_healthy, found, _ in told if not is_healthy] == ['hung'] * HUNG
    # One deadline, not two. What 75 calls do meanwhile takes seconds where others compute as well.
    assert max(took_s for _, _, took_s in told) < 2 * timeout_s
    assert watch.processes - 1 <= MOST_PROCESSES


def test_more_probes_than_one_process_makes_take_few_processes(hung, volume):
    requests = [probe.ListFiles(f'{place}/{number}') for place in hung for number in range(20)]
    with bounded():
        *others, healthy = probe.Prober(TIMEOUT_S).probe_all(
            [*requests, probe.ListFiles(str(volume.parent))])
    assert all(answer.is_hung for answer in others)
    assert healthy.facts.names == ('volume-1',)
