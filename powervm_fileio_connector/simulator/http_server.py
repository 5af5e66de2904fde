# SPDX-License-Identifier: Apache-2.0
"""HTTP on loopback: listen, read requests, write answers. Knows nothing of what they mean."""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from collections.abc import Iterator

from .http_messages import Answer
from .http_messages import BadRequest
from .http_messages import Dropped
from .http_messages import Request
from .http_messages import RequestReader
from .http_messages import serialize

_BACKLOG = 512
_MAX_CONNECTIONS = 1000
_GRACE_S = 1.0
# Python may collect a session of pypowervm in a thread that accepts; it then logs off in there, by
# a request to this very server, which another thread has to accept.
_ACCEPTING_THREADS = 2


class Listener:
    """Accepts connections on ``localhost``, each served by a thread of its own.

    Listens on 127.0.0.1, and on ::1 with the same port where there is IPv6, so that no client
    has to try twice whatever ``localhost`` means to it.
    """

    def __init__(self, port: int) -> None:
        """Take a port; connections wait until they are served."""
        self._sockets, self.port = _bind(port)
        self._stop_r, self._stop_w = socket.socketpair()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._closed = False
        self._stopping = threading.Event()
        self._busy = 0
        self._idle = threading.Condition(self._lock)
        self._threads: list[threading.Thread] = []

    def serve(self, handle: Callable[[Request], Answer], admit: Callable[[], bool],
              body_limit: Callable[[Request], int]) -> None:
        """Begin to accept connections, and return.

        :param admit: asked for every new connection; False closes it unread
        :param body_limit: how many bytes of the body of a request are wanted
        """
        self._handle, self._admit, self._body_limit = handle, admit, body_limit
        self._threads = [
            threading.Thread(target=self._accept, name='novalink-simulator', daemon=True)
            for _ in range(_ACCEPTING_THREADS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop listening and close every connection; may be called again.

        Requests that are being served get a moment to be answered.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._stopping.set()
            self._idle.wait_for(lambda: not self._busy, _GRACE_S)
            connections = list(self._connections)
        self._stop_w.send(b'x')
        for connection in connections:
            _shut(connection)
        for thread in self._threads:
            thread.join(5)
        for sock in (*self._sockets, self._stop_r, self._stop_w):
            sock.close()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            for sock in (*self._sockets, self._stop_r):
                selector.register(sock, selectors.EVENT_READ)
            while not self._closed:
                for key, _ in selector.select():
                    if key.fileobj is not self._stop_r:
                        self._accept_one(key.fileobj)  # type: ignore[arg-type]

    def _accept_one(self, sock: socket.socket) -> None:
        try:
            connection, _ = sock.accept()
        except BlockingIOError:  # the other thread has accepted it
            return
        except OSError:  # the client is gone again, or this process has no descriptor left
            self._stopping.wait(0.01)
            return
        if len(self._connections) >= _MAX_CONNECTIONS or not self._admit():
            reset(connection)
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            if self._closed:
                connection.close()
                return
            self._connections.add(connection)
        try:
            threading.Thread(target=self._serve, args=(connection,), daemon=True,
                             name='novalink-simulator-connection').start()
        except RuntimeError:  # the system has no thread left
            self._forget(connection)
            reset(connection)

    @contextlib.contextmanager
    def _being_served(self) -> Iterator[None]:
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1
                self._idle.notify_all()

    def _send(self, connection: socket.socket, data: bytes, answer: Answer) -> None:
        piece = answer.piece or len(data)
        for start in range(0, len(data), piece):
            if start and self._stopping.wait(answer.pause_s):
                raise Dropped
            connection.sendall(data[start:start + piece])

    def _serve(self, connection: socket.socket) -> None:
        reader = RequestReader(connection, self._body_limit)
        try:
            while True:
                request = reader.request()
                if request is None:
                    return
                with self._being_served():
                    answer = self._handle(request)
                    last = (request.headers.get('connection', '').lower() == 'close'
                            or answer.cut is not None or self._closed)
                    self._send(connection, serialize(answer, last), answer)
                if last:
                    return
        except Dropped:
            reset(connection)
        except BadRequest as err:
            with contextlib.suppress(OSError):  # the client closed
                connection.sendall(serialize(err.answer, last=True))
                _close_when_read(connection)
        except OSError:  # the client closed, or stop() did
            pass
        finally:
            self._forget(connection)
            connection.close()

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)


def reset(connection: socket.socket) -> None:
    """Close a connection so that the other side sees it reset."""
    with contextlib.suppress(OSError):  # already gone
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    connection.close()


def _close_when_read(connection: socket.socket) -> None:
    """Take what still comes, for a moment: closed at once, a connection loses its last answer."""
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(_GRACE_S)
    for _ in range(64):
        if not connection.recv(65536):
            return


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # already gone
        connection.shutdown(socket.SHUT_RDWR)


def _bind(port: int) -> tuple[list[socket.socket], int]:
    for attempt in range(20):
        first = _listen(socket.AF_INET, '127.0.0.1', port)
        chosen = first.getsockname()[1]
        try:
            return [first, _listen(socket.AF_INET6, '::1', chosen)], chosen
        except OSError as err:
            if err.errno == errno.EADDRINUSE and not port and attempt < 19:
                first.close()
                continue
            # No IPv6 here: then localhost is 127.0.0.1 alone.
            return [first], chosen
    raise AssertionError('unreachable')


def _listen(family: int, address: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
