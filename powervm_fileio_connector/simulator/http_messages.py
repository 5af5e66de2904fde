# SPDX-License-Identifier: Apache-2.0
"""HTTP requests and answers: reading the one from a connection, and the other as bytes."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from dataclasses import field
from http import HTTPStatus
from urllib.parse import unquote
from urllib.parse import urlsplit

_MAX_HEAD = 64 * 1024


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
    """One HTTP answer.

    :ivar cut: only that many bytes of the body are sent, then the connection is closed
    :ivar piece: so many bytes are sent at a time, with ``pause_s`` between them; 0: all at once
    """

    status: int
    body: bytes = b''
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    piece: int = 0
    pause_s: float = 0.0


class Dropped(Exception):
    """Close the connection without an answer."""


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


class RequestReader:
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
