# SPDX-License-Identifier: Apache-2.0
"""One clock for requests and probes."""

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


def test_half_of_a_deadline_keeps_time_for_the_rest(clock):
    deadline = Deadline(10)
    clock.advance(2)
    half = deadline.half()
    assert half.left() == 4
    clock.advance(5)
    assert half.has_passed
    assert deadline.half().left() == 1.5


@pytest.mark.parametrize('seconds', [float('inf'), float('nan'), 1e300])
def test_a_deadline_without_end_is_one_that_can_be_waited_for(clock, seconds):
    assert Deadline(seconds).left() == 365 * 86400


def test_probes_do_not_count_as_time_of_requests(clock):
    deadlines = CallDeadlines(request_timeout_s=1.5, probe_timeout_s=10)
    with deadlines.probing():
        clock.advance(2)
    assert deadlines.requests.left() == 1.5


def raise_after(clock, seconds):
    clock.advance(seconds)
    raise ZeroDivisionError


def test_probes_that_fail_do_not_count_as_time_of_requests_either(clock):
    deadlines = CallDeadlines(request_timeout_s=1.5, probe_timeout_s=10)
    with pytest.raises(ZeroDivisionError), deadlines.probing():
        raise_after(clock, 2)
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
