# SPDX-License-Identifier: Apache-2.0
"""When a request is made again, and what is said meanwhile."""

import pytest

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink import failures
from powervm_fileio_connector.novalink import retry

STARTING = failures.RequestFailed(failures.FailureKind.BUSY, 'starting')


@pytest.fixture
def now(monkeypatch):
    """The time, in a list; no pause is shorter than it may be."""
    now = [100.0]
    monkeypatch.setattr(retry.time, 'monotonic', lambda: now[0])
    monkeypatch.setattr(retry.random, 'uniform', lambda least, most: most)
    return now


@pytest.fixture
def waiting():
    return retry.Waiting('host')


def test_waiting_is_spoken_of_before_a_pause_in_which_two_seconds_pass(
        monkeypatch, now, waiting, caplog):
    def pause(seconds):
        now[0] += seconds

    def call():
        if now[0] < 103.0:
            raise STARTING
        return 'answer'

    monkeypatch.setattr(retry.time, 'sleep', pause)
    assert retry.retry_transient(Deadline(20), call, waiting) == 'answer'
    [sentence] = caplog.messages
    assert sentence.startswith('NovaLink at host does not serve requests (starting); trying again')


def test_who_lost_a_race_tries_again_soon_however_often(now):
    lost = failures.RequestFailed(failures.FailureKind.STALE, 'changed')
    patience = retry.Retry(Deadline(60))
    assert [patience.pause_s(lost) for _ in range(8)][-1] <= 0.1
    assert patience.pause_s(STARTING) == 2.0


def test_the_deadline_of_another_caller_that_passes_is_no_absence_of_the_server(now):
    late = failures.RequestFailed(failures.FailureKind.LATE, 'no answer within 1.0 s')
    patience = retry.Retry(Deadline(60))
    for _ in range(20):
        assert patience.pause_s(late)
        now[0] += 1.0


def test_no_further_try_is_spoken_of_where_the_deadline_leaves_none(now, waiting, caplog):
    patience = retry.Retry(Deadline(1.9))
    while (pause_s := patience.pause_s(STARTING)) is not None:
        now[0] += pause_s
    waiting.failing(STARTING, patience)
    assert caplog.messages == []
