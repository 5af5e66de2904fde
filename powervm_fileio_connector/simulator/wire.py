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
from dataclasses import dataclass
from dataclasses import field
from http import HTTPStatus
from urllib.parse import unquote
from urllib.parse import urlsplit

_MAX_HEAD = 64 * 1024
_BACKLOG = 512
_GRACE_S = 1.0


@dataclass
class Request:
    """One HTTP request."""

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)  # names in lower case
    body: bytes = b''

    def __post_init__(self) -> None:
        parts = urlsplit(self.target)
        self.path = unquote(parts.path)
        self.query = parts.query


@dataclass
class Answer:
    """One HTTP answer; ``cut`` sends only that many bytes of the body, then closes."""

    status: int
    body: bytes = b''
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


class Dropped(Exception):
    """Close the connection without an answer."""


class Listener:
    """Accepts connections on ``localhost``, each served by a thread of its own.

    Listens on 127.0.0.1, and on ::1 with the same port where there is IPv6, so that no client
    has to try twice whatever ``localhost`` means to it.
    """

    def __init__(self, port: int, handle: Callable[[Request], Answer],
                 admit: Callable[[], bool]) -> None:
        """:param admit: asked for every new connection; False closes it unread"""
        self._handle, self._admit = handle, admit
        self._sockets, self.port = _bind(port)
        self._stop_r, self._stop_w = socket.socketpair()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._closed = False
        self._busy = 0
        self._idle = threading.Condition(self._lock)
        self._thread = threading.Thread(target=self._accept, name='novalink-simulator',
                                        daemon=True)

    def start(self) -> None:
        """Begin to accept."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and close every connection; may be called again.

        Requests that are being served get a moment to be answered.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._idle.wait_for(lambda: not self._busy, _GRACE_S)
            connections = list(self._connections)
        self._stop_w.send(b'x')
        for connection in connections:
            _shut(connection)
        if self._thread.is_alive():
            self._thread.join(5)
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
        except OSError:  # the client is gone again
            return
        if not self._admit():
            reset(connection)
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            if self._closed:
                connection.close()
                return
            self._connections.add(connection)
        threading.Thread(target=self._serve, args=(connection,), daemon=True,
                         name='novalink-simulator-connection').start()

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

    def _serve(self, connection: socket.socket) -> None:
        reader = _Reader(connection)
        try:
            while True:
                request = reader.request()
                if request is None:
                    return
                with self._being_served():
                    answer = self._handle(request)
                    last = (request.headers.get('connection', '').lower() == 'close'
                            or answer.cut is not None or self._closed)
                    connection.sendall(serialize(answer, last))
                if last:
                    return
        except Dropped:
            reset(connection)
        except OSError:  # the client closed, or stop() did
            pass
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()


def serialize(answer: Answer, last: bool) -> bytes:
    """Head and body in one piece, so that one send carries both."""
    try:
        reason = HTTPStatus(answer.status).phrase
    except ValueError:
        reason = 'Unknown'
    lines = [f'HTTP/1.1 {answer.status} {reason}']
    lines += [f'{name}: {value}' for name, value in answer.headers.items()]
    if answer.status not in (204, 304):
        lines.append(f'Content-Length: {len(answer.body)}')
    if last:
        lines.append('Connection: close')
    head = '\r\n'.join(lines).encode('latin-1') + b'\r\n\r\n'
    if answer.status in (204, 304):
        return head
    return head + (answer.body if answer.cut is None else answer.body[:answer.cut])


class _Reader:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b''

    def request(self) -> Request | None:
        """The next request, or None at the end."""
        while b'\r\n\r\n' not in self._buffer:
            data = self._connection.recv(65536)
            if not data or len(self._buffer) > _MAX_HEAD:
                return None
            self._buffer += data
        head, _, rest = self._buffer.partition(b'\r\n\r\n')
        first, *lines = head.decode('latin-1').split('\r\n')
        method, _, target = first.rpartition(' ')[0].partition(' ')
        headers = {}
        for line in lines:
            name, _, value = line.partition(':')
            headers[name.strip().lower()] = value.strip()
        if headers.get('expect', '').lower() == '100-continue':
            self._connection.sendall(b'HTTP/1.1 100 Continue\r\n\r\n')
        body = self._body(rest, int(headers.get('content-length') or 0))
        return Request(method, target, headers, body)

    def _body(self, got: bytes, length: int) -> bytes:
        if len(got) >= length:
            self._buffer = got[length:]
            return got[:length]
        body = bytearray(length)
        body[:len(got)] = got
        view, at = memoryview(body), len(got)
        while at < length:
            count = self._connection.recv_into(view[at:])
            if not count:
                raise ConnectionResetError('the client closed in the middle of a request')
            at += count
        self._buffer = b''
        return bytes(body)


def reset(connection: socket.socket) -> None:
    """Close a connection so that the other side sees it reset."""
    with contextlib.suppress(OSError):  # already gone
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    connection.close()


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
    except OSError:
        sock.close()
        raise
    return sock
