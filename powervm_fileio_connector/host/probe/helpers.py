# SPDX-License-Identifier: Apache-2.0
"""Processes that look at shares: started, kept while idle, killed and reaped.

Each is two: a worker, and a guard that started it and looks at nothing. The guard can always be
killed and reaped, and takes the worker along. A worker that the kernel holds, since its share does
not answer, goes to init, which reaps it: it never becomes a zombie of ours.

They belong to the process, not to whoever asks: an idle one serves the next look of any thread.
They end when the process does, however it ends, since nobody then holds their input open. There is
no lock of ours: handing helpers out and taking them back are single operations on a queue.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from oslo_log import log as logging

from powervm_fileio_connector import exceptions

LOG = logging.getLogger(__name__)

_WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'worker.py')

_MOST_IDLE = 8          # kept for the next look; each takes some 10 MB, mostly shared
_SOON_S = 0.2           # within which a helper is back unless its share hangs
_KILL_WAIT_S = 0.5      # for helpers to die; those that the kernel holds are left to init


class Helper:
    """A worker, its guard, which is our child, and our end of the line to the worker."""

    def __init__(self) -> None:
        self.namespace = _namespace()
        self.was_idle = False
        self.hand_out()
        self.socket, theirs = socket.socketpair()
        with theirs:
            try:
                # A session of its own: Ctrl-C at our terminal is not meant for it.
                self.process = subprocess.Popen(
                    command(), stdin=theirs.fileno(), stdout=theirs.fileno(),
                    stderr=subprocess.DEVNULL, cwd='/', start_new_session=True)
            except OSError as err:
                self.socket.close()
                _busy.discard(self)
                raise exceptions.FileIOConnectorError(
                    reason=f'the process that looks at shares cannot be started: {err}') from err
        self._received = b''
        _all.add(self)

    def hand_out(self) -> None:
        """Count it as busy, from now on; also while it is still being started."""
        self.taken_at = time.monotonic()
        _busy.add(self)

    def send(self, request: Mapping[str, Any]) -> None:
        # One that is gone is noticed when its answer is read.
        with contextlib.suppress(OSError):
            self.socket.sendall(json.dumps(request).encode() + b'\n')

    def receive(self) -> bytes | None:
        """Return the answer once it is whole.

        :raises OSError: the process is gone
        """
        chunk = self.socket.recv(65536)
        if not chunk:
            raise ConnectionResetError(errno.ECONNRESET, 'the process ended')
        self._received += chunk
        if not self._received.endswith(b'\n'):
            return None
        line, self._received = self._received, b''
        return line

    def kill(self) -> None:
        """Kill and reap; the worker itself may take longer to end, see :meth:`has_ended`."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()     # the guard looks at no share, so that nothing can hold it

    def has_ended(self, by: float) -> bool:
        """Wait for the worker to let go of its end of the line, until ``time.monotonic()`` is by.

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
        self.process.returncode = 0


_idle: queue.SimpleQueue[Helper] = queue.SimpleQueue()
_all: weakref.WeakSet[Helper] = weakref.WeakSet()
_busy: set[Helper] = set()


def take(may_wait: bool = True) -> Helper:
    """Return an idle helper that sees the same mounts as we do, or a new one.

    :param may_wait: where many have just been handed out, one of them is waited for
    """
    return _idle_one(_SOON_S if may_wait and _are_many_back_soon() else 0.0) or Helper()


def _idle_one(wait_s: float) -> Helper | None:
    namespace = _namespace()
    with contextlib.suppress(queue.Empty):
        while True:
            helper = _idle.get(timeout=wait_s)
            if helper.namespace == namespace:
                helper.was_idle = True
                helper.hand_out()
                return helper
            end([helper])
    return None


def _are_many_back_soon() -> bool:
    """Whether as many as are kept are at work, and not for so long that their share may hang.

    To start one more takes twenty times as long as they take for a look, and it would be ended
    right after it.
    """
    since = time.monotonic() - _SOON_S
    return sum(helper.taken_at > since for helper in list(_busy)) >= _MOST_IDLE


def give_back(helper: Helper) -> None:
    """Keep a helper that answered for the next look, or end it where enough are kept."""
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
            LOG.warning('A process that looked at a share (process group %d) is held by the kernel '
                        'although it was killed; it will end when the share answers',
                        helper.process.pid)
        helper.socket.close()


def _forget_all() -> None:
    global _idle
    for helper in list(_all):
        helper.forget()
    _busy.clear()
    _idle = queue.SimpleQueue()


def _namespace() -> int:
    """Return which mount namespace the calling thread is in; a helper stays in its maker's."""
    return os.stat('/proc/thread-self/ns/mnt').st_ino


def command() -> list[str]:
    """Return the command that starts a worker."""
    # Paths have to become the same bytes in the helper as here, hence utf8. -B: writes nothing.
    return [sys.executable, '-I', '-S', '-B', '-X', f'utf8={sys.flags.utf8_mode}', _WORKER]


os.register_at_fork(after_in_child=_forget_all)
