# SPDX-License-Identifier: Apache-2.0
"""Probes of shares by a deadline; a share probe process that does not answer by then is killed.

A process (:mod:`powervm_fileio_connector.host.probe.worker`) makes one probe, or many at the same
time. No lock is held at any time, so a probe that hangs delays nobody else.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import select
import time
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host.probe import helper as helper_module
from powervm_fileio_connector.host.probe import pool
from powervm_fileio_connector.host.probe import protocol
from powervm_fileio_connector.host.probe import root_helper as root_helper_module
from powervm_fileio_connector.host.probe.helper import Helper
from powervm_fileio_connector.host.probe.helper import SharedHelper
from powervm_fileio_connector.host.probe.protocol import Answer
from powervm_fileio_connector.host.probe.protocol import Facts
from powervm_fileio_connector.host.probe.protocol import Request

_MOST_IN_ONE = 64       # shares that one helper probes at the same time, but for what follows
_MOST_WAIT_S = 3600.0   # that can be asked for at once
_HEADSTART_S = 1.0      # for the first of several equally good probes
_MOST_BYTES = 100_000   # that the root helper is told at once: Linux takes 128 KiB in an argument

_NO_TIME: Answer[Any] = Answer(failure='the time for all probes of one call (probe_timeout_s) was '
                                       'used up by others')

# The caller's own rights end here; its root helper's may not.
NO_ACCESS = (errno.EACCES, errno.EPERM)


class Prober:
    """Probes shares on behalf of one connector.

    :param timeout_s: seconds that the probes of a call may take together, unless they are given a
        deadline
    :param execute: os-brick's ``execute``, for probes that are denied to this process
    :param root_helper: handed to ``execute``
    """

    def __init__(self, timeout_s: float, execute: Callable[..., Any] | None = None,
                 root_helper: str | None = None) -> None:
        self.timeout_s = timeout_s
        self._execute = execute
        self.root_helper = root_helper

    def deadline(self) -> Deadline:
        """Return the time that probes which start now may take."""
        return Deadline(self.timeout_s)

    def probe(self, request: Request[Facts], deadline: Deadline | None = None) -> Answer[Facts]:
        """Make one probe; ends by the deadline, or 0.5 s later if the kernel holds the process."""
        return self.probe_all([request], deadline)[0]

    def probe_all(self, requests: Sequence[Request[Facts]],
                  deadline: Deadline | None = None) -> list[Answer[Facts]]:
        """Make several probes at the same time and return the answers in the same order.

        However many hang, the others are answered.
        """
        deadline = self.deadline() if deadline is None else deadline
        if deadline.has_passed:
            return [_NO_TIME] * len(requests)
        running = _InFlight(deadline)
        try:
            running.start(dict(enumerate(requests)))
            answers = {}
            while running.count and not deadline.has_passed:
                answers.update(running.wait(deadline))
        finally:
            if running.helpers:
                pool.end(list(running.helpers))
        denied = {index: answer for index, answer in answers.items() if _is_denied(answer)}
        if denied:
            answers.update(self._as_root(requests, denied, deadline))
        if len(answers) < len(requests):
            hung = _hung(deadline)
            return [answers.get(index, hung) for index in range(len(requests))]
        return list(map(answers.__getitem__, range(len(requests))))

    def probe_any(self, requests: Sequence[Request[Facts]],
                  is_good: Callable[[Answer[Facts]], bool],
                  deadline: Deadline | None = None) -> tuple[int, Answer[Facts]]:
        """Make probes of which any will do, and return the first good answer with its index.

        The first request has a head start, so that the answer is the same each time while all is
        well. Where none is good, the first one's answer is returned.
        """
        deadline = self.deadline() if deadline is None else deadline
        if deadline.has_passed:
            return 0, _NO_TIME
        answers: dict[int, Answer[Facts]] = {}
        others = dict(list(enumerate(requests))[1:])
        until = Deadline(min(deadline.left() / 4, _HEADSTART_S)) if others else deadline
        running = _InFlight(deadline)
        try:
            running.start({0: requests[0]})
            while running.count and not deadline.has_passed:
                for index, answer in running.wait(until).items():
                    if _is_denied(answer):
                        answer = self._as_root(requests, {index: answer}, deadline)[index]
                    if is_good(answer):
                        return index, answer
                    answers[index] = answer
                if others and (answers or until.has_passed):
                    # What one mount of a share does not answer, another would not either.
                    hung = None if answers else requests[0].share
                    running.start({index: request for index, request in others.items()
                                   if hung is None or request.share != hung})
                    others, until = {}, deadline
        finally:
            if running.helpers:
                pool.end(list(running.helpers))
        return 0, answers.get(0) or _hung(deadline)

    def _as_root(self, requests: Sequence[Request[Facts]], denied: Mapping[int, Answer[Facts]],
                 deadline: Deadline) -> Mapping[int, Answer[Facts]]:
        """Make probes that were denied to this process once more, through the root helper."""
        if self._execute is None:
            return denied
        started = time.monotonic()
        message = _message({index: requests[index] for index in denied})
        if len(denied) > 1 and len(json.dumps(message)) > _MOST_BYTES:
            pairs, middle = list(denied.items()), len(denied) // 2
            return {**self._as_root(requests, dict(pairs[:middle]), deadline),
                    **self._as_root(requests, dict(pairs[middle:]), deadline)}
        try:
            told = root_helper_module.ask(self._execute, self.root_helper, message, deadline)
        except root_helper_module.RootHelperFailed as err:
            return {index: dataclasses.replace(answer, root_helper_failure=str(err))
                    for index, answer in denied.items()}
        except root_helper_module.TooManyHang as err:
            return dict.fromkeys(denied, Answer(failure=str(err)))
        took_s = time.monotonic() - started
        answers = {index: protocol.answer_of(requests[index], message, took_s)
                   for index, message in told if index in denied}
        return {index: dataclasses.replace(answers.get(index, _hung(deadline)),
                                           is_from_root_helper=True) for index in denied}


class _InFlight:
    """Probes that are made at the same time.

    :ivar count: how many have no answer yet
    :ivar helpers: the processes that have not answered all that they were asked, with the rest
    """

    def __init__(self, deadline: Deadline) -> None:
        self.count = 0
        self._deadline = deadline
        self.helpers: dict[Helper | SharedHelper, dict[int, Request[Any]]] = {}
        self._started = time.monotonic()
        self._failed: dict[int, Answer[Any]] = {}

    def start(self, requests: dict[int, Request[Any]]) -> None:
        """Hand requests to idle helpers, or new ones."""
        message = _message(requests)
        size = max(_MOST_IN_ONE, -(-len(message) // helper_module.MOST))
        for first in range(0, len(message), size):
            part = message[first:first + size]
            handed_out = {index: requests[index] for share in part for index, _ in share}
            self.count += len(handed_out)
            try:
                # Those that are in use here come back only when they are waited for.
                helper = pool.take(self._deadline, may_wait=not self.helpers)
            except helper_module.CannotStart as err:
                self._failed.update(dict.fromkeys(handed_out, Answer(failure=str(err))))
                continue
            if helper is not None:
                self.helpers[helper] = handed_out
                helper.send(part, self._deadline)

    def wait(self, until: Deadline) -> dict[int, Answer[Any]]:
        """Wait for some probes to end and return their answers; none when the time is up."""
        answers, self._failed = self._failed, {}
        for helper in () if answers else self._readable(until):
            try:
                told = helper.receive()
            except OSError:
                self._replace(helper)
                continue
            waiting, took_s = self.helpers[helper], time.monotonic() - self._started
            for index, facts in told:
                answers[index] = protocol.answer_of(waiting.pop(index), facts, took_s)
            if not waiting:
                pool.give_back(helper)
                del self.helpers[helper]
        self.count -= len(answers)
        return answers

    def _readable(self, until: Deadline) -> list[Helper | SharedHelper]:
        """Wait for helpers that have something to be read; none when the time is up."""
        wait_s = min(until.left(), _MOST_WAIT_S)
        helpers = {helper.socket.fileno(): helper for helper in self.helpers}
        if hasattr(select, 'poll'):
            poll = select.poll()    # unlike epoll, it needs no descriptor; unlike select(), any do
            for descriptor in helpers:
                poll.register(descriptor, select.POLLIN)
            ready = [descriptor for descriptor, _ in poll.poll(math.ceil(wait_s * 1000))]
        else:                       # eventlet takes it away, and has a select()
            ready = select.select(list(helpers), (), (), wait_s)[0]
        return [helpers[descriptor] for descriptor in ready]

    def _replace(self, helper: Helper | SharedHelper) -> None:
        """Make the probes of a helper that ended by itself once more, with another one."""
        pool.end([helper])
        requests = self.helpers.pop(helper)
        self.count -= len(requests)
        if not helper.is_fresh:
            if isinstance(helper, Helper):
                pool.close_idle()    # the others are as old
            self.start(requests)
        else:
            self.count += len(requests)
            self._failed.update(dict.fromkeys(requests, Answer(
                failure='the share probe process exited unexpectedly')))


def _message(requests: Mapping[int, Request[Any]]) -> list[list[tuple[int, dict[str, Any]]]]:
    """Return requests with their numbers, as the worker reads them.

    Those of one share are a group, which wait for each other.
    """
    message: dict[Hashable, list[tuple[int, dict[str, Any]]]] = {}
    for index, request in requests.items():
        # No share of a caller's is equal to a number of ours.
        key = index if request.share is None else (request.share,)
        message.setdefault(key, []).append((index, request.to_message()))
    return list(message.values())


def _is_denied(answer: Answer[Any]) -> bool:
    """Whether this process lacks a right, which its root helper may have, also where it is root."""
    return answer.errno in NO_ACCESS or (
        isinstance(answer.facts, protocol.FileFacts) and answer.facts.access_errno in NO_ACCESS)


def _hung(deadline: Deadline) -> Answer[Any]:
    return Answer(is_hung=True, took_s=deadline.seconds)
