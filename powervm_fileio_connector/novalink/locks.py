# SPDX-License-Identifier: Apache-2.0
"""Turns: one change of a VIOS at a time, among threads of this process and processes of this host.

Turns save the loser of a race its POST. What keeps changes right is the etag, turn or not.

Threads may be native, green (eventlet) or both mixed. Locks of a process that eventlet has patched
lose the wake-ups that cross from one native thread to another, so there nothing waits for one: the
state is in operations of ``deque`` that are atomic, and waiting is looking again after a pause.
"""

from __future__ import annotations

import collections
import contextlib
import sys
import threading
import time
from collections.abc import Iterator

from oslo_concurrency import lockutils
from oslo_config import cfg
from oslo_log import log as logging

from powervm_fileio_connector.deadline import Deadline

LOG = logging.getLogger(__name__)

FILE_LOCK_WAIT_S = 5.0
"""How long another process is waited for: it may be stopped while it holds the lock."""

_SKIP_S = 60.0
_POLL_S = 0.02
_NATIVE_WAIT_S = 1.0


def is_green() -> bool:
    """Tell whether eventlet has patched the locks of this process."""
    patcher = sys.modules.get('eventlet.patcher')
    return patcher is not None and bool(patcher.is_monkey_patched('thread'))


class Signal:
    """Wakes threads that wait for a change, where it can; they look again now and then anyway.

    :ivar count: differs after each change; to be read before the state that the change is of
    """

    def __init__(self) -> None:
        self.count = 0
        self._condition = threading.Condition()

    def wait(self, seen: int, seconds: float) -> None:
        """Return after a change since ``seen`` was read, or some time, ``seconds`` at most."""
        if is_green():
            if self.count == seen:
                time.sleep(min(seconds, _POLL_S))
            return
        with self._condition:
            if self.count == seen:
                self._condition.wait(min(seconds, _NATIVE_WAIT_S))

    def notify(self) -> None:
        """Wake all threads that wait."""
        self.count += 1
        if not is_green():
            with self._condition:
                self._condition.notify_all()


class FairLock:
    """A lock that threads get in the order in which they asked for it."""

    def __init__(self) -> None:
        self._queue: collections.deque[object] = collections.deque()
        self._signal = Signal()

    @contextlib.contextmanager
    def held(self, seconds: float) -> Iterator[bool]:
        """Hold the lock; False: others have held it for that long, and it is not held."""
        ticket = object()
        try:
            self._queue.append(ticket)
            is_held = self._wait(ticket, Deadline(seconds))
            if not is_held:
                self._leave(ticket)
            yield is_held
        finally:
            self._leave(ticket)

    def _wait(self, ticket: object, deadline: Deadline) -> bool:
        while True:
            seen = self._signal.count
            if self._queue[0] is ticket:
                return True
            if deadline.has_passed:
                return False
            self._signal.wait(seen, deadline.left())

    def _leave(self, ticket: object) -> None:
        with contextlib.suppress(ValueError):
            self._queue.remove(ticket)
            self._signal.notify()


class FileLock:
    """A lock among the processes of this host, where a lock path is configured.

    Only one process at a time waits for the lock itself, and all others, the one that released it
    included, wait for that place. Otherwise a busy process would take it again and again.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._skip = Deadline(0.0)

    @contextlib.contextmanager
    def held(self, deadline: Deadline) -> Iterator[None]:
        """Hold the lock, or go on without it: it cannot be had, or another process keeps it."""
        path = lock_path()
        with contextlib.ExitStack() as stack:
            if path is not None:
                # The half that is left is for the change.
                wait_s = min(FILE_LOCK_WAIT_S, deadline.left() / 2)
                try:
                    self._acquire(path, Deadline(wait_s if self._skip.has_passed else 0.0), stack)
                except (OSError, threading.ThreadError) as err:
                    LOG.warning('Going on without the lock %s in %s: %s', self.name, path, err)
            yield

    def _acquire(self, path: str, deadline: Deadline, stack: contextlib.ExitStack) -> None:
        place = lockutils.external_lock(f'{self.name}-next', lock_path=path)
        lock = lockutils.external_lock(self.name, lock_path=path)
        if place.acquire(max_delay=0.05, timeout=deadline.left()):
            try:
                # No other process waits for it, so it may be asked for often.
                if lock.acquire(max_delay=0.01, timeout=deadline.left()):
                    stack.callback(lock.release)
                    return
            finally:
                place.release()
        if self._skip.has_passed:
            LOG.info('Another process has held the lock %s in %s for %.1f s; going on without it '
                     'for %d s.', self.name, path, deadline.seconds, _SKIP_S)
            self._skip = Deadline(_SKIP_S)


def lock_path() -> str | None:
    """Where os-brick's locks are, or else oslo.concurrency's; None: no lock path is configured."""
    for group in ('os_brick', 'oslo_concurrency'):
        with contextlib.suppress(cfg.NoSuchOptError):
            path = cfg.CONF[group].lock_path
            if path:
                return path
    return None
