# SPDX-License-Identifier: Apache-2.0
"""One clock, which can be paused."""

import time

import pytest

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
