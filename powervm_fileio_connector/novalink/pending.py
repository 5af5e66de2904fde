# SPDX-License-Identifier: Apache-2.0
"""Group commit: callers hand in edits and wait; one of them carries all that wait.

Whoever finds no leader leads. The leader takes the edits that are due, has them carried out in
one go, and steps down; edits that arrive meanwhile make the next batch. An edit that has to be
tried again goes back to its place and is due after a pause, so that nobody leads, and no lock is
held, while somebody waits.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.mappings.edit import Change
from powervm_fileio_connector.mappings.edit import Edit
from powervm_fileio_connector.novalink import failures
from powervm_fileio_connector.novalink import partitions
from powervm_fileio_connector.novalink import retry

_LEAST_S = 0.1
"""Less time than this is not worth another try."""


class Ticket:
    """One caller's edit, and what became of it."""

    def __init__(self, edit: Edit, adapter: Any, deadline: Deadline) -> None:
        self.edit = edit
        self.adapter = adapter
        self.deadline = deadline
        self.submitted = time.monotonic()
        self.due = 0.0
        self.tries = 0
        self.faults = 0
        self.crowd: int | None = None
        self.sent: Change | None = None
        self.is_in_flight = False
        self.is_settled = False
        self._away_since: float | None = None
        self._failure: failures.RequestFailed | None = None
        self._result: Any = None
        self._error: exceptions.FileIOConnectorError | None = None

    def settle(self, result: Any) -> None:
        """This came of it."""
        self._result, self.is_settled = result, True

    def fail(self, error: exceptions.FileIOConnectorError) -> None:
        """This went wrong; everyone gets an exception of their own."""
        if not self.is_settled:
            self._error = type(error)(**error.kwargs)
            self._error.__cause__ = error.__cause__
            self.is_settled = True

    def try_again(self, failure: failures.RequestFailed, is_away: bool = False) -> None:
        """Make it due again after a pause, or fail if it has been tried for long enough.

        :param is_away: the server does not answer, which is not waited out till the deadline; but
            after a lost answer it is looked at least once what became of the edit
        """
        now = time.monotonic()
        self._failure = failure
        if is_away:
            self._away_since = self._away_since or now
            if self.tries and now - self._away_since > retry.PATIENCE_S:
                self._fail_for(failure)
                return
        pause_s = failures.pause_s(self.tries)
        if pause_s + _LEAST_S > self.deadline.left():
            # A try that the deadline cuts off leaves behind only that nobody knows what it did.
            self._fail_for(failure)
        self.due = now + pause_s
        self.tries += 1

    def give_up(self) -> None:
        """The deadline has passed."""
        if self.is_in_flight:
            failure = failures.RequestFailed(failures.Trouble.LATE, 'the deadline passed')
        else:
            failure = self._failure or failures.RequestFailed(
                failures.Trouble.BUSY, 'the edits of others took until the deadline')
        self._fail_for(failure)

    def _fail_for(self, failure: failures.RequestFailed) -> None:
        if self.sent is not None and failure.trouble in (failures.Trouble.BUSY,
                                                         failures.Trouble.STALE):
            # Busy now, but an earlier try may have been carried out: that is what counts.
            failure = failures.RequestFailed(failures.Trouble.LOST, failure.words)
        self.fail(partitions.as_error(failure, self.adapter))

    def outcome(self) -> Any:
        """Return the result, or raise the error."""
        if self._error is not None:
            raise self._error
        return self._result


@dataclasses.dataclass
class Job:
    """An edit that is part of the POST, and the tickets of those who asked for it."""

    edit: Edit
    change: Change
    tickets: list[Ticket]


class Batches:
    """The edits that wait, and who leads.

    :param carry: called by the leader with its own ticket and the batch, never twice at once; it
        settles tickets, and those that it leaves unsettled make part of a later batch
    """

    def __init__(self, carry: Callable[[Ticket, list[Ticket]], None]) -> None:
        self._carry = carry
        self._changed = threading.Condition()
        self._waiting: list[Ticket] = []
        self._is_led = False

    def submit(self, ticket: Ticket) -> Any:
        """Wait until the edit is carried out, leading where nobody does.

        Ends by the ticket's deadline. An interrupted leader (KeyboardInterrupt) hands over.
        """
        with self._changed:
            self._waiting.append(ticket)
        try:
            while not ticket.is_settled:
                batch = self._lead_or_wait(ticket)
                if batch:
                    self._lead(ticket, batch)
        finally:
            with self._changed:
                if ticket in self._waiting:
                    self._waiting.remove(ticket)
                self._changed.notify_all()
        return ticket.outcome()

    def join(self, batch: list[Ticket]) -> None:
        """Add to a batch that is led what has become due since it was made."""
        with self._changed:
            due = self._due(time.monotonic())
            if set(batch) <= set(due):
                batch[:] = due
                for member in batch:
                    member.is_in_flight = True

    def _lead_or_wait(self, ticket: Ticket) -> list[Ticket] | None:
        """Return a batch with the ticket in it once it can be led; None: there is news."""
        with self._changed:
            now = time.monotonic()
            left = ticket.deadline.left()
            if ticket.is_settled:
                return None
            if left <= 0:
                ticket.give_up()
                return None
            if not self._is_led and ticket.due <= now:
                batch = self._due(now)
                if ticket in batch:
                    self._is_led = True
                    for member in batch:
                        member.is_in_flight = True
                    return batch
            pause = ticket.due - now if ticket.due > now else left
            self._changed.wait(min(left, pause))
            return None

    def _due(self, now: float) -> list[Ticket]:
        """The next batch: what is due, in order, and no more than what each may be carried with."""
        batch: list[Ticket] = []
        room = None
        for ticket in self._waiting:
            if ticket.due > now or ticket.is_settled:
                continue
            if ticket.crowd is not None:
                room = ticket.crowd if room is None else min(room, ticket.crowd)
            if room is not None and len(batch) >= room:
                break
            batch.append(ticket)
        return batch

    def _lead(self, ticket: Ticket, batch: list[Ticket]) -> None:
        try:
            self._carry(ticket, batch)
        finally:
            with self._changed:
                self._is_led = False
                for member in batch:
                    member.is_in_flight = False
                self._waiting = [one for one in self._waiting if not one.is_settled]
                self._changed.notify_all()
