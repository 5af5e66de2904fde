# SPDX-License-Identifier: Apache-2.0
"""One share probe process: started, asked, killed and reaped.

It is two: a worker, and a guard that started it and touches no share. The guard can always be
killed and reaped, and takes the worker along. A worker that the kernel holds, since its share does
not answer, goes to init, which reaps it; where this process is init itself, it is reaped here.

An exception may come between any two steps, as a signal's or a killed greenlet's do. So a helper
that is referred to by nobody any more ends itself.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import functools
import os
import posix
import signal
import socket
import sys
import time
import weakref
from typing import Any

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.host.probe.channel import Channel
from powervm_fileio_connector.host.probe.channel import socket_pair

_WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'worker.py')

REAP_S = 0.1
"""How long a worker that was killed is waited for, where it is our child."""

# What says that this host or process has no more to give, not that a share is ill.
_SHORTAGES = exceptions.SHORTAGES | {errno.EAGAIN, errno.ENOSPC}

Identity = tuple[Any, ...]


class CannotStart(Exception):
    """This process or host is short of something; no share is to blame."""

    def __init__(self, err: OSError, remedy: str = 'Check that its Python can be run') -> None:
        if err.errno in _SHORTAGES:
            remedy = 'Raise the limit (descriptors, processes or memory) of this process'
        super().__init__('this process cannot start a share probe process: '
                         f'{err.strerror or err}. {remedy}')


MOST = 8
"""Helpers that a process has at the same time; each is two processes."""

busy: dict[int, tuple[float, weakref.ref[Helper]]] = {}
"""Since when helpers are at work, by the id of the object, so that this keeps none of them."""

_free = collections.deque(range(MOST))      # numbers of helpers that may be started
_all: weakref.WeakSet[Helper] = weakref.WeakSet()
_unreaped: set[int] = set()     # process groups of ours in which a child may be left


class Helper(Channel):
    """A worker, its guard, which is our child, and our end of the socket to the worker.

    :param identity: what it sees, as of now
    :ivar shared: the ids of the :class:`SharedHelper` objects that ask it besides
    :ivar is_held: a probe of one of these did not answer, and holds it
    :raises CannotStart: this process cannot start another one
    :raises IndexError: this process has as many as it may have
    """

    def __init__(self, identity: Identity) -> None:
        super().__init__()
        self._pids: list[int] = []
        self._number: list[int] = []
        self._owner = os.getpid()
        self.identity = identity
        self.is_fresh = True
        self.is_held = False
        self.shared: set[int] = set()
        _all.add(self)
        try:
            # In one step, so that no exception comes between taking it and keeping it.
            self._number.extend(map(collections.deque.pop, [_free]))
            self.hand_out()
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
        self.socket, theirs = socket_pair(socket.SOCK_STREAM)
        self.sharing, their_sharing = socket_pair(socket.SOCK_SEQPACKET)
        with theirs, their_sharing:
            # A session of its own: Ctrl-C at our terminal is not meant for it.
            spawn = functools.partial(
                os.posix_spawn, setsid=True, setsigmask=(), file_actions=[
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0),
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), 1),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_RDWR, 0),
                    (os.POSIX_SPAWN_DUP2, their_sharing.fileno(), 3)])
            # In one step, so that no exception comes between the start and keeping the id.
            paths = [path for path in sys.path if path.startswith('/')]
            self._pids.extend(map(spawn, [sys.executable], [[*command(), *paths]], [os.environ]))

    def close(self) -> None:
        """Kill it, unless that has been done, and close the socket."""
        busy.pop(id(self), None)
        group = self.pid
        self.kill()
        reap_group(group, time.monotonic() + REAP_S)
        self._close_sockets()
        while self._number:
            _free.append(self._number.pop())

    def _close_sockets(self) -> None:
        for name in ('socket', 'sharing'):
            if hasattr(self, name):
                getattr(self, name).close()

    def hand_out(self) -> None:
        """Count it as busy, from now on; also while it is still being started."""
        busy[id(self)] = time.monotonic(), weakref.ref(self)

    def kill(self, may_reap: bool = True) -> None:
        """Kill and reap; the worker itself may take longer to end, see :meth:`has_ended`.

        :param may_reap: False: reap nothing yet, which holds up other greenlets on a busy host
        """
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
        if not may_reap:
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
        self._number.clear()
        self._close_sockets()


class SharedHelper(Channel):
    """A further socket to the worker of a helper that is busy with another call, and may hang.

    It answers by a thread of its own. When that worker ends, this has to be asked elsewhere.

    :raises OSError: there is no descriptor left, or the worker does not take any more
    """

    def __init__(self, helper: Helper) -> None:
        super().__init__()
        self._helper = helper
        helper.shared.add(id(self))
        self.socket, theirs = socket_pair(socket.SOCK_STREAM)
        with theirs:
            socket.send_fds(helper.sharing, [b'.'], [theirs.fileno()], socket.MSG_DONTWAIT)

    def __del__(self) -> None:
        self.close()

    def close(self, has_answered: bool = False) -> None:
        """Close it; a probe of its that did not answer holds the worker until that is killed."""
        if id(self) in self._helper.shared and not has_answered:
            self._helper.is_held = True
        self._helper.shared.discard(id(self))
        if hasattr(self, 'socket'):
            self.socket.close()


def least_shared(identity: Identity, busy_for_s: float) -> Helper | None:
    """Return the helper of an identity that the fewest share, of those busy for long enough."""
    since = time.monotonic() - busy_for_s
    helpers = [helper for taken_at, ref in list(busy.values()) if taken_at <= since
               and (helper := ref()) is not None and helper.identity == identity and helper.pid]
    return min(helpers, key=lambda helper: len(helper.shared), default=None)


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


def _forget_all() -> None:
    for helper in list(_all):
        helper.forget()
    busy.clear()
    _unreaped.clear()
    _free.clear()
    _free.extend(range(MOST))


os.register_at_fork(after_in_child=_forget_all)
