# SPDX-License-Identifier: Apache-2.0
"""Sessions with NovaLink: a local one opened at first use, and tokens that have expired.

Accounts get locked when a wrong password is tried too often. So callers that need a logon at the
same time share one, and its failure, and a renewal that was refused is not tried again for a while.
"""

from __future__ import annotations

import copy
import functools
import html
import re
import threading
import time
from collections.abc import Callable
from typing import Any
from typing import Generic
from typing import TypeVar
from urllib import parse

from oslo_log import log as logging
from pypowervm import adapter as pvm_adapter

from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink import exchange
from powervm_fileio_connector.novalink import failures
from powervm_fileio_connector.novalink import locks
from powervm_fileio_connector.novalink.failures import FailureKind
from powervm_fileio_connector.novalink.failures import RequestFailed
from powervm_fileio_connector.novalink.retry import LEAST_S
from powervm_fileio_connector.novalink.retry import Waiting
from powervm_fileio_connector.novalink.retry import retry_transient

LOG = logging.getLogger(__name__)

_LOOPBACK = re.compile(r'localhost|127(\.\d{1,3}){3}|::1', re.IGNORECASE)

REFUSAL_PAUSE_S = 60.0
"""How long a session that NovaLink refused to renew is not renewed again."""

_TELLING = 6
"""So many characters of a password in a row are not shown."""

_T = TypeVar('_T')


class LocalSession(pvm_adapter.Session):
    """pypowervm's session, which talks to NovaLink directly, whatever proxies are configured.

    To drop it sends nothing; see :func:`log_off`.
    """

    def __init__(self, settings: conf.Settings, deadline: Deadline, waiting: Waiting) -> None:
        self._deadline = deadline
        self._waiting = waiting
        super().__init__(
            host=settings.novalink_host, port=settings.novalink_port,
            protocol=settings.novalink_protocol, username=settings.novalink_username,
            password=settings.novalink_password, certpath=settings.novalink_certpath,
            timeout=settings.rest_timeout_s)

    def request(self, method: str, path: str, headers: Any = None, body: Any = '',
                verify: bool = False, login: bool = False, **_: Any) -> Any:
        """Send a request, without logging on again."""
        return _request(self, self._deadline, self._waiting, method, path, headers, body, verify,
                        login)

    def __del__(self) -> None:
        """Leave the server alone: it may hang, and the caller with it."""


def _request(session: Any, deadline: Deadline, waiting: Waiting | None, method: str, path: str,
             headers: Any = None, body: Any = '', verify: bool = False, login: bool = False,
             **_: Any) -> Any:
    headers = {**(headers or {}), 'X-Audit-Memento': session.auditmemento}
    response = exchange.send(session, method, path, headers, body, deadline,
                             None if login else session._sessToken, verify, waiting)
    failures.require_success(response)
    # pypowervm encodes the answer to a logon before it parses it.
    response.body = response.body.decode(errors='replace')
    return response


def log_on(settings: conf.Settings, deadline: Deadline, waiting: Waiting) -> LocalSession:
    """Log on to NovaLink, with the password of the options or else by a file on this host.

    The server names that file, which is read, often by root, and sent to it: so it must be here.

    :raises NovaLinkUnavailable: the server is not reached, or does not accept the logon; or it is
        on another host, and there is no password
    """
    host = settings.novalink_host
    if settings.novalink_password is None and not _LOOPBACK.fullmatch(host):
        raise exceptions.NovaLinkUnavailable(
            reason=f'novalink_host is {host}, and without novalink_password the logon is by a file '
            'of this host, which is for localhost only', remedy='Set novalink_host to localhost, '
            'or set novalink_username and novalink_password.')

    def attempt() -> LocalSession:
        try:
            # pypowervm asks for the server's certificate without any timeout.
            return exchange.call_with_deadline(
                deadline, lambda: LocalSession(settings, deadline, waiting))
        except RequestFailed as err:
            # "from None": what pypowervm raised may quote what was sent.
            raise RequestFailed(
                err.kind, _without(settings.novalink_password, err), err.status) from None

    try:
        return retry_transient(deadline, attempt, waiting)
    except RequestFailed as err:
        if err.kind is FailureKind.SHORTAGE:
            raise failures.as_error(err) from None
        raise exceptions.NovaLinkUnavailable(reason='cannot log on to NovaLink at '
                                             f'{settings.novalink_host}: {err.detail}') from None


def log_off(session: LocalSession, deadline: Deadline) -> None:
    """Log off, if that is possible before the deadline; else the session is left to expire."""
    try:
        _request(session, deadline, None, 'DELETE', pvm_adapter.c.LOGON_PATH)
    except RequestFailed as err:
        LOG.debug('The NovaLink session is left to expire: %s', err)


class SharedValue(Generic[_T]):
    """A value that is made at first use; callers who wait for it share the failure to make it.

    Not shared is that a caller had no time left for it.

    :ivar value: None: it has not been made
    """

    def __init__(self) -> None:
        self._turn = locks.FairLock()
        self.value: _T | None = None
        self._failure: tuple[float, exceptions.FileIOConnectorError] | None = None

    def get(self, make: Callable[[], _T], deadline: Deadline, making: str) -> _T:
        """Return the value.

        :param making: what is being done, for the error of a caller who waited in vain
        :raises FileIOConnectorError: ``make`` failed, for this or another caller
        """
        asked_at = time.monotonic()
        if self.value is not None:
            return self.value
        with self._turn.held(deadline.left()) as is_held:
            if not is_held:
                raise exceptions.NovaLinkUnavailable(reason=f'another caller is still {making}')
            if self.value is None:
                if self._failure is not None and self._failure[0] > asked_at:
                    raise self._failure[1].copy()
                try:
                    self.value = make()
                except exceptions.FileIOConnectorError as err:
                    # That no time was left is the caller's own failure.
                    if deadline.left() >= LEAST_S:
                        # The traceback of the error itself would keep the session for ever.
                        self._failure = time.monotonic(), err.copy()
                    raise
            return self.value


class LazyAdapter:
    """An adapter that was given, or else one of our own, opened at first use.

    :param given: None opens one, as ``settings`` say
    """

    def __init__(self, settings: conf.Settings, given: Any = None) -> None:
        self._settings = settings
        self._given = given
        self._own: SharedValue[Any] = SharedValue()

    def get(self, deadline: Deadline, waiting: Waiting) -> Any:
        """Return the adapter.

        :raises NovaLinkUnavailable: logging on failed
        """
        if self._given is not None:
            return self._given
        return self._own.get(
            lambda: pvm_adapter.Adapter(log_on(self._settings, deadline, waiting)), deadline,
            f'logging on to NovaLink at {self._settings.novalink_host}')

    def reset(self) -> None:
        """In a forked child: leave the session of our own to the parent."""
        self._own = SharedValue()

    @property
    def own_session(self) -> LocalSession | None:
        """The session of our own, if it has been opened."""
        adapter = self._own.value
        return adapter.session if adapter is not None else None


class TokenRenewal:
    """Logs on again when NovaLink no longer accepts the token of a session.

    :param is_given: the session is a caller's: pypowervm, and so the caller, gives it up for good
        when it cannot be renewed
    """

    def __init__(self, is_given: bool) -> None:
        self._turn = locks.FairLock()
        self._is_given = is_given
        self._refused_at: float | None = None
        self._refusal = ''

    def renew(self, session: Any, refused_token: str, deadline: Deadline,
              waiting: Waiting) -> None:
        """Give a session a new token, unless that was refused a moment ago.

        :raises RequestFailed: the session cannot be renewed, or not now
        """
        with self._turn.held(deadline.left()) as is_held:
            if not is_held:
                raise RequestFailed(FailureKind.UNREACHABLE,
                                    'another caller is still logging on to NovaLink')
            if session._sessToken != refused_token:
                return
            if session._relogin_unsafe or (
                    self._refused_at is not None
                    and time.monotonic() - self._refused_at < REFUSAL_PAUSE_S):
                raise self._failure(self._refusal or 'it was refused before')
            try:
                session._sessToken = self._new_token(session, deadline, waiting)
                session._logged_in = True
            except RequestFailed as err:
                detail = _without(session.password, err)
                LOG.warning('The NovaLink session could not be renewed: %s', detail)
                if err.kind not in (FailureKind.SESSION, FailureKind.REFUSED):
                    # The request itself was answered with 401, so it was not carried out.
                    raise RequestFailed(FailureKind.UNREACHABLE, detail) from None
                self._refused_at, self._refusal = time.monotonic(), detail
                session._relogin_unsafe = self._is_given
                raise self._failure(detail) from None

    def _new_token(self, session: Any, deadline: Deadline, waiting: Waiting) -> str:
        try:
            return _token_of_new_logon(session, deadline, waiting)
        except RequestFailed as err:
            # A server that is just starting may refuse a logon once.
            if self._is_given or err.kind is not FailureKind.SESSION:
                raise
            return _token_of_new_logon(session, deadline, waiting)

    def _failure(self, detail: str) -> RequestFailed:
        whose = 'adapter that was passed in' if self._is_given else 'connector'
        return RequestFailed(FailureKind.SESSION, f'the session of the {whose}: {detail}', 401)


def _token_of_new_logon(session: Any, deadline: Deadline, waiting: Waiting) -> str:
    """Log on as a session did, by a copy of it: pypowervm takes no deadline for that."""
    # pypowervm leaves copies alone when they are dropped.
    clone = copy.copy(session)
    clone._lock = threading.RLock()
    clone.request = functools.partial(_request, clone, deadline, waiting)
    exchange.call_with_deadline(deadline, clone._logon)
    return str(clone._sessToken)


def _without(password: str | None, err: RequestFailed) -> str:
    """What is said of a failed logon; nothing of it where a part of the password may be in it.

    A server may quote what it was sent, escaped, or cut short.
    """
    if not password:
        return err.detail
    secret, text = _plain(password), _plain(err.detail)
    size = min(len(secret), _TELLING)
    if any(secret[place:place + size] in text for place in range(len(secret) - size + 1)):
        return (f'HTTP status {err.status}' if err.status else 'it failed') + (
            '; why is not shown, since it may quote the password')
    return err.detail


def _plain(text: str) -> str:
    """A text without what differs between ways to write it: escapes, white space, case."""
    for _ in range(2):
        text = parse.unquote(html.unescape(text))
    return ''.join(text.split()).replace('\\', '').casefold()
