# SPDX-License-Identifier: Apache-2.0
"""Turns at changing a VIOS, among processes that share no lock."""

import types

import pytest

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink import locks
from powervm_fileio_connector.novalink import vios_turn


class Clock:
    """Stands still but for pauses, and for what is said to have passed."""

    def __init__(self):
        self.now, self.pauses = 100.0, []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.pauses.append(seconds)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(vios_turn, 'time', types.SimpleNamespace(
        monotonic=clock.monotonic, sleep=clock.sleep))
    return clock


@pytest.fixture
def no_lock_path(monkeypatch):
    monkeypatch.setattr(locks, 'lock_path', lambda: None)


def change(turn, clock, times, seconds=1.0, idle_s=0.0, deadline_s=60):
    for _ in range(times):
        with turn.taken(Deadline(deadline_s)), turn.posting('etag'):
            clock.now += seconds
        clock.now += idle_s


def test_a_process_that_changes_a_vios_all_the_time_leaves_others_time_to_read_it(
        clock, no_lock_path):
    change(vios_turn.ViosTurn('vios'), clock, 20)
    assert 2 <= len(clock.pauses) <= 4
    assert all(pause > 0.5 for pause in clock.pauses)


def test_a_pause_is_short_however_long_a_change_takes(clock, no_lock_path):
    change(vios_turn.ViosTurn('vios'), clock, 20, seconds=300, deadline_s=600)
    assert 0 < len(clock.pauses) <= 4
    assert max(clock.pauses) <= 2.0


@pytest.mark.parametrize('how', [{'times': 4}, {'times': 5, 'seconds': 30}, {
    'times': 20, 'idle_s': 1.0}, {'times': 20, 'deadline_s': 0.5}],
                         ids=['few', 'few long ones', 'with pauses of its own', 'hasty'])
def test_a_process_that_does_not_makes_no_pause(clock, no_lock_path, how):
    change(vios_turn.ViosTurn('vios'), clock, **how)
    assert clock.pauses == []


def test_a_process_with_a_lock_path_makes_no_pause(clock, monkeypatch, tmp_path):
    monkeypatch.setattr(locks, 'lock_path', lambda: str(tmp_path))
    change(vios_turn.ViosTurn('vios'), clock, 20)
    assert clock.pauses == []
