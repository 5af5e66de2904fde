# SPDX-License-Identifier: Apache-2.0
"""Which faults are in force, and how often each may still happen."""

from __future__ import annotations

import random
import threading

from ..context import Context
from ..http_messages import Answer
from ..http_messages import Request
from .base import Fault


class _Armed:
    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.left = fault.times
        self.random = random.Random(fault.seed)

    def fires(self) -> bool:
        """Counts down; call it only when the fault is about to happen."""
        if self.left == 0 or (self.fault.probability < 1
                              and self.random.random() >= self.fault.probability):
            return False
        if self.left is not None:
            self.left -= 1
        return True


class FaultSet:
    """The faults in force, in the order they were added."""

    def __init__(self, faults: tuple[Fault, ...] = ()) -> None:
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []
        self.add(*faults)

    def add(self, *faults: Fault) -> None:
        """Put faults in force."""
        with self._lock:
            self._armed += [_Armed(fault) for fault in faults]

    def clear(self) -> None:
        """Put no faults in force."""
        with self._lock:
            self._armed = []

    def pending(self) -> list[Fault]:
        """The faults that can still happen."""
        with self._lock:
            return [armed.fault for armed in self._armed if armed.left != 0]

    def _firing(self, stage: str, request: Request | None) -> list[_Armed]:
        """The faults that may happen at a stage."""
        with self._lock:
            armed = list(self._armed)
        return [a for a in armed if a.fault.acts_at(stage)
                and (request is None or a.fault.concerns(request))]

    def _fires(self, armed: _Armed) -> bool:
        with self._lock:
            return armed.fires()

    def on_connect(self) -> bool:
        """False if the connection is to be reset unread."""
        return not any(a.fault.on_connect() for a in self._firing('on_connect', None)
                       if self._fires(a))

    def on_request(self, context: Context) -> Answer | None:
        """The answer of the first fault that gives one."""
        for armed in self._firing('on_request', context.request):
            if self._fires(armed):
                answer = armed.fault.on_request(context)
                if answer is not None:
                    return answer
        return None

    def on_apply(self, context: Context) -> None:
        """Wait, or refuse the change."""
        for armed in self._firing('on_apply', context.request):
            if self._fires(armed):
                armed.fault.on_apply(context)

    def on_answer(self, context: Context, answer: Answer) -> Answer:
        """The answer as the faults leave it; only answers of success are touched."""
        for armed in self._firing('on_answer', context.request):
            if answer.status < 300 and self._fires(armed):
                answer = armed.fault.on_answer(context, answer)
        return answer
