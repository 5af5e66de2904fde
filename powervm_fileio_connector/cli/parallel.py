# SPDX-License-Identifier: Apache-2.0
"""The same act on many volumes at once, with a result for each, whatever happens to the others."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import queue
import shutil
import signal
import threading
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import TextIO

from powervm_fileio_connector.cli.errors import ExitCode
from powervm_fileio_connector.cli.volumes import Volume

# Edits that wait together travel in one POST, and who waits needs a thread.
MOST_AT_ONCE = 256


class State(enum.Enum):
    """What became of one volume."""

    DONE = 'done'
    FAILED = 'failed'
    NOT_TRIED = 'not tried'
    UNKNOWN = 'unknown'


@dataclasses.dataclass
class Result:
    """What became of one volume: what the act returned, or how it failed."""

    volume: Volume
    state: State = State.NOT_TRIED
    value: Any = None
    error: BaseException | None = None


@dataclasses.dataclass
class Results:
    """What became of all, in the order in which they were given."""

    each: list[Result]
    is_interrupted: bool = False

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that sums them up."""
        if self.is_interrupted:
            return ExitCode.INTERRUPTED
        failed = any(result.state is not State.DONE for result in self.each)
        return ExitCode.PARTIAL if failed else ExitCode.OK


def run_all(volumes: Sequence[Volume], act: Callable[[Volume], Any], stderr: TextIO,
         title: str) -> Results:
    """Do the act for each volume, many at the same time.

    Ctrl-C begins no more volumes and waits for those that are under way, so that none is left half
    done; a second Ctrl-C does not wait.
    """
    workers = _Workers(volumes, act)
    results = Results(workers.results)
    with workers.told_of_interrupts(), _progress(len(volumes), stderr, title) as bar:
        workers.start()
        while workers.unfinished:
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
    INTERRUPT = 'the user does not want to go on'


class _Workers:
    """Threads that take volumes from one list until it is empty."""

    def __init__(self, volumes: Sequence[Volume], act: Callable[[Volume], Any]) -> None:
        self.results = [Result(volume) for volume in volumes]
        self.unfinished = len(volumes)
        self._act = act
        self._todo = collections.deque(self.results)
        # Of the kind that a signal handler may put something into at any moment.
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()

    @contextlib.contextmanager
    def told_of_interrupts(self) -> Iterator[None]:
        """Take Ctrl-C as an event among others, not as an exception at any place."""
        before = signal.signal(signal.SIGINT, lambda *_: self._events.put(_Event.INTERRUPT))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def start(self) -> None:
        for _ in range(min(MOST_AT_ONCE, len(self.results))):
            # Daemons: who does not want to wait for them shall not have to.
            threading.Thread(target=self._work, daemon=True).start()

    def wait(self) -> _Event:
        """Wait for the next volume to be finished, or for Ctrl-C."""
        event = self._events.get()
        self.unfinished -= event is _Event.FINISHED
        return event

    def stop(self) -> int:
        """Begin no more volumes; return how many are under way."""
        while self._todo:
            try:
                self._todo.pop()
            except IndexError:
                break
            self.unfinished -= 1
        return self.unfinished

    def _work(self) -> None:
        while True:
            try:
                result = self._todo.popleft()
            except IndexError:
                return
            result.state = State.UNKNOWN
            try:
                result.value = self._act(result.volume)
                result.state = State.DONE
            except BaseException as err:  # noqa: BLE001  each volume fails by itself
                result.error, result.state = err, State.FAILED
            self._events.put(_Event.FINISHED)


def _progress(total: int, stderr: TextIO, title: str) -> Any:
    from tqdm import tqdm  # type: ignore[import-untyped]

    is_shown = total > 1 and stderr.isatty()
    # A serial console says that it has no columns and lines; tqdm would believe it.
    size = shutil.get_terminal_size()
    return tqdm(total=total, desc=title, unit=' volumes', file=stderr, disable=not is_shown,
                ncols=size.columns - 1, nrows=size.lines)
