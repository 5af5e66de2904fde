# SPDX-License-Identifier: Apache-2.0
"""Which edits are committed together."""

import concurrent.futures
import sys

import pytest

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.novalink.pending import CommitQueue
from powervm_fileio_connector.novalink.pending import PendingEdit
from tests.waiting import wait_until


def pending(**fields):
    made = PendingEdit(RemoveMapping('lpar', paths=('/a',)), Deadline(20))
    vars(made).update(fields)
    return made


def settle_all(batch):
    for member in batch:
        member.settle(None)


def test_edits_that_arrive_while_the_leader_waits_join_its_batch():
    batches, queue = [], CommitQueue()
    others = [pending(), pending()]

    def commit(leader, batch):
        for other in others:
            pool.submit(queue.submit, [other], commit)
        while len(batch) < 3 and not leader.deadline.has_passed:
            queue.join(batch)
        batches.append(len(batch))
        settle_all(batch)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        queue.submit([pending()], commit)
    assert batches == [3]


def test_a_batch_that_is_small_on_purpose_stays_so():
    batches, queue = [], CommitQueue()
    first, second = pending(batch_limit=1), pending()

    def commit(leader, batch):
        if leader is first:
            pool.submit(queue.submit, [second], commit)
            wait_until(lambda: second in queue._waiting)
        queue.join(batch)
        batches.append(batch[:])
        settle_all(batch)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        queue.submit([first], commit)
    assert batches == [[first], [second]]


def test_edits_that_are_submitted_together_make_one_batch():
    batches, queue = [], CommitQueue()

    def commit(leader, batch):
        batches.append(len(batch))
        settle_all(batch)

    queue.submit([pending() for _ in range(40)], commit)
    assert batches == [40]


def test_an_edit_whose_deadline_has_passed_is_not_committed():
    late = PendingEdit(None, Deadline(0))
    CommitQueue().submit([late], None)
    assert late.is_settled


def test_an_edit_is_withdrawn_before_its_caller_is_told_that_it_was_not_sent():
    class Watched(PendingEdit):
        @property
        def is_in_flight(self):
            seen.append(self.is_settled)
            return False

        @is_in_flight.setter
        def is_in_flight(self, value):
            pass

    seen = []
    Watched(None, Deadline(0)).time_out()
    assert seen == [True]


def test_edits_whose_lpars_are_not_answered_for_do_not_follow_each_other_for_ever():
    batches, queue = [], CommitQueue()
    slow = [pending(batch_limit=1, lookup_s=20.0) for _ in range(3)]
    other = pending()

    def commit(leader, batch):
        if leader is slow[0]:
            pool.submit(queue.submit, [other], commit)
            wait_until(lambda: other in queue._waiting)
        batches.append(batch[:])
        settle_all(batch)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        queue.submit(slow, commit)
    assert batches == [[slow[0]], [other], [slow[1]], [slow[2]]]


_LINES = sorted({line - CommitQueue._try_to_lead.__code__.co_firstlineno
                 for *_, line in CommitQueue._try_to_lead.__code__.co_lines() if line})


@pytest.mark.parametrize('line', _LINES[1:])
def test_others_can_lead_after_an_interrupt_at_any_line(line):
    queue, code = CommitQueue(), CommitQueue._try_to_lead.__code__
    hits = []

    def tracer(frame, event, arg):
        if frame.f_code is not code:
            return None
        if event == 'line' and frame.f_lineno == code.co_firstlineno + line and not hits:
            hits.append(line)
            raise KeyboardInterrupt
        return tracer

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        queue.submit([pending()], lambda leader, batch: settle_all(batch))
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    assert not queue.is_led
    other = PendingEdit(None, Deadline(0.5))
    queue.submit([other], lambda leader, batch: [one.settle('done') for one in batch])
    assert other.outcome() == 'done'
