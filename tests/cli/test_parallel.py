# SPDX-License-Identifier: Apache-2.0
"""Plans of many volumes wait for each other, and are carried out together."""

import io
import os
import signal
import threading

import pytest

from powervm_fileio_connector.cli import parallel
from powervm_fileio_connector.cli.parallel import State
from powervm_fileio_connector.cli.volumes import Volume


class Site:
    """Plans volumes and carries plans out; both can be held."""

    def __init__(self):
        self.batches = []
        self.held = {}
        self.is_carrying_out = threading.Event()
        self.may_carry_out = threading.Event()
        self.may_carry_out.set()

    def hold(self, name):
        self.held[name] = threading.Event()
        return self.held[name]

    def plan(self, volume):
        name = volume.keys['path']
        if name in self.held:
            assert self.held[name].wait(30)
        if name.startswith('bad'):
            raise ValueError(name)
        return name

    def carry_out(self, given):
        self.batches.append(sorted(given))
        self.is_carrying_out.set()
        assert self.may_carry_out.wait(30)
        return [ValueError(one) if one.startswith('refused') else one.upper() for one in given]

    def run(self, *names, stderr=None):
        results = parallel.run_all([Volume({'path': name}) for name in names], self.plan,
                                   self.carry_out, stderr or io.StringIO(), 'Attaching')
        return results, [result.state for result in results.each]


@pytest.fixture
def site():
    return Site()


@pytest.fixture
def patient(monkeypatch):
    monkeypatch.setattr(parallel, '_QUIET_S', 60)
    monkeypatch.setattr(parallel, '_LONG_ENOUGH_S', 60)


def test_plans_that_are_ready_wait_for_the_last_and_go_together(site, patient):
    last = site.hold('c')
    threading.Timer(0.1, last.set).start()
    _, states = site.run('a', 'b', 'c')
    assert site.batches == [['a', 'b', 'c']]
    assert states == [State.DONE] * 3


def test_a_plan_that_takes_long_does_not_hold_up_the_others(site, monkeypatch):
    monkeypatch.setattr(parallel, '_QUIET_S', 0.01)
    last = site.hold('c')
    threading.Thread(target=lambda: site.is_carrying_out.wait(30) and last.set()).start()
    site.run('a', 'b', 'c')
    assert site.batches[-1] == ['c']


def test_a_volume_that_cannot_be_planned_fails_alone(site, patient):
    results, states = site.run('a', 'bad', 'refused')
    assert site.batches == [['a', 'refused']]
    assert states == [State.DONE, State.FAILED, State.FAILED]
    assert [str(result.error) for result in results.each[1:]] == ['bad', 'refused']


def test_a_single_volume_waits_for_nothing(site, patient):
    results, _ = site.run('a')
    assert results.each[0].value == 'A'


def interrupt_once(event):
    """Send Ctrl-C to this process as soon as an event is set."""
    def wait():
        assert event.wait(30)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()


def test_what_was_planned_and_not_carried_out_is_not_tried_after_an_interrupt(site, patient):
    unfinished = site.hold('b')
    planned = threading.Event()
    plan = site.plan

    def plan_and_tell(volume):
        name = plan(volume)
        planned.set()
        return name

    site.plan = plan_and_tell
    interrupt_once(planned)
    results, states = site.run('a', 'b')
    unfinished.set()
    assert results.is_interrupted
    assert states == [State.NOT_TRIED] * 2
    assert site.batches == []


def test_an_interrupt_waits_for_what_is_being_carried_out(site, patient):
    site.may_carry_out.clear()
    interrupt_once(site.is_carrying_out)

    class Terminal(io.StringIO):
        def flush(self):
            if 'waiting for 1 under way' in self.getvalue():
                site.may_carry_out.set()

    results, states = site.run('a', stderr=Terminal())
    assert results.is_interrupted
    assert states == [State.DONE]
