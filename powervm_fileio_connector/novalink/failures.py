# SPDX-License-Identifier: Apache-2.0
"""What a failed request means: whether it may have been carried out, and what the caller is told.

The only module that knows pypowervm's errors.
"""

from __future__ import annotations

import contextlib
import enum
import errno
from collections.abc import Iterator
from typing import Any

from pypowervm import exceptions as pvm_exceptions

from powervm_fileio_connector import exceptions


class FailureKind(enum.Enum):
    """What a failed request means."""

    UNREACHABLE = 'the request did not reach the server, so nothing was carried out'
    SHORTAGE = 'this process lacks what a request needs, so nothing was sent'
    LOST = 'no usable answer came, so it may or may not have been carried out'
    LATE = 'no answer came before the deadline, so it may or may not have been carried out'
    BUSY = 'the server is busy and carried nothing out'
    STALE = 'the document has changed since it was read, and nothing was carried out'
    MISSING = 'the server knows no such thing'
    SESSION = 'the session is not accepted, and could not be renewed'
    REFUSED = 'the server refused it'
    FAULT = 'the server failed over it, and may have carried out a part'


AWAY = (FailureKind.UNREACHABLE, FailureKind.SHORTAGE, FailureKind.LOST)
NOT_SENT = (FailureKind.UNREACHABLE, FailureKind.SHORTAGE, FailureKind.BUSY, FailureKind.STALE)
UNKNOWN = (FailureKind.LOST, FailureKind.LATE, FailureKind.FAULT)
REFUSED = (FailureKind.REFUSED, FailureKind.MISSING)

NOT_FOUND = (404, 410)
"""HTTP statuses that say so."""

_SHORTAGES = exceptions.SHORTAGES | {errno.ENOBUFS, errno.EAGAIN}


class RequestFailed(Exception):
    """A request failed.

    :ivar kind: what that means
    :ivar status: the HTTP status, None where no answer came
    :ivar detail: what the server, or else the operating system or pypowervm, says about it
    :ivar is_read: it changes nothing, whether it was carried out or not
    """

    def __init__(self, kind: FailureKind, detail: str, status: int | None = None,
                 is_read: bool = False) -> None:
        super().__init__(f'{kind.value}: {detail}')
        self.kind = kind
        self.detail = detail
        self.status = status
        self.is_read = is_read

    @property
    def reason(self) -> str:
        """What failed, whether anything may have been changed by it, and why."""
        meaning = self.kind.value
        return f'{meaning.partition(",")[0] if self.is_read else meaning}: {self.detail}'


@contextlib.contextmanager
def classifying() -> Iterator[None]:
    """Turn what pypowervm raises into :class:`RequestFailed`."""
    try:
        yield
    except (RequestFailed, exceptions.FileIOConnectorError):
        raise
    except (pvm_exceptions.AuthFileReadError, pvm_exceptions.AuthFileAccessError) as err:
        raise RequestFailed(FailureKind.SESSION, str(err)) from err
    except pvm_exceptions.Error as err:
        # An unreadable answer arrives as a plain Error or an AtomError with status 200.
        status = err.response.status if err.response is not None else None
        raise RequestFailed(FailureKind.LOST, _shortened(str(err)), status) from err
    except Exception as err:
        # pypowervm raises many things over an answer that is not what it expects.
        raise RequestFailed(FailureKind.LOST, f'pypowervm cannot make sense of the answer '
                            f'({type(err).__name__}: {err})') from err


def require_success(response: Any) -> None:
    """Raise what an answer means that is none of success.

    :raises RequestFailed: by the status, with the server's message
    """
    if 200 <= response.status < 300 or response.status == 304:
        return
    err = pvm_exceptions.HttpError(response)
    message = (err.her_wrap.message if err.her_wrap is not None else None) or str(err)
    raise RequestFailed(_by_status(err), _shortened(message), response.status) from err


def require_entry(response: Any, kind: str) -> None:
    """Check that an answer is the entry of an object.

    :param kind: the name of its element
    :raises RequestFailed: the answer is well-formed, but no such thing, so nothing is known
    """
    _require([response.entry], kind, response.status)


def require_feed(response: Any, kind: str) -> None:
    """Check that an answer is the feed of all objects of a kind; it may be empty.

    :param kind: the name of their elements
    :raises RequestFailed: the answer is well-formed, but no such thing, so nothing is known
    """
    _require([None] if response.feed is None else response.feed.entries, kind, response.status)


def is_shortage(err: BaseException | None) -> bool:
    """Tell whether an error of the operating system is about what this process lacks."""
    return isinstance(err, OSError) and err.errno in _SHORTAGES and not isinstance(
        err, BlockingIOError)


def as_error(err: RequestFailed, **fields: Any) -> exceptions.FileIOConnectorError:
    """Return the error to raise for a failed request."""
    if err.kind in (FailureKind.BUSY, FailureKind.STALE):
        return exceptions.NovaLinkBusy(reason=err.reason, **fields)
    if err.kind is FailureKind.SESSION:
        return exceptions.NovaLinkUnavailable(
            reason=f'NovaLink does not accept {err.detail}',
            remedy='Check the credentials and open a new session.', **fields)
    if err.kind in REFUSED:
        return exceptions.MappingFailed(reason=f'NovaLink says: {err.detail}', **fields)
    if err.kind is FailureKind.SHORTAGE:
        return exceptions.NovaLinkUnavailable(
            reason=err.reason, remedy=exceptions.REMEDY_SHORTAGE, **fields)
    return exceptions.NovaLinkUnavailable(reason=err.reason, **fields)


def _require(entries: list[Any], kind: str, status: int) -> None:
    for entry in entries:
        tag = None if entry is None or entry.element is None else entry.element.tag
        if tag != kind:
            raise RequestFailed(FailureKind.LOST, f'the answer holds {tag or "nothing"} where '
                                f'{kind} was asked for', status, is_read=True)


def _by_status(err: pvm_exceptions.HttpError) -> FailureKind:
    status = err.response.status
    if status == 401:
        return FailureKind.SESSION
    if status == 412:
        return FailureKind.STALE
    if status in NOT_FOUND:
        # Without NovaLink's words it is that of a web server in which NovaLink is not (yet) there.
        return FailureKind.MISSING if err.her_wrap is not None else FailureKind.UNREACHABLE
    if status in (408, 429, 503):
        return FailureKind.BUSY
    if status < 200 or status in (502, 504):
        return FailureKind.LOST
    if status >= 500:
        # A busy VIOS answers 500, and only the message tells it from a failure; pypowervm knows the
        # codes and texts to look for. A wrong guess costs one more read.
        is_busy = err.her_wrap is not None and err.her_wrap.is_vios_busy()
        return FailureKind.BUSY if is_busy else FailureKind.FAULT
    return FailureKind.REFUSED


def _shortened(text: str) -> str:
    return ' '.join(text.split())[:1000].rstrip('.')
