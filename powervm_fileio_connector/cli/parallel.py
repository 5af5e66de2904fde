# SPDX-License-Identifier: Apache-2.0
"""Many volumes at once: each is planned by itself, and plans are carried out together."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import queue
import shutil
import signal
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import TextIO

from powervm_fileio_connector.cli.errors import ExitCode
from powervm_fileio_connector.cli.volumes import Volume

# Of volumes that are planned at the same time; a probe of a share may have a process of its own.
MOST_AT_ONCE = 64

# Plans wait for others: until none was made for a while, or it has been long enough.
_QUIET_S = 0.5
_LONG_ENOUGH_S = 5.0

_LONGEST_WAIT_S = 0.5   # for an event, before signals are handled

PlanOne = Callable[[Volume], Any]
CarryOut = Callable[[list[Any]], list[Any]]


class State(enum.Enum):
    """How far one volume has got."""

    DONE = 'done'
    FAILED = 'failed'
    NOT_TRIED = 'not tried'
    UNKNOWN = 'unknown'


@dataclasses.dataclass
class Result:
    """The result of one volume, or the error.

    :ivar value: its plan, and then what carrying it out returned
    """

    volume: Volume
    state: State = State.NOT_TRIED
    value: Any = None
    error: BaseException | None = None


@dataclasses.dataclass
class Results:
    """The results of all volumes, in the order in which they were given."""

    each: list[Result]
    is_interrupted: bool = False

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that sums them up."""
        if self.is_interrupted:
            return ExitCode.INTERRUPTED
        failed = any(result.state is not State.DONE for result in self.each)
        return ExitCode.PARTIAL if failed else ExitCode.OK


def run_all(volumes: Sequence[Volume], plan: PlanOne, carry_out: CarryOut, stderr: TextIO,
            title: str) -> Results:
    """Plan for each volume, many at the same time, and carry out together what is planned.

    Ctrl-C plans and carries out no more, and waits for what is being carried out; a second Ctrl-C
    does not wait.

    :param plan: returns the plan for a volume; changes nothing
    :param carry_out: returns for each of several plans its result or its error
    """
    workers = _Workers(volumes, plan, carry_out)
    results = Results(workers.results)
    with workers.interrupts_as_events(), _progress(len(volumes), stderr, title) as bar:
        workers.start()
        while not workers.is_over:
            if workers.wait() is _Event.FINISHED:
                bar.update()
            elif results.is_interrupted:
                break
            else:
                results.is_interrupted = True
                under_way = workers.stop()
                if under_way:
                    stderr.write(f'\nInterrupted: waiting for {under_way} under way. Ctrl-C again '
                                 'does not wait.\n')
                    stderr.flush()
    return results


class _Event(enum.Enum):
    FINISHED = 'a volume is finished'
    INTERRUPT = 'the user wants to stop'


class _Workers:
    """Threads that plan, and one that carries out the plans that are ready."""

    def __init__(self, volumes: Sequence[Volume], plan: PlanOne, carry_out: CarryOut) -> None:
        self.results = [Result(volume) for volume in volumes]
        self._unfinished = len(volumes)
        self._plan = plan
        self._carry_out = carry_out
        self._changed = threading.Condition()
        self._todo = collections.deque(self.results)
        self._unplanned = len(volumes)
        self._ready: list[Result] = []
        self._last_plan_at = 0.0
        # Of the kind that a signal handler may put something into at any moment.
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()

    @contextlib.contextmanager
    def interrupts_as_events(self) -> Iterator[None]:
        """Take Ctrl-C as an event among others, not as an exception at any place."""
        before = signal.signal(signal.SIGINT, lambda *_: self._events.put(_Event.INTERRUPT))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def start(self) -> None:
        planners = min(MOST_AT_ONCE, len(self.results))
        for work in [self._carry_out_plans, *[self._make_plans] * planners]:
            # Daemons: a user who does not want to wait for them need not.
            threading.Thread(target=work, daemon=True).start()

    @property
    def is_over(self) -> bool:
        """Whether nothing is to be waited for, and every event was taken."""
        with self._changed:
            return not self._unfinished and self._events.empty()

    def wait(self) -> _Event:
        """Wait for the next volume to be finished, or for Ctrl-C."""
        while True:
            # A signal that comes just before the thread begins to wait does not end the wait.
            with contextlib.suppress(queue.Empty):
                return self._events.get(timeout=_LONGEST_WAIT_S)

    def stop(self) -> int:
        """Begin nothing more; return how many plans are being carried out."""
        with self._changed:
            self._todo.clear()
            self._ready.clear()
            # Plans that are being made are not waited for: they change nothing.
            self._unplanned = -1
            self._changed.notify_all()
            self._unfinished = sum(result.state is State.UNKNOWN for result in self.results)
            return self._unfinished

    def _make_plans(self) -> None:
        while True:
            with self._changed:
                if not self._todo:
                    return
                result = self._todo.popleft()
            error = None
            try:
                result.value = self._plan(result.volume)
            except BaseException as err:  # noqa: BLE001  each volume fails by itself
                error = err
            with self._changed:
                if self._unplanned < 0:
                    return
                self._unplanned -= 1
                self._last_plan_at = time.monotonic()
                if error is None:
                    self._ready.append(result)
                else:
                    self._finish(result, error)
                self._changed.notify_all()

    def _carry_out_plans(self) -> None:
        while batch := self._next_batch():
            try:
                values = self._carry_out([result.value for result in batch])
            except BaseException as err:  # noqa: BLE001  shown for each of them
                values = [err] * len(batch)
            with self._changed:
                for result, value in zip(batch, values, strict=True):
                    self._finish(result, value)

    def _next_batch(self) -> list[Result]:
        """Wait for plans, and for a while for more of them; none: there are no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._unplanned <= 0)
            until = time.monotonic() + _LONG_ENOUGH_S
            while self._ready and self._unplanned > 0:
                left_s = min(until, self._last_plan_at + _QUIET_S) - time.monotonic()
                if left_s <= 0:
                    break
                self._changed.wait(left_s)
            batch, self._ready = self._ready, []
            for result in batch:
                result.state = State.UNKNOWN
            return batch

    def _finish(self, result: Result, value: Any) -> None:
        if isinstance(value, BaseException):
            result.error, result.state = value, State.FAILED
        else:
            result.value, result.state = value, State.DONE
        self._unfinished -= 1
        self._events.put(_Event.FINISHED)


def _progress(total: int, stderr: TextIO, title: str) -> Any:
    from tqdm import tqdm  # type: ignore[import-untyped]

    is_shown = total > 1 and stderr.isatty()
    # A serial console says that it has no columns and lines; tqdm would believe it.
    size = shutil.get_terminal_size()
    return tqdm(total=total, desc=title, unit=' volumes', file=stderr, disable=not is_shown,
                ncols=size.columns - 1, nrows=size.lines)
