# SPDX-License-Identifier: Apache-2.0
"""HTTP requests and answers: reading the one from a connection, and the other as bytes."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from http import HTTPStatus
from urllib.parse import unquote
from urllib.parse import urlsplit

MAX_BODY = 64 * 1024 * 1024      # a document of 10,000 mappings has 25 MiB
_MAX_HEAD = 64 * 1024
_RECEIVE_S = 30.0
_SEND_S = 600.0
_REQUEST_LINE = re.compile(r"([A-Z]{1,20}) ([^\s]+) HTTP/1\.[01]")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")


@dataclass
class Request:
    """One HTTP request."""

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)  # names in lower case
    body: bytes = b''
    port: int = 0  # of the client

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


class BadRequest(Exception):
    """The request cannot be read; the connection ends with an answer that says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.answer = Answer(status, f'{reason}\n'.encode(),
                             {'Content-Type': 'text/plain; charset=utf-8'})


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
    """Reads requests from a connection, and believes nothing that they say of themselves."""

    def __init__(self, connection: socket.socket, body_limit: Callable[[Request], int]) -> None:
        """:param body_limit: how many bytes of a request's body are wanted; what is more is read
            and dropped, so that the answer reaches the client
        """
        self._connection, self._body_limit = connection, body_limit
        self._buffer = b''

    def request(self) -> Request | None:
        """The next request, or None at the end.

        :raises BadRequest: it is none, is too large, or does not come in time
        :raises OSError: the connection broke
        """
        head = self._head()
        if head is None:
            return None
        first, *lines = head.decode('latin-1').split('\r\n')
        found = _REQUEST_LINE.fullmatch(first)
        if found is None:
            raise BadRequest(400, f'not a request line of HTTP/1: {first[:200]!r}')
        request = _request(found.group(1), found.group(2), _headers(lines))
        length = _length(request.headers)
        if length > MAX_BODY:
            raise BadRequest(413, f'a body of {length} bytes: at most {MAX_BODY} are taken')
        if request.headers.get('expect', '').lower() == '100-continue':
            self._connection.sendall(b'HTTP/1.1 100 Continue\r\n\r\n')
        if length <= self._body_limit(request):
            request.body = self._body(length)
        else:
            self._drop(length)
        request.port = self._connection.getpeername()[1]
        self._connection.settimeout(_SEND_S)
        return request

    def _head(self) -> bytes | None:
        # A connection may be kept for as long as its client likes; a request may not take for ever.
        self._connection.settimeout(None if not self._buffer else _RECEIVE_S)
        end = time.monotonic() + _RECEIVE_S
        while b'\r\n\r\n' not in self._buffer:
            if len(self._buffer) > _MAX_HEAD:
                raise BadRequest(431, f'a head of more than {_MAX_HEAD} bytes')
            data = self._receive(65536)
            if not data:
                if self._buffer:
                    raise BadRequest(400, 'the connection ended within the head of a request')
                return None
            if not self._buffer:
                end = time.monotonic() + _RECEIVE_S
            self._buffer += data
            self._connection.settimeout(max(0.001, end - time.monotonic()))
        head, _, self._buffer = self._buffer.partition(b'\r\n\r\n')
        self._connection.settimeout(_RECEIVE_S)
        return head

    def _receive(self, size: int) -> bytes:
        try:
            return self._connection.recv(size)
        except TimeoutError as err:
            raise BadRequest(408, f'the request did not come within {_RECEIVE_S:.0f} s') from err

    def _body(self, length: int) -> bytes:
        got, self._buffer = self._buffer[:length], self._buffer[length:]
        if len(got) == length:
            return got
        body = bytearray(length)
        body[:len(got)] = got
        view, at = memoryview(body), len(got)
        while at < length:
            try:
                count = self._connection.recv_into(view[at:])
            except TimeoutError as err:
                raise BadRequest(408, f'{at} of {length} bytes of the body came') from err
            if not count:
                raise ConnectionResetError('the client closed in the middle of a request')
            at += count
        return bytes(body)

    def _drop(self, length: int) -> None:
        left = length - len(self._buffer)
        self._buffer = self._buffer[length:]
        while left > 0:
            data = self._receive(min(left, 65536))
            if not data:
                raise ConnectionResetError('the client closed in the middle of a request')
            left -= len(data)


def _request(method: str, target: str, headers: dict[str, str]) -> Request:
    try:
        request = Request(method, target, headers)
    except ValueError as err:
        raise BadRequest(400, f'{target[:200]!r} is no address: {err}') from err
    if not target.startswith('/') or not request.path.isprintable():
        raise BadRequest(400, f'{target[:200]!r} is no address: expected a path')
    return request


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(':')
        name = name.lower()
        if not colon or not _TOKEN.fullmatch(name):
            raise BadRequest(400, f'not a header: {line[:200]!r}')
        if name in headers and name in ('content-length', 'host', 'transfer-encoding'):
            raise BadRequest(400, f'{name} is there twice')
        headers[name] = value.strip()
    return headers


def _length(headers: dict[str, str]) -> int:
    if 'transfer-encoding' in headers:
        raise BadRequest(411, 'a body in chunks is not taken: expected a Content-Length')
    text = headers.get('content-length', '0')
    if not re.fullmatch('[0-9]{1,18}', text):
        raise BadRequest(400, f'Content-Length is {text[:200]!r}: expected a number of bytes')
    return int(text)
