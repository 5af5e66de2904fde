# SPDX-License-Identifier: Apache-2.0
"""Group commit: callers hand in edits and wait; one of them commits all that wait.

A caller who finds no leader leads: it takes the edits that are due, has them committed together,
and steps down; edits that arrive meanwhile make the next batch. An edit that is tried again goes
back to its place and is due after a pause, so that nobody leads, and no lock is held, while an
edit waits.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import mappings
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.mappings import Change
from powervm_fileio_connector.mappings import Edit
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.novalink import failures
from powervm_fileio_connector.novalink.failures import FailureKind
from powervm_fileio_connector.novalink.failures import RequestFailed
from powervm_fileio_connector.novalink.locks import Signal
from powervm_fileio_connector.novalink.retry import Retry


class PendingEdit:
    """One caller's edit, and its result.

    :ivar due: when it may be committed (``time.monotonic``)
    :ivar batch_limit: how many edits may be in a batch with it at most; None: any number
    :ivar lookup_s: how long a look-up of its LPAR may take, since a shorter one was not enough
    :ivar sent: the change that was sent, with an outcome that is not known
    :ivar faults: how often the server failed over it alone
    :ivar is_lpar_checked: its LPAR was found able to change its I/O, after a refusal
    """

    def __init__(self, edit: Edit, deadline: Deadline) -> None:
        self.edit = edit
        self.deadline = deadline
        self.submitted = time.monotonic()
        self.due = 0.0
        self.batch_limit: int | None = None
        self.lookup_s = 0.0
        self.sent: Change | None = None
        self.faults = 0
        self.is_lpar_checked = False
        self.is_in_flight = False
        self.is_settled = False
        self.retry = Retry(deadline)
        self._failure: RequestFailed | None = None
        self._result: Any = None
        self._error: exceptions.FileIOConnectorError | None = None

    def settle(self, result: Any) -> None:
        """Record the result."""
        self._result, self.is_settled = result, True

    def fail(self, error: exceptions.FileIOConnectorError) -> None:
        """Record the error; every caller gets an exception of its own."""
        if not self.is_settled:
            self._set_error(error)
            self.is_settled = True

    def try_again(self, failure: RequestFailed) -> None:
        """Make it due again after a pause, or fail if it has been tried for long enough."""
        self._failure = failure
        pause_s = self.retry.pause_s(failure)
        if pause_s is None:
            self.fail(failures.as_error(self._with_earlier_tries(failure)))
        else:
            self.due = time.monotonic() + pause_s

    def time_out(self) -> None:
        """Fail, since the deadline has passed."""
        # In this order: a leader says that it is in flight, and then applies it if it is open.
        self.is_settled = True
        if self.is_in_flight:
            failure = RequestFailed(FailureKind.LATE, 'the deadline passed')
        else:
            failure = self._failure or RequestFailed(
                FailureKind.BUSY, 'the edits of others took until the deadline')
        self._set_error(failures.as_error(self._with_earlier_tries(failure)))

    def outcome(self) -> Any:
        """Return the result, or the error."""
        return self._result if self._error is None else self._error

    def _set_error(self, error: exceptions.FileIOConnectorError) -> None:
        self._error = error.copy()
        self._error.__cause__ = error.__cause__

    def _with_earlier_tries(self, failure: RequestFailed) -> RequestFailed:
        """A failure that says what the server may have done over an earlier try, if any."""
        if self.sent is not None and (failure.is_read or failure.kind in failures.NOT_SENT):
            return RequestFailed(FailureKind.LOST, failure.detail)
        return failure


@dataclasses.dataclass
class Job:
    """An edit that is part of a POST, and the callers who asked for it.

    :ivar made: the mappings that it made, but otherwise than asked
    """

    edit: Edit
    change: Change
    pending: list[PendingEdit]
    made: list[MappingRecord] = dataclasses.field(default_factory=list)


Commit = Callable[[PendingEdit, list[PendingEdit]], None]
"""Commits a batch, given the leader's own edit and the batch; settles edits, and those that it
leaves unsettled make part of a later batch."""


class CommitQueue:
    """The edits of one VIOS that wait, and whether a caller leads.

    It needs no lock: its state is in operations that are atomic, see ``locks``.
    """

    def __init__(self) -> None:
        self._signal = Signal()
        self._waiting: list[PendingEdit] = []
        self._leaders: collections.deque[object] = collections.deque()
        self._is_turn_of_others = False

    @property
    def is_led(self) -> bool:
        """Whether a caller leads now."""
        return bool(self._leaders)

    def submit(self, mine: Sequence[PendingEdit], commit: Commit) -> None:
        """Wait until these edits are settled, leading where nobody does.

        Ends by their deadlines. An interrupted leader (KeyboardInterrupt) hands over.
        """
        ticket = object()
        try:
            self._waiting.extend(mine)
            while not all(one.is_settled for one in mine):
                self._lead_or_wait(mine, commit, ticket)
        finally:
            # Also where an interrupt has kept a leader from it.
            has_led = self._step_down(ticket)
            # A leader has removed what it settled, and told the others.
            if self._remove(mine) or has_led:
                self._signal.notify()

    def join(self, batch: list[PendingEdit]) -> None:
        """Add to a batch that is led what has become due since it was made."""
        due = self._due(time.monotonic())
        if set(batch) <= set(due):
            batch[:] = due
            for member in batch:
                member.is_in_flight = True

    def _lead_or_wait(self, mine: Sequence[PendingEdit], commit: Commit, ticket: object) -> None:
        seen, now = self._signal.count, time.monotonic()
        open_ones = [one for one in mine if not one.is_settled]
        for one in open_ones:
            if one.deadline.has_passed:
                one.time_out()
                return
        if any(one.due <= now for one in open_ones) and self._try_to_lead(
                open_ones, commit, ticket):
            return
        wait_s = min(min(one.deadline.left(), one.due - now if one.due > now else 60.0)
                     for one in open_ones)
        self._signal.wait(seen, wait_s)

    def _try_to_lead(self, mine: list[PendingEdit], commit: Commit, ticket: object) -> bool:
        """Commit a batch with one of these edits in it; False: others lead, or go first.

        :param ticket: the caller's, who leads while it is the first
        """
        # Hundreds may wait, and all of them look whenever one is done.
        if self.is_led or not any(one in mine for one in self._due(time.monotonic())):
            return False
        batch: list[PendingEdit] = []
        try:
            self._leaders.append(ticket)
            if self._leaders[0] is not ticket:
                return False
            batch = self._due(time.monotonic())
            leader = next((one for one in batch if one in mine), None)
            if leader is not None:
                for member in batch:
                    member.is_in_flight = True
                commit(leader, batch)
            return leader is not None
        finally:
            # Else those that wait for their LPARs could follow each other for ever.
            self._is_turn_of_others = any(member.lookup_s for member in batch)
            for member in batch:
                member.is_in_flight = False
            self._remove([one for one in batch if one.is_settled])
            self._step_down(ticket)
            self._signal.notify()

    def _step_down(self, ticket: object) -> bool:
        """Let others lead; False: the caller did not."""
        try:
            self._leaders.remove(ticket)
        except ValueError:
            return False
        return True

    def _due(self, now: float) -> list[PendingEdit]:
        """The next batch: what is due, in order, and no more than any of it allows."""
        batch: list[PendingEdit] = []
        limit = None
        due = [one for one in tuple(self._waiting) if one.due <= now and not one.is_settled]
        if self._is_turn_of_others:
            due = [one for one in due if not one.lookup_s] or due
        if any(one.batch_limit is not None for one in due):
            # An edit that names its place must not be overtaken by one that leaves it open.
            due = mappings.in_order(due)
        for pending in due:
            if pending.batch_limit is not None:
                limit = pending.batch_limit if limit is None else min(limit, pending.batch_limit)
            if limit is not None and len(batch) >= limit:
                break
            batch.append(pending)
        return batch

    def _remove(self, done: Sequence[PendingEdit]) -> bool:
        """Remove edits; False: none of them was there."""
        is_any = False
        for pending in done:
            with contextlib.suppress(ValueError):
                self._waiting.remove(pending)
                is_any = True
        return is_any
