# SPDX-License-Identifier: Apache-2.0
"""One HTTP exchange with NovaLink: bytes stay bytes, and it ends by its deadline.

pypowervm's own goes through ``requests``, which guesses the charset of answers that name none, as
NovaLink's do (seconds of processor time, and names of other people's disks corrupted), asks the
environment for proxies, and cannot tell whether a request was sent. Here http.client sends it, to
the server itself, over a connection that is this exchange's alone.
"""

from __future__ import annotations

import functools
import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import TypeVar
from urllib import parse

from pypowervm import adapter as pvm_adapter
from requests import certs

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink import failures
from powervm_fileio_connector.novalink import retry
from powervm_fileio_connector.novalink.failures import FailureKind
from powervm_fileio_connector.novalink.failures import RequestFailed
from powervm_fileio_connector.novalink.failures import is_shortage
from powervm_fileio_connector.novalink.retry import Waiting

CONNECT_TIMEOUT_S = 10.0
_SEND_BYTES = 1 << 18
_T = TypeVar('_T')


def send(session: Any, method: str, path: str, headers: Mapping[str, str], body: str | bytes,
         deadline: Deadline, token: str | None = None, verify: bool = False,
         waiting: Waiting | None = None) -> pvm_adapter.Response:
    """Send a request, and return the answer, of whatever status; its body is bytes.

    :param session: whose server it is
    :param token: the session's; None for a logon
    :param verify: check the server's certificate
    :param waiting: is told if the answer does not come soon
    :raises RequestFailed: by whether the request can have been carried out
    """
    address = parse.urlsplit(session.dest)
    connection = _connection(address)
    sent = dict(headers) if token is None else {**headers, 'X-API-Session': token}
    data = body.encode() if isinstance(body, str) else body
    sock, is_sent = None, False
    try:
        sock = _connected(connection.host, connection.port, deadline, waiting)
        if address.scheme != 'http':
            sock = _tls_context(verify).wrap_socket(
                sock, server_hostname=connection.host, do_handshake_on_connect=False)
            connecting = Deadline(min(CONNECT_TIMEOUT_S, deadline.left()))
            _BoundedSocket(sock, connecting, waiting).bounded(sock.do_handshake)
        connection.sock = _BoundedSocket(sock, deadline, waiting)
        try:
            connection.request(method, path, body=data, headers=sent)
        except (BrokenPipeError, ConnectionResetError) as err:
            # A server may refuse a request before it has read all of it.
            try:
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException):
                raise err from None
        else:
            is_sent = True
            answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException, ValueError) as err:
        raise _failure(err, f'{method} {path.partition("?")[0]}', is_sent, deadline) from err
    finally:
        connection.close()
        if sock is not None:
            sock.close()
    return pvm_adapter.Response(method, path, answer.status, answer.reason, answer.headers,
                                reqheaders=dict(headers), body=content)


def call_with_deadline(deadline: Deadline, call: Callable[[], _T]) -> _T:
    """Call something that may block where no timeout reaches, and be back by the deadline.

    It runs in a daemon thread, which is left behind when the deadline has passed.

    :raises RequestFailed: what pypowervm raised; or the deadline has passed, or there is no thread
    """
    results: list[_T] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            with failures.classifying():
                results.append(call())
        except BaseException as err:  # noqa: BLE001 - handed to the caller, whatever it is
            errors.append(err)
        finally:
            done.set()

    try:
        threading.Thread(target=run, name='powervm-fileio-request', daemon=True).start()
    except RuntimeError as err:
        raise RequestFailed(FailureKind.SHORTAGE, str(err)) from err
    if not done.wait(deadline.left()):
        raise RequestFailed(FailureKind.LATE, f'no answer within {deadline.seconds:.1f} s')
    if errors:
        raise errors[0]
    return results[0]


def _connection(address: parse.SplitResult) -> http.client.HTTPConnection:
    kind = (http.client.HTTPConnection if address.scheme == 'http'
            else http.client.HTTPSConnection)
    return kind(address.hostname or '', address.port)


def _tls_context(verify: bool) -> ssl.SSLContext:
    if verify:
        return ssl.create_default_context(cafile=certs.where())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _connected(host: str, port: int, deadline: Deadline, waiting: Waiting | None) -> socket.socket:
    """Connect, to the first of the host's addresses that lets one, and all of them in one time.

    That none does soon is spoken of.
    """
    left = deadline.left()
    if not left:
        raise RequestFailed(FailureKind.UNREACHABLE, 'no time was left to ask')
    connecting = Deadline(min(CONNECT_TIMEOUT_S, left))
    error: OSError = TimeoutError('timed out')
    addresses = _addresses(host, port, connecting)
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        end = Deadline(connecting.left() / (len(addresses) - tried))
        while not end.has_passed:
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(max(0.01, min(end.left(), retry.SILENCE_S)))
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return sock
            except TimeoutError as err:
                sock.close()
                error = err
                if waiting is not None and not end.has_passed:
                    waiting.silent(deadline)
            except OSError as err:
                sock.close()
                error = err
                break
    raise error


def _addresses(host: str, port: int, deadline: Deadline) -> list[Any]:
    """The addresses of a host, as of ``getaddrinfo``."""
    resolve = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    if host == 'localhost' or ':' in host or host.rpartition('.')[2].isdecimal():
        return resolve()

    def resolved() -> list[Any] | OSError:
        try:
            return resolve()
        except OSError as err:
            return err

    try:
        # It knows no timeout, and asks servers of its own.
        found = call_with_deadline(deadline, resolved)
    except RequestFailed as err:
        kind = FailureKind.UNREACHABLE if err.kind is FailureKind.LATE else err.kind
        raise RequestFailed(kind, f'the address of {host}: {err.detail}') from err
    if isinstance(found, OSError):
        raise found
    return found


class _BoundedSocket:
    """A connected socket, as ``http.client`` uses it, no operation of which outlasts a deadline.

    A timeout of the socket alone bounds one wait for bytes, so that a server that trickles could
    hold its caller for ever.
    """

    def __init__(self, sock: Any, deadline: Deadline, waiting: Waiting | None) -> None:
        self._sock = sock
        self._deadline = deadline
        self._waiting = waiting
        self._silent_from = time.monotonic() + retry.SILENCE_S

    def sendall(self, data: bytes) -> None:
        """Send all."""
        rest = memoryview(data)
        while rest:
            rest = rest[self.bounded(functools.partial(self._sock.send, rest[:_SEND_BYTES])):]

    def makefile(self, mode: str = 'r', buffering: int | None = None) -> io.BufferedReader:
        """Return what ``http.client`` reads the answer from."""
        return io.BufferedReader(_Reader(self._sock, self.bounded), 1 << 16)

    def close(self) -> None:
        """Stay open: ``http.client`` closes a connection before the answer has been read."""

    def bounded(self, operation: Callable[[], _T]) -> _T:
        """Return what an operation of the socket returns, or raise that it took too long."""
        while True:
            left = self._deadline.left()
            if not left:
                raise TimeoutError('timed out')
            if self._waiting is not None:
                left = min(left, max(0.01, self._silent_from - time.monotonic()))
            self._sock.settimeout(left)
            try:
                return operation()
            except TimeoutError:
                if self._waiting is not None and time.monotonic() >= self._silent_from:
                    waiting, self._waiting = self._waiting, None
                    waiting.silent(self._deadline)


class _Reader(io.RawIOBase):
    def __init__(self, sock: Any, bounded: Callable[[Callable[[], int]], int]) -> None:
        self._sock = sock
        self._bounded = bounded

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._bounded(functools.partial(self._sock.recv_into, buffer))


def _failure(err: Exception, request: str, is_sent: bool, deadline: Deadline) -> RequestFailed:
    detail = f'{request}: {getattr(err, "strerror", None) or err}'
    if is_shortage(err):
        return RequestFailed(FailureKind.SHORTAGE, detail)
    if not is_sent:
        return RequestFailed(FailureKind.UNREACHABLE, detail)
    if deadline.left() < 0.1:
        return RequestFailed(FailureKind.LATE, f'{request}: no answer within '
                             f'{deadline.seconds:.1f} s')
    return RequestFailed(FailureKind.LOST, detail)
