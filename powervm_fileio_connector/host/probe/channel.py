# SPDX-License-Identifier: Apache-2.0
"""The socket to a share probe process: requests and answers, as frames of marshal."""

from __future__ import annotations

import _socket
import contextlib
import errno
import marshal
import os
import socket
from typing import Any

from powervm_fileio_connector.deadline import Deadline

_MOST_WAIT_S = 3600.0   # that a socket can be asked for at once
_BUFFERED = 32768       # bytes that a socket takes at once for certain
_FIRST_DESCRIPTOR = 4   # eventlet does not watch 0, others write to 1 and 2, and a worker has 3


class Channel:
    """Our end of a socket to a worker, for one caller at a time.

    :ivar is_fresh: the worker was started for this caller, so that its end is not due to another
    """

    socket: socket.socket
    is_fresh = False

    def __init__(self) -> None:
        self._received = b''

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


def socket_pair(kind: int) -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets, none of whose descriptors is one that others use.

    Each descriptor has an owner at any time. ``socket.socketpair()`` has it as a mere number for a
    moment, and an exception in it, as a signal's handler raises, would leave it open for ever.
    """
    ours, theirs = _socket.socketpair(socket.AF_UNIX, kind)
    return _moved(ours, kind), _moved(theirs, kind)


def _moved(made: _socket.socket, kind: int) -> socket.socket:
    """Return a socket that is what another one was, at a descriptor that nobody else uses."""
    low = []        # kept open, so that the next one is higher
    while (new := socket.socket(socket.AF_UNIX, kind)).fileno() < _FIRST_DESCRIPTOR:
        low.append(new)
    is_blocking = os.get_blocking(new.fileno())     # not under eventlet
    os.dup2(made.fileno(), new.fileno(), inheritable=False)
    os.set_blocking(new.fileno(), is_blocking)
    for done in (made, *low):
        done.close()
    return new
