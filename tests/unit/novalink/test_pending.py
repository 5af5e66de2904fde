# SPDX-License-Identifier: Apache-2.0
"""Who travels with whom."""

import concurrent.futures
import threading
import time

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink.pending import Batches
from powervm_fileio_connector.novalink.pending import Ticket


def ticket(**fields):
    made = Ticket(None, None, Deadline(20))
    vars(made).update(fields)
    return made


def test_edits_that_arrive_while_the_leader_waits_travel_with_it():
    carried, is_led = [], threading.Event()

    def carry(leader, batch):
        is_led.set()
        while len(batch) < 3 and not leader.deadline.has_passed:
            batches.join(batch)
        carried.append(len(batch))
        for member in batch:
            member.settle(None)

    batches = Batches(carry)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        pool.submit(batches.submit, ticket())
        assert is_led.wait(20)
        for _ in range(2):
            pool.submit(batches.submit, ticket())
    assert carried == [3]


def test_a_batch_that_is_small_on_purpose_stays_so():
    carried = []
    first, second = ticket(crowd=1), ticket()

    def carry(leader, batch):
        if leader is first:
            pool.submit(batches.submit, second)
            while second not in batches._waiting:
                time.sleep(0.001)
        batches.join(batch)
        carried.append(batch[:])
        for member in batch:
            member.settle(None)

    batches = Batches(carry)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        batches.submit(first)
    assert carried == [[first], [second]]
