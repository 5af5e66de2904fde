# SPDX-License-Identifier: Apache-2.0
"""One at a time among processes, and each gets its turn."""

import subprocess
import sys
import time

import pytest
from oslo_concurrency import lockutils
from oslo_config import cfg

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink import locks

NAME = 'a-lock'
OTHER = """
import sys
from oslo_concurrency import lockutils
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink import locks
lockutils.set_defaults(sys.argv[1])
with locks.held('a-lock', Deadline(20)):
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
    pytest.fail('nobody waits')


def test_who_lets_go_does_not_get_it_again_before_who_waits(lock_path):
    with locks.held(NAME, deadline()):
        other = subprocess.Popen([sys.executable, '-W', 'ignore', '-c', OTHER, str(lock_path)])
        wait_until_another_process_waits(lock_path)
        assert not (lock_path / 'mark').exists()
    with locks.held(NAME, deadline()):
        assert (lock_path / 'mark').exists()
    assert other.wait(20) == 0


