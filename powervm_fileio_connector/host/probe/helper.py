# SPDX-License-Identifier: Apache-2.0
"""One share probe process: started, asked, killed and reaped.

It is two: a worker, and a guard that started it and touches no share. The guard can always be
killed and reaped, and takes the worker along. A worker that the kernel holds, since its share does
not answer, goes to init, which reaps it; where this process is init itself, it is reaped here.

An exception may come between any two steps, as a signal's or a killed greenlet's do. So a helper
that is referred to by nobody any more ends itself.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import marshal
import os
import posix
import signal
import socket
import sys
import time
import weakref
from typing import Any

from powervm_fileio_connector.deadline import Deadline

_WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'worker.py')

_MOST_WAIT_S = 3600.0   # that a socket can be asked for at once
_BUFFERED = 32768       # bytes that a socket takes at once for certain
_REAP_S = 0.1           # for a worker that was killed to end, where it is our child
_FIRST_DESCRIPTOR = 3   # eventlet does not watch 0, and others write to 1 and 2

# What says that this host or process has no more to give, not that a share is ill.
_SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC))

Identity = tuple[Any, ...]


class CannotStart(Exception):
    """This process or host is short of something; no share is to blame."""

    def __init__(self, err: OSError, remedy: str = 'Check that its Python can be run') -> None:
        if err.errno in _SHORTAGES:
            remedy = 'Raise the limit (descriptors, processes or memory) of this process'
        super().__init__('this process cannot start a share probe process: '
                         f'{err.strerror or err}. {remedy}')


busy: dict[int, float] = {}
"""Since when helpers are at work, by the id of the object, so that this keeps none of them."""

_all: weakref.WeakSet[Helper] = weakref.WeakSet()
_unreaped: set[int] = set()     # process groups of ours in which a child may be left


class Helper:
    """A worker, its guard, which is our child, and our end of the socket to the worker.

    :param identity: what it sees, as of now
    :raises CannotStart: this process cannot start another one
    """

    def __init__(self, identity: Identity) -> None:
        self._pids: list[int] = []
        self._received = b''
        self._owner = os.getpid()
        self.identity = identity
        self.was_idle = False
        _all.add(self)
        self.hand_out()
        try:
            self._start()
        except OSError as err:
            self.close()
            raise CannotStart(err) from err
        except BaseException:
            self.close()
            raise

    def __del__(self) -> None:
        if getattr(self, '_owner', None) == os.getpid():
            self.close()

    @property
    def pid(self) -> int:
        """The guard's process id, which is also that of the worker's process group."""
        return self._pids[0] if self._pids else 0

    def _start(self) -> None:
        self.socket, theirs = socket.socketpair()
        with theirs:
            self.socket = _moved_up(self.socket)
            theirs = _moved_up(theirs)
            with theirs:
                descriptor = theirs.fileno()
                # A session of its own: Ctrl-C at our terminal is not meant for it.
                spawn = functools.partial(
                    os.posix_spawn, setsid=True, setsigmask=(), file_actions=[
                        (os.POSIX_SPAWN_DUP2, descriptor, 0), (os.POSIX_SPAWN_DUP2, descriptor, 1),
                        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_RDWR, 0)])
                # In one step, so that no exception comes between the start and keeping the id.
                paths = [path for path in sys.path if path.startswith('/')]
                self._pids.extend(map(spawn, [sys.executable], [[*command(), *paths]],
                                      [os.environ]))

    def fileno(self) -> int:
        """Return the descriptor to wait at for answers."""
        return self.socket.fileno()

    def close(self) -> None:
        """Kill it, unless that has been done, and close the socket."""
        busy.pop(id(self), None)
        group = self.pid
        self.kill()
        reap_group(group, time.monotonic() + _REAP_S)
        if hasattr(self, 'socket'):
            self.socket.close()

    def hand_out(self) -> None:
        """Count it as busy, from now on; also while it is still being started."""
        busy[id(self)] = time.monotonic()

    def send(self, message: Any, deadline: Deadline) -> None:
        """Send a message, as far as that is possible by the deadline.

        One that is gone, or does not read, is noticed when its answer is read.
        """
        data = marshal.dumps(message)
        data = len(data).to_bytes(4, 'little') + data
        if len(data) > _BUFFERED:
            self.socket.settimeout(min(deadline.left(), _MOST_WAIT_S))
        with contextlib.suppress(OSError):
            self.socket.sendall(data)

    def receive(self) -> list[Any]:
        """Return the answers that are whole by now.

        :raises OSError: the process is gone
        """
        chunk = self.socket.recv(65536)
        if not chunk:
            raise ConnectionResetError(errno.ECONNRESET, 'the process ended')
        data = self._received + chunk
        answers = []
        start = 0
        while (end := start + 4 + int.from_bytes(data[start:start + 4], 'little')) <= len(data):
            answers.append(marshal.loads(data[start + 4:end]))  # noqa: S302  of our own child
            start = end
        self._received = data[start:]
        return answers

    def kill(self) -> None:
        """Kill and reap; the worker itself may take longer to end, see :meth:`has_ended`."""
        pid = self.pid
        if not pid:
            return
        _unreaped.add(pid)
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass                        # it has ended by itself
        except PermissionError:
            # Started before this process changed its user: it ends at the end of its input.
            self.socket.shutdown(socket.SHUT_WR)
            self._pids.clear()
            return
        # The guard touches no share, so that nothing can hold it. Not eventlet's waitpid(), which
        # would let other greenlets run in the middle of this.
        with contextlib.suppress(ChildProcessError):
            posix.waitpid(pid, 0)
        self._pids.clear()

    def has_ended(self, by: float) -> bool:
        """Wait for the worker to let go of its end of the socket, until ``time.monotonic()`` is by.

        It is nobody's child by now that could be waited for, unless this process is init.
        """
        if self.socket.fileno() < 0:
            return True         # it has been closed, at an exception
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
        self._pids.clear()
        if hasattr(self, 'socket'):
            self.socket.close()


def command() -> list[str]:
    """Return the command that starts a worker.

    It takes nothing from the environment, and a path is the same bytes in every locale: UTF-8, as
    NovaLink reads it. -B: it writes nothing.
    """
    return [sys.executable, '-I', '-S', '-B', '-X', 'utf8=1', _WORKER]


def reap() -> None:
    """Reap what has ended by now of the groups that were killed."""
    for group in list(_unreaped):
        reap_group(group)


def reap_group(group: int, until: float = 0.0) -> None:
    """Reap the worker of a group that was killed; it is our child where we are init or a subreaper.

    :param until: ``time.monotonic()`` up to which one that is about to end is waited for; without a
        sleep, during which eventlet would let others run
    """
    with contextlib.suppress(ChildProcessError):
        while group:
            if posix.waitpid(-group, os.WNOHANG) == (0, 0):
                if time.monotonic() >= until:
                    return
                os.sched_yield()
    _unreaped.discard(group)


def _moved_up(given: socket.socket) -> socket.socket:
    """Return a socket whose descriptor is none of the standard streams', which may be closed."""
    if given.fileno() >= _FIRST_DESCRIPTOR:
        return given
    with given:
        return socket.socket(
            fileno=fcntl.fcntl(given.fileno(), fcntl.F_DUPFD_CLOEXEC, _FIRST_DESCRIPTOR))


def _forget_all() -> None:
    for helper in list(_all):
        helper.forget()
    busy.clear()
    _unreaped.clear()


os.register_at_fork(after_in_child=_forget_all)
