# SPDX-License-Identifier: Apache-2.0
"""One at a time among processes, and each gets its turn."""

import concurrent.futures
import subprocess
import sys
import threading
import time

import pytest
from oslo_concurrency import lockutils
from oslo_config import cfg

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink import locks
from tests.waiting import wait_until

NAME = 'a-lock'
OTHER = """
import sys
from oslo_concurrency import lockutils
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink import locks
lockutils.set_defaults(sys.argv[1])
with locks.FileLock('a-lock').held(Deadline(20)):
    open(sys.argv[1] + '/mark', 'x').close()
"""


def deadline(seconds=20):
    return Deadline(seconds)


@pytest.fixture
def lock_path(tmp_path):
    cfg.CONF.set_override('lock_path', str(tmp_path), group='oslo_concurrency')
    yield tmp_path
    cfg.CONF.clear_override('lock_path', group='oslo_concurrency')


def wait_until_another_process_waits(lock_path):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        place = lockutils.external_lock(f'{NAME}-next', lock_path=str(lock_path))
        if not place.acquire(blocking=False):
            return
        place.release()
        time.sleep(0.01)
    pytest.fail('no other process waits')


def test_a_process_does_not_get_a_lock_again_before_one_that_waits_for_it(lock_path):
    with locks.FileLock(NAME).held(deadline()):
        other = subprocess.Popen([sys.executable, '-W', 'ignore', '-c', OTHER, str(lock_path)])
        wait_until_another_process_waits(lock_path)
        assert not (lock_path / 'mark').exists()
    with locks.FileLock(NAME).held(deadline()):
        assert (lock_path / 'mark').exists()
    assert other.wait(20) == 0


def test_a_process_that_keeps_the_lock_is_waited_for_only_once(lock_path, monkeypatch):
    monkeypatch.setattr(locks, 'FILE_LOCK_WAIT_S', 0.2)
    keeper = subprocess.Popen(
        [sys.executable, '-W', 'ignore', '-c', OTHER.replace(", 'x').close()", ", 'x').close(); "
                                                             "input()"), str(lock_path)],
        stdin=subprocess.PIPE)
    wait_until((lock_path / 'mark').exists)
    lock, started = locks.FileLock(NAME), time.monotonic()
    for _ in range(20):
        with lock.held(deadline()):
            pass
    assert 0.2 <= time.monotonic() - started < 2
    keeper.communicate(b'\n')


def test_threads_get_a_lock_in_the_order_in_which_they_asked():
    lock, order = locks.FairLock(), []

    def take(number):
        with lock.held(20) as is_held:
            order.append((number, is_held))

    with concurrent.futures.ThreadPoolExecutor(8) as pool, lock.held(20):
        for number in range(8):
            pool.submit(take, number)
            wait_until(lambda number=number: len(lock._queue) >= number + 2)
    assert order == [(number, True) for number in range(8)]


def test_a_lock_is_waited_for_no_longer_than_allowed():
    lock = locks.FairLock()
    with lock.held(1) as first, lock.held(0.05) as second:
        assert (first, second) == (True, False)
    with lock.held(1) as third:
        assert third


def test_a_thread_that_waits_for_a_change_is_woken_by_it(monkeypatch):
    monkeypatch.setattr(locks, '_NATIVE_WAIT_S', 600.0)
    signal = locks.Signal()
    thread = threading.Thread(target=signal.wait, args=(signal.count, 600.0), daemon=True)
    thread.start()
    wait_until(lambda: signal._condition._waiters)
    signal.notify()
    thread.join(60)
    assert not thread.is_alive()
