# SPDX-License-Identifier: Apache-2.0
"""Share probe processes: started, kept while idle, killed and reaped.

Each is two: a worker, and a guard that started it and touches no share. The guard can always be
killed and reaped, and takes the worker along. A worker that the kernel holds, since its share does
not answer, goes to init, which reaps it; where this process is init itself, it is reaped here.

They belong to the process: an idle one serves the next probe of any thread that sees the same
mounts as the same user. They end when the process does, however it ends. No lock is held: handing
helpers out and taking them back are single operations on a queue.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import queue
import signal
import socket
import sys
import time
import weakref
from collections.abc import Sequence
from typing import Any

from oslo_log import log as logging

LOG = logging.getLogger(__name__)

_WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'worker.py')

_MOST_IDLE = 8          # kept for the next probe; each takes some 10 MB, mostly shared
_SOON_S = 0.2           # within which a helper is back unless its share hangs
_KILL_WAIT_S = 0.5      # for workers to die; those that the kernel holds are left to init
_FIRST_DESCRIPTOR = 3   # eventlet does not watch 0, and others write to 1 and 2

# What says that this host or process has no more to give, not that a share is ill.
SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC))


class CannotStart(Exception):
    """This process or host is short of something; no share is to blame."""

    def __init__(self, err: OSError) -> None:
        super().__init__(
            f'this process cannot start a share probe process: {err.strerror or err}. '
            + ('Raise the limit (descriptors, processes or memory) of this process'
               if err.errno in SHORTAGES else 'Check that its Python can be run'))


class Helper:
    """A worker, its guard, which is our child, and our end of the socket to the worker.

    :raises CannotStart: this process cannot start another one
    """

    def __init__(self) -> None:
        self.identity = _identity()
        self.was_idle = False
        self.pid = 0
        self._received = b''
        self.hand_out()
        try:
            self._start()
        except OSError as err:
            self._give_up()
            raise CannotStart(err) from err
        except BaseException:
            # An interrupt, or a greenlet that is killed: nothing may be left behind.
            self._give_up()
            raise
        _all.add(self)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self.socket = ours
        with theirs:
            self.socket = _moved_up(ours)
            theirs = _moved_up(theirs)
            with theirs:
                descriptor = theirs.fileno()
                # A session of its own: Ctrl-C at our terminal is not meant for it.
                self.pid = os.posix_spawn(
                    sys.executable, [*command(), json.dumps(sys.path)], os.environ, setsid=True,
                    setsigmask=(), file_actions=[
                        (os.POSIX_SPAWN_DUP2, descriptor, 0), (os.POSIX_SPAWN_DUP2, descriptor, 1),
                        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_RDWR, 0)])

    def _give_up(self) -> None:
        _busy.discard(self)
        if self.pid:
            self.kill()
        if hasattr(self, 'socket'):
            self.socket.close()

    def hand_out(self) -> None:
        """Count it as busy, from now on; also while it is still being started."""
        self.taken_at = time.monotonic()
        _busy.add(self)

    def send(self, message: object) -> None:
        # One that is gone is noticed when its answer is read.
        with contextlib.suppress(OSError):
            self.socket.sendall(json.dumps(message).encode() + b'\n')

    def receive(self) -> list[bytes]:
        """Return the answers that are whole by now.

        :raises OSError: the process is gone
        """
        chunk = self.socket.recv(65536)
        if not chunk:
            raise ConnectionResetError(errno.ECONNRESET, 'the process ended')
        *lines, self._received = (self._received + chunk).split(b'\n')
        return lines

    def kill(self) -> None:
        """Kill and reap; the worker itself may take longer to end, see :meth:`has_ended`."""
        _unreaped.add(self.pid)
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass                        # it has ended by itself
        except PermissionError:
            # Started before this process changed its user: it ends at the end of its input.
            self.socket.shutdown(socket.SHUT_RDWR)
            return
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)     # the guard touches no share, so that nothing can hold it

    def has_ended(self, by: float) -> bool:
        """Wait for the worker to let go of its end of the socket, until ``time.monotonic()`` is by.

        It is nobody's child by now that could be waited for.
        """
        self.socket.settimeout(max(0.0, by - time.monotonic()))
        try:
            while self.socket.recv(65536):
                pass            # an answer that came too late
        except (TimeoutError, BlockingIOError):
            return False
        except ConnectionResetError:
            pass                # it ended with our request unread
        return True

    def forget(self) -> None:
        """Leave it to the process that we were forked from."""
        self.socket.close()


_idle: queue.SimpleQueue[Helper] = queue.SimpleQueue()
_all: weakref.WeakSet[Helper] = weakref.WeakSet()
_busy: set[Helper] = set()
_unreaped: set[int] = set()     # process groups of ours in which a child may be left


def take(may_wait: bool = True) -> Helper:
    """Return an idle helper that sees what we see, as the user that we are, or a new one.

    :param may_wait: where many have just been handed out, one of them is waited for
    """
    _reap()
    return _idle_one(_SOON_S if may_wait and _are_many_back_soon() else 0.0) or Helper()


def _idle_one(wait_s: float) -> Helper | None:
    identity = _identity()
    with contextlib.suppress(queue.Empty):
        while True:
            helper = _idle.get(timeout=wait_s)
            if helper.identity == identity:
                helper.was_idle = True
                helper.hand_out()
                return helper
            end([helper])
    return None


def _are_many_back_soon() -> bool:
    """Whether as many as are kept are at work, and not for so long that their share may hang.

    To start one more takes twenty times as long as they take for a probe, and it would be ended
    right after it.
    """
    since = time.monotonic() - _SOON_S
    return sum(helper.taken_at > since for helper in list(_busy)) >= _MOST_IDLE


def give_back(helper: Helper) -> None:
    """Keep a helper that answered for the next probe, or end it where enough are kept."""
    _busy.discard(helper)
    _idle.put(helper)
    while _idle.qsize() > _MOST_IDLE:
        with contextlib.suppress(queue.Empty):
            end([_idle.get_nowait()])


def close_idle() -> None:
    """End all idle helpers. Safe at any time, from any thread."""
    ending = []
    with contextlib.suppress(queue.Empty):
        while True:
            ending.append(_idle.get_nowait())
    end(ending)


def end(helpers: Sequence[Helper]) -> None:
    """Kill helpers, and report those that the kernel does not let die within a moment."""
    for helper in helpers:
        _busy.discard(helper)
        helper.kill()
    until = time.monotonic() + _KILL_WAIT_S
    for helper in helpers:
        if not helper.has_ended(until):
            LOG.warning('A share probe process (process group %d) is held by the kernel although '
                        'it was killed; it will end when the share answers', helper.pid)
        helper.socket.close()
    _reap()


def _reap() -> None:
    """Reap what has ended by now of the groups that were killed.

    Workers become our children where we are init, as in a container, or a subreaper.
    """
    for group in list(_unreaped):
        try:
            while os.waitpid(-group, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            _unreaped.discard(group)


def _moved_up(given: socket.socket) -> socket.socket:
    """Return a socket whose descriptor is none of the standard streams', which may be closed."""
    if given.fileno() >= _FIRST_DESCRIPTOR:
        return given
    with given:
        return socket.socket(
            fileno=fcntl.fcntl(given.fileno(), fcntl.F_DUPFD_CLOEXEC, _FIRST_DESCRIPTOR))


def _forget_all() -> None:
    global _idle
    for helper in list(_all):
        helper.forget()
    _busy.clear()
    _unreaped.clear()
    _idle = queue.SimpleQueue()


def _identity() -> tuple[Any, ...]:
    """Return what decides what a probe sees: mount namespace, root directory, user and groups.

    A helper keeps its maker's, whatever becomes of the maker's.
    """
    root = os.stat('/')
    return (os.stat('/proc/thread-self/ns/mnt').st_ino, root.st_dev, root.st_ino,
            os.getresuid(), os.getresgid(), tuple(os.getgroups()))


def command() -> list[str]:
    """Return the command that starts a worker.

    It takes nothing from the environment, and a path is the same bytes in every locale: UTF-8, as
    NovaLink reads it. -B: it writes nothing.
    """
    return [sys.executable, '-I', '-S', '-B', '-X', 'utf8=1', _WORKER]


os.register_at_fork(after_in_child=_forget_all)
