# SPDX-License-Identifier: Apache-2.0
"""One clock, which can be paused."""

import time

import pytest

from powervm_fileio_connector.deadline import CallDeadlines
from powervm_fileio_connector.deadline import Deadline


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is told to go on."""
    class Clock:
        now = 1000.0

        def advance(self, seconds):
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(time, 'monotonic', lambda: clock.now)
    return clock


def test_time_that_passes_is_not_left(clock):
    deadline = Deadline(10)
    clock.advance(4)
    assert deadline.left() == 6
    assert not deadline.has_passed


def test_a_deadline_that_has_passed_has_nothing_left(clock):
    deadline = Deadline(10)
    clock.advance(11)
    assert deadline.left() == 0
    assert deadline.has_passed


def test_time_in_a_pause_is_not_counted(clock):
    deadline = Deadline(10)
    clock.advance(1)
    with deadline.paused():
        clock.advance(60)
        assert deadline.left() == 9
    clock.advance(2)
    assert deadline.left() == 7


def test_a_pause_in_a_pause_ends_with_the_outer_one(clock):
    deadline = Deadline(10)
    with deadline.paused():
        with deadline.paused():
            clock.advance(5)
        clock.advance(5)
    assert deadline.left() == 10


def test_a_pause_ends_with_an_error_too(clock):
    deadline = Deadline(10)
    with pytest.raises(RuntimeError), deadline.paused():
        raise RuntimeError
    clock.advance(3)
    assert deadline.left() == 7


def test_an_earlier_deadline_keeps_time_for_the_rest(clock):
    deadline = Deadline(10)
    clock.advance(2)
    assert deadline.earlier(3).left() == 5
    assert deadline.earlier(20).has_passed


@pytest.mark.parametrize('seconds', [float('inf'), float('nan'), 1e300])
def test_a_deadline_without_end_is_one_that_can_be_waited_for(clock, seconds):
    assert Deadline(seconds).left() == 365 * 86400


def test_probes_do_not_count_as_time_of_requests(clock):
    deadlines = CallDeadlines(request_timeout_s=1.5, probe_timeout_s=10)
    with deadlines.probing():
        clock.advance(2)
    assert deadlines.requests.left() == 1.5


def test_a_quarter_is_kept_for_the_probe_after_the_answer(clock):
    deadlines = CallDeadlines(request_timeout_s=60, probe_timeout_s=8)
    with deadlines.probing() as deadline:
        assert deadline.left() == 6
        clock.advance(6)
        assert deadline.has_passed
    clock.advance(30)
    with deadlines.probing(is_last=True) as deadline:
        assert deadline.left() == 2


def test_all_probes_of_a_call_share_one_deadline(clock):
    deadlines = CallDeadlines(request_timeout_s=60, probe_timeout_s=8)
    with deadlines.probing():
        clock.advance(4)
    with deadlines.probing() as deadline:
        assert deadline.left() == 2
    with deadlines.probing(is_last=True) as deadline:
        assert deadline.left() == 4
