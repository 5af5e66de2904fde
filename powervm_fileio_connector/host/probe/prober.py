# SPDX-License-Identifier: Apache-2.0
"""Looks at shares with a deadline, made by helper processes that are killed when they don't answer.

A helper (:mod:`powervm_fileio_connector.host.probe.worker`) makes one look at a time. No lock is
held at any time, so a look that hangs delays nobody else.
"""

from __future__ import annotations

import collections
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

from oslo_log import log as logging

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host.probe import helpers

LOG = logging.getLogger(__name__)

Request = Mapping[str, Any]

_MOST_AT_ONCE = 16      # looks that one call has under way
_HEADSTART_S = 1.0      # for the first of several equally good looks

# The caller's own rights end here; its root helper's may not.
NO_ACCESS = (errno.EACCES, errno.EPERM)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one look brought; :mod:`powervm_fileio_connector.host.probe.worker` says which facts."""

    facts: Mapping[str, Any]
    took_s: float

    @property
    def is_hung(self) -> bool:
        """Whether the deadline passed without an answer."""
        return bool(self.facts.get('is_hung'))

    @property
    def errno(self) -> int | None:
        """The file system's error, if it was one."""
        return self.facts.get('errno')


class Prober:
    """Takes looks at shares on behalf of one connector.

    :param timeout_s: seconds that looks may take together, unless they are given a deadline
    :param execute: os-brick's ``execute``, for looks that the caller itself has no right to
    :param root_helper: handed to ``execute``
    """

    def __init__(self, timeout_s: float, execute: Callable[..., Any] | None = None,
                 root_helper: str | None = None) -> None:
        self.timeout_s = timeout_s
        self._execute = execute
        self._root_helper = root_helper

    def deadline(self) -> Deadline:
        """Return the time that looks which start now may take."""
        return Deadline(self.timeout_s)

    def look(self, request: Request, deadline: Deadline | None = None) -> Answer:
        """Take one look; ends by the deadline, or 0.5 s later if the kernel holds the helper."""
        return self.look_each([request], deadline)[0]

    def look_each(self, requests: Sequence[Request],
                  deadline: Deadline | None = None) -> list[Answer]:
        """Take several looks at the same time and return the answers in the same order."""
        deadline = self.deadline() if deadline is None else deadline
        answers = [_hung(self.timeout_s)] * len(requests)
        todo = collections.deque(enumerate(requests))
        with _Round() as running:
            while (todo or running) and not (running and deadline.has_passed):
                while todo and len(running) < _MOST_AT_ONCE:
                    running.start(*todo.popleft())
                for index, answer in running.wait(deadline):
                    answers[index] = answer
        return [self._as_root_if_denied(request, answer, deadline)
                for request, answer in zip(requests, answers, strict=True)]

    def look_first(self, requests: Sequence[Request], is_good: Callable[[Answer], bool],
                   deadline: Deadline | None = None) -> tuple[int, Answer]:
        """Take looks of which any will do, and return the first good one with its index.

        The first request has a headstart, so that the answer is the same each time while all is
        well. Where none is good, the first one's answer is returned.
        """
        deadline = self.deadline() if deadline is None else deadline
        answers = {0: _hung(self.timeout_s)}
        others = list(enumerate(requests))[1:]
        headstart = min(_HEADSTART_S, self.timeout_s / 4)
        with _Round() as running:
            running.start(0, requests[0])
            until = Deadline(min(deadline.left(), headstart)) if others else deadline
            while running:
                for index, answer in running.wait(until):
                    answer = self._as_root_if_denied(requests[index], answer, deadline)
                    if is_good(answer):
                        return index, answer
                    answers[index] = answer
                if others:
                    for index, request in others:
                        running.start(index, request)
                    others, until = [], deadline
                elif deadline.has_passed:
                    break
        return 0, answers[0]

    def _as_root_if_denied(self, request: Request, answer: Answer, deadline: Deadline) -> Answer:
        """Take a look that was denied to us once more, through the root helper."""
        if answer.errno not in NO_ACCESS or self._execute is None:
            return answer
        started = time.monotonic()
        once = dict(request, timeout_s=deadline.left())
        try:
            output, _ = self._execute(*helpers.command(), '--once', json.dumps(once),
                                      run_as_root=True, root_helper=self._root_helper)
            facts = _facts(output)
        except Exception as err:  # noqa: BLE001  whatever execute raises, we know what was denied
            LOG.warning('The root helper could not look at a share either: %s', err)
            return answer
        return Answer(facts, time.monotonic() - started)


def close_idle() -> None:
    """End all idle helpers. Safe at any time, from any thread."""
    helpers.close_idle()


class _Round:
    """Looks that are under way at the same time; those left at its end are killed."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._running: dict[helpers.Helper, tuple[int, Request, float]] = {}

    def __enter__(self) -> _Round:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._selector.close()
        helpers.end(list(self._running))

    def __len__(self) -> int:
        return len(self._running)

    def start(self, index: int, request: Request) -> None:
        """Hand a look to an idle helper, or a new one."""
        # Those that this very round has handed out come back only when it waits for them.
        helper = helpers.take(may_wait=not self._running)
        self._running[helper] = index, request, time.monotonic()
        self._selector.register(helper.socket, selectors.EVENT_READ, helper)
        helper.send(request)

    def wait(self, until: Deadline) -> Iterator[tuple[int, Answer]]:
        """Wait for some looks to end and return them; none when the time is up."""
        for key, _ in self._selector.select(until.left()):
            helper = key.data
            try:
                line = helper.receive()
            except OSError:
                self._replace(helper)
                continue
            if line is not None:
                index, _, started = self._release(helper)
                helpers.give_back(helper)
                yield index, Answer(_facts(line), time.monotonic() - started)

    def _replace(self, helper: helpers.Helper) -> None:
        """Take the look of a helper that ended by itself once more, with a new one."""
        index, request, _ = self._release(helper)
        helpers.end([helper])
        if not helper.was_idle:
            raise exceptions.FileIOConnectorError(
                reason='the process that looks at shares ended by itself')
        helpers.close_idle()    # the others are as old
        self.start(index, request)

    def _release(self, helper: helpers.Helper) -> tuple[int, Request, float]:
        self._selector.unregister(helper.socket)
        return self._running.pop(helper)


def _facts(line: bytes | str) -> dict[str, Any]:
    facts = json.loads(line)
    if 'broken' in facts:
        raise exceptions.FileIOConnectorError(
            reason='the process that looks at shares failed:\n' + facts['broken'])
    return facts


def _hung(took_s: float) -> Answer:
    return Answer({'is_hung': True}, took_s)


