# SPDX-License-Identifier: Apache-2.0
"""Probes of shares with a deadline, made by helper processes that are killed when it passes.

A helper (:mod:`powervm_fileio_connector.host.probe.worker`) makes one probe, or many at the same
time. No lock is held at any time, so a probe that hangs delays nobody else.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import selectors
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host.probe import helpers
from powervm_fileio_connector.host.probe import root_helper as root_helper_module

Request = Mapping[str, Any]

_MOST_IN_ONE = 64       # probes that one helper makes at the same time
_HEADSTART_S = 1.0      # for the first of several equally good probes

# The caller's own rights end here; its root helper's may not.
NO_ACCESS = (errno.EACCES, errno.EPERM)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one probe found; :mod:`powervm_fileio_connector.host.probe.worker` says which facts.

    :ivar root_note: how the root helper was asked for what this user may not see, in words that
        follow the error's
    """

    facts: Mapping[str, Any]
    took_s: float
    root_note: str = ''

    @property
    def is_hung(self) -> bool:
        """Whether the deadline passed without an answer."""
        return bool(self.facts.get('is_hung'))

    @property
    def errno(self) -> int | None:
        """The file system's error, if it was one."""
        return self.facts.get('errno')


class Prober:
    """Probes shares on behalf of one connector.

    :param timeout_s: seconds that probes may take together, unless they are given a deadline
    :param execute: os-brick's ``execute``, for probes that this user has no right to
    :param root_helper: handed to ``execute``
    """

    def __init__(self, timeout_s: float, execute: Callable[..., Any] | None = None,
                 root_helper: str | None = None) -> None:
        self.timeout_s = timeout_s
        self._execute = execute
        self._root_helper = root_helper

    def deadline(self) -> Deadline:
        """Return the time that probes which start now may take."""
        return Deadline(self.timeout_s)

    def look(self, request: Request, deadline: Deadline | None = None) -> Answer:
        """Make one probe; ends by the deadline, or 0.5 s later if the kernel holds the helper."""
        return self.look_each([request], deadline)[0]

    def look_each(self, requests: Sequence[Request],
                  deadline: Deadline | None = None) -> list[Answer]:
        """Make several probes at the same time and return the answers in the same order.

        However many hang, the others are answered.
        """
        deadline = self.deadline() if deadline is None else deadline
        started = time.monotonic()
        answers: dict[int, Answer] = {}
        with _InFlight() as running:
            numbered = list(enumerate(requests))
            for first in range(0, len(numbered), _MOST_IN_ONE):
                running.start(numbered[first:first + _MOST_IN_ONE])
            while running and not deadline.has_passed:
                answers.update(running.wait(deadline))
            hung = _hung(time.monotonic() - started)    # without the time that killing takes
        return [self._as_root_if_denied(request, answers.get(index, hung), deadline)
                for index, request in numbered]

    def look_first(self, requests: Sequence[Request], is_good: Callable[[Answer], bool],
                   deadline: Deadline | None = None) -> tuple[int, Answer]:
        """Make probes of which any will do, and return the first good one with its index.

        The first request has a headstart, so that the answer is the same each time while all is
        well. Where none is good, the first one's answer is returned.
        """
        deadline = self.deadline() if deadline is None else deadline
        started = time.monotonic()
        answers: dict[int, Answer] = {}
        others = list(enumerate(requests))[1:]
        until = Deadline(min(deadline.left(), _HEADSTART_S, self.timeout_s / 4))
        with _InFlight() as running:
            running.start([(0, requests[0])])
            while running and not deadline.has_passed:
                for index, answer in running.wait(until if others else deadline):
                    answer = self._as_root_if_denied(requests[index], answer, deadline)
                    if is_good(answer):
                        return index, answer
                    answers[index] = answer
                if others and (answers or until.has_passed):
                    for first in range(0, len(others), _MOST_IN_ONE):
                        running.start(others[first:first + _MOST_IN_ONE])
                    others = []
            hung = _hung(time.monotonic() - started)
        return 0, answers.get(0, hung)

    def _as_root_if_denied(self, request: Request, answer: Answer, deadline: Deadline) -> Answer:
        """Make a probe that was denied to this user once more, through the root helper."""
        if answer.errno not in NO_ACCESS or self._execute is None:
            return answer
        started = time.monotonic()
        try:
            output = root_helper_module.ask(self._execute, self._root_helper, request, deadline)
            facts = {'is_hung': True} if output is None else _facts(output)
        except root_helper_module.RootHelperFailed as err:
            return dataclasses.replace(answer, root_note=f', and the root helper failed: {err}')
        return Answer(facts, time.monotonic() - started, ', also through the root helper')


def close_idle() -> None:
    """End all idle helpers. Safe at any time, from any thread."""
    helpers.close_idle()


class _InFlight:
    """Probes that are under way at the same time; those left at its end are killed."""

    def __init__(self) -> None:
        # poll() needs no descriptor of its own; where eventlet has taken it away, its select does.
        self._selector = getattr(selectors, 'PollSelector', selectors.SelectSelector)()
        self._running: dict[helpers.Helper, dict[int, Request]] = {}
        self._started: dict[helpers.Helper, float] = {}

    def __enter__(self) -> _InFlight:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._selector.close()
        helpers.end(list(self._running))

    def __bool__(self) -> bool:
        return bool(self._running)

    def start(self, requests: Sequence[tuple[int, Request]]) -> None:
        """Hand probes to an idle helper, or a new one."""
        # Those that are in use here come back only when they are waited for.
        helper = helpers.take(may_wait=not self._running)
        self._running[helper] = dict(requests)
        self._started[helper] = time.monotonic()
        self._selector.register(helper.socket, selectors.EVENT_READ, helper)
        helper.send({'op': 'many', 'requests': requests} if len(requests) > 1
                    else requests[0][1])

    def wait(self, until: Deadline) -> Iterator[tuple[int, Answer]]:
        """Wait for some probes to end and return them; none when the time is up."""
        for key, _ in self._selector.select(until.left()):
            helper = key.data
            try:
                lines = helper.receive()
            except OSError:
                self._replace(helper)
                continue
            waiting = self._running[helper]
            took_s = time.monotonic() - self._started[helper]
            for facts in map(_facts, lines):
                index = facts.pop('index', None)
                waiting.pop(index := next(iter(waiting)) if index is None else index)
                yield index, Answer(facts, took_s)
            if not waiting:
                self._release(helper)
                helpers.give_back(helper)

    def _replace(self, helper: helpers.Helper) -> None:
        """Make the probes of a helper that ended by itself once more, with a new one."""
        requests = self._release(helper)
        helpers.end([helper])
        if not helper.was_idle:
            raise exceptions.FileIOConnectorError(
                reason='the share probe process exited unexpectedly')
        helpers.close_idle()    # the others are as old
        self.start(list(requests.items()))

    def _release(self, helper: helpers.Helper) -> dict[int, Request]:
        self._selector.unregister(helper.socket)
        del self._started[helper]
        return self._running.pop(helper)


def _facts(line: bytes | str) -> dict[str, Any]:
    facts = json.loads(line)
    if 'broken' in facts:
        raise exceptions.FileIOConnectorError(
            reason='the share probe process failed:\n' + facts['broken'])
    return facts


def _hung(took_s: float) -> Answer:
    return Answer({'is_hung': True}, took_s)
