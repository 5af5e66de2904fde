# SPDX-License-Identifier: Apache-2.0
"""When a request is made again, and what is said meanwhile."""

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink import failures
from powervm_fileio_connector.novalink import retry


def test_waiting_is_spoken_of_before_a_pause_in_which_two_seconds_pass(monkeypatch):
    now, told = [100.0], []

    def pause(seconds):
        now[0] += seconds

    def call():
        if now[0] < 103.0:
            raise failures.RequestFailed(failures.FailureKind.BUSY, 'starting')
        return 'answer'

    monkeypatch.setattr(retry.time, 'monotonic', lambda: now[0])
    monkeypatch.setattr(retry.time, 'sleep', pause)
    monkeypatch.setattr(retry.random, 'uniform', lambda least, most: most)
    waiting = retry.Waiting('host')
    waiting.tell = told.append
    assert retry.retry_transient(Deadline(20), call, waiting) == 'answer'
    [sentence] = told
    assert sentence.startswith('NovaLink at host does not serve requests (starting); trying again')
