# SPDX-License-Identifier: Apache-2.0
"""One request to NovaLink: bounded by a deadline, its failure sorted by what it means.

pypowervm sends, parses, and logs on again when a session has expired. What is added here: no call
outlives its deadline, and an error says whether the request may have been carried out.
"""

from __future__ import annotations

import contextlib
import enum
import random
import re
import socket
import sys
import threading
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import requests
from oslo_log import log as logging
from pypowervm import exceptions as pvm_exceptions
from urllib3 import exceptions as urllib3_exceptions

from powervm_fileio_connector.deadline import Deadline

LOG = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0


class Trouble(enum.Enum):
    """What a failed request means."""

    UNREACHABLE = 'the server was not reached, so nothing was carried out'
    LOST = 'no usable answer came, so it may or may not have been carried out'
    LATE = 'no answer came before the deadline, so it may or may not have been carried out'
    BUSY = 'the server is busy and carried nothing out'
    STALE = 'the document has changed since it was read, and nothing was carried out'
    MISSING = 'the server knows no such thing'
    SESSION = 'the session is not accepted, and could not be renewed'
    REFUSED = 'the server refused it'
    FAULT = 'the server failed over it, and may have carried out a part'


class RequestFailed(Exception):
    """A request failed.

    :ivar trouble: what that means
    :ivar status: the HTTP status, None where no answer came
    :ivar words: what the server, or else the client library, says about it
    """

    def __init__(self, trouble: Trouble, words: str, status: int | None = None) -> None:
        super().__init__(f'{trouble.value}: {words}')
        self.trouble = trouble
        self.words = words
        self.status = status


def request(deadline: Deadline, send: Callable[..., Any], *args: Any,
            on_answer: Callable[[Any], None] | None = None, **kwargs: Any) -> Any:
    """Call one of pypowervm's ``Adapter`` methods, and be back by the deadline whatever happens.

    The helpers of the adapter are left out: nova-powervm's sleeps up to 30 seconds over a busy
    VIOS, whatever the deadline.

    :param on_answer: is given the ``Response`` before pypowervm parses it
    :raises RequestFailed: sorted by what it means
    """
    def helper(exchange: Callable[..., Any]) -> Callable[..., Any]:
        def bound(*args: Any, **kwargs: Any) -> Any:
            response = bounded(deadline, lambda: exchange(*args, **kwargs))
            if on_answer is not None and response.body:
                on_answer(response)
            return response
        return bound

    left = max(deadline.left(), 0.001)
    with sorting(deadline):
        return send(*args, helpers=[helper], timeout=(min(CONNECT_TIMEOUT_S, left), left), **kwargs)


def bounded(deadline: Deadline, call: Callable[[], Any]) -> Any:
    """Do something that waits for the server, and be back by the deadline whatever happens.

    The timeout of ``requests`` bounds one wait for bytes, so a server that trickles could hold its
    caller for ever. So the call runs in a thread, whose connection is shut down when the deadline
    passes, which ends it. It holds no lock of ours and keeps no process from ending.

    :raises RequestFailed: the deadline has passed; other errors are those of ``call``
    """
    left = deadline.left()
    if left <= 0:
        raise RequestFailed(Trouble.UNREACHABLE, 'no time was left to ask')
    results: list[Any] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            results.append(call())
        except BaseException as err:  # noqa: BLE001 - handed to the caller, whatever it is
            errors.append(err)
        finally:
            done.set()

    thread = threading.Thread(target=run, name='powervm-fileio-request', daemon=True)
    thread.start()
    if not done.wait(left):
        _hang_up(thread)
        raise RequestFailed(Trouble.LATE, f'no answer within {left:.1f} s')
    if errors:
        raise errors[0]
    return results[0]


def _hang_up(thread: threading.Thread) -> None:
    """Shut down the connection that a thread waits on.

    pypowervm and requests hand it to nobody, so it is looked for where the thread is: in the frames
    of ``socket`` and ``http.client``. Where it is not found, the wait for bytes still has a limit.
    """
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        owner = frame.f_locals.get('self')
        for name in ('_sock', 'sock'):
            connection = getattr(owner, name, None)
            if isinstance(connection, socket.socket):
                with contextlib.suppress(OSError):      # it has just been closed
                    # Of TLS only what is below: the thread itself may be in the middle of it.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
                return
        frame = frame.f_back


def expected(response: Any, what: str) -> Any:
    """Return the ``feed`` or ``entry`` of an answer.

    :raises RequestFailed: the answer is well-formed, but has none: nothing is known, then
    """
    found = getattr(response, what)
    if found is None or (what == 'entry' and found.element is None):
        raise RequestFailed(Trouble.LOST, f'the answer holds no {what}', response.status)
    return found


def pause_s(tries: int) -> float:
    """How long to wait after so many failed tries: growing, and jittered to part those who met."""
    return random.uniform(0.5, 1.0) * min(0.05 * 2 ** tries, 2.0)


@contextlib.contextmanager
def sorting(deadline: Deadline) -> Iterator[None]:
    """Turn what pypowervm raises into :class:`RequestFailed`."""
    try:
        yield
    except RequestFailed:
        raise
    except pvm_exceptions.Error as err:
        raise sort(err, deadline) from err
    except Exception as err:
        # It stumbles in many ways over an answer that is not what it takes for granted.
        raise RequestFailed(Trouble.LOST, f'pypowervm cannot make sense of the answer '
                            f'({type(err).__name__}: {err})') from err


def sort(err: pvm_exceptions.Error, deadline: Deadline | None = None) -> RequestFailed:
    """Say what an error of pypowervm means."""
    status = err.response.status if err.response is not None else None
    if _is_session_lost(err):
        return RequestFailed(Trouble.SESSION, _words(err), status)
    if isinstance(err, pvm_exceptions.HttpError):
        return RequestFailed(_by_status(err), _words(err), status)
    if err.orig_response is not None or _is_unsent(err):
        # With orig_response, it was the logging on again that failed, so the request was not sent.
        return RequestFailed(Trouble.UNREACHABLE, _words(err))
    if isinstance(err, pvm_exceptions.TimeoutError) and deadline is not None and (
            deadline.left() < 0.1):
        return RequestFailed(Trouble.LATE, _words(err))
    # A cut or unreadable answer arrives as a plain Error or an AtomError with status 200.
    return RequestFailed(Trouble.LOST, _words(err), status)


def _by_status(err: pvm_exceptions.HttpError) -> Trouble:
    status = err.response.status
    if status == 412:
        return Trouble.STALE
    if status in (404, 410):
        return Trouble.MISSING
    if status in (408, 429, 503):
        return Trouble.BUSY
    if status in (502, 504):
        return Trouble.LOST
    if status >= 500:
        # A busy VIOS answers 500, and only the message tells it from a failure; pypowervm knows the
        # codes and texts to look for. A wrong guess costs one look: a fault is looked at, too.
        is_busy = err.her_wrap is not None and err.her_wrap.is_vios_busy()
        return Trouble.BUSY if is_busy else Trouble.FAULT
    return Trouble.REFUSED


def _is_session_lost(err: pvm_exceptions.Error) -> bool:
    """Whether the session was refused, and pypowervm could not renew it.

    A second 401 right after a new logon is raised as a plain Error, without a response, while the
    401 is handled.
    """
    return (isinstance(err, (pvm_exceptions.HttpUnauth, pvm_exceptions.AuthFileReadError,
                             pvm_exceptions.AuthFileAccessError))
            or isinstance(err.__context__, pvm_exceptions.HttpUnauth))


def _is_unsent(err: pvm_exceptions.Error) -> bool:
    """Whether the connection was not even made."""
    cause = err.__context__
    if isinstance(cause, requests.exceptions.ConnectTimeout):
        return True
    inner = cause.args[0] if isinstance(cause, requests.exceptions.ConnectionError) and (
        cause.args) else None
    return isinstance(getattr(inner, 'reason', None), urllib3_exceptions.NewConnectionError)


def _words(err: pvm_exceptions.Error) -> str:
    """What the server said, or else the operating system, or else pypowervm."""
    wrapper = getattr(err, 'her_wrap', None)
    message = wrapper.message if wrapper is not None else None
    if not message:
        message = str(err)
        system_error = _system_error(err.__context__)
        asked = re.search(r'for (\w+ [^\s?]+)', message)
        if system_error is not None and asked:
            # Instead of five exceptions, each quoting the next.
            message = f'{asked[1].rstrip(":")}: {system_error.strerror}'
    return ' '.join(message.split())[:1000].rstrip('.')


def _system_error(cause: Any) -> OSError | None:
    """The operating system's error that an exception of ``requests`` is about."""
    for _ in range(8):
        if isinstance(cause, OSError) and cause.strerror:
            return cause
        cause = getattr(cause, 'reason', None) or getattr(cause, '__cause__', None) or next(
            (one for one in getattr(cause, 'args', ()) if isinstance(one, BaseException)), None)
    return None
