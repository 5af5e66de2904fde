# SPDX-License-Identifier: Apache-2.0
"""The session of our own: logged on at first use, and renewed when it is not accepted any more.

Accounts get locked when a wrong password is tried too often. So callers that need a logon at the
same time share one, and what became of it, and a renewal that was refused is not tried again for a
while.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from oslo_log import log as logging
from pypowervm import adapter as pvm_adapter

from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink import failures
from powervm_fileio_connector.novalink import retry

LOG = logging.getLogger(__name__)

_own: weakref.WeakKeyDictionary[Any, conf.Settings] = weakref.WeakKeyDictionary()
_refused_at: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()
_renewal_lock = threading.Lock()

REFUSAL_PAUSE_S = 60.0
"""How long a session that NovaLink refused to renew is not renewed again."""


class AdapterAtFirstUse:
    """An adapter that was given, or else one of our own that is opened by whoever needs it first.

    :param given: None opens one, as ``settings`` say
    """

    def __init__(self, settings: conf.Settings, given: pvm_adapter.Adapter | None = None) -> None:
        self._settings = settings
        self._adapter = given
        self._lock = threading.Lock()
        self._failure: dict[str, Any] = {}
        self._failed_at = 0.0

    def get(self, deadline: Deadline) -> pvm_adapter.Adapter:
        """Return the adapter.

        :raises NovaLinkUnavailable: logging on failed, for us or for the caller whom we waited for
        """
        if self._adapter is not None:
            return self._adapter
        asked_at = time.monotonic()
        if not self._lock.acquire(timeout=deadline.left()):
            raise exceptions.NovaLinkUnavailable(
                reason='another caller is still logging on to NovaLink at '
                + self._settings.novalink_host)
        try:
            if self._adapter is None:
                if self._failed_at > asked_at:
                    raise exceptions.NovaLinkUnavailable(**self._failure)
                self._adapter = open_adapter(self._settings, deadline)
            return self._adapter
        except exceptions.NovaLinkUnavailable as err:
            self._failure, self._failed_at = dict(err.kwargs), time.monotonic()
            raise
        finally:
            self._lock.release()


def open_adapter(settings: conf.Settings,
                 deadline: Deadline | None = None) -> pvm_adapter.Adapter:
    """Log on to NovaLink, with the password of the options or else by a file on this host.

    :param deadline: None: as long as ``rest_timeout_s``
    :raises NovaLinkUnavailable: the server is not reached, or does not accept the logon
    """
    if deadline is None:
        deadline = Deadline(settings.rest_timeout_s)
    try:
        session = _logged_on(settings, deadline)
    except failures.RequestFailed as err:
        # "from None": what pypowervm raised may quote what was sent.
        raise exceptions.NovaLinkUnavailable(
            reason=f'cannot log on to NovaLink at {settings.novalink_host}: '
            + _without_password(err.words, settings)) from None
    adapter = pvm_adapter.Adapter(session)
    _own[adapter] = settings
    return adapter


def is_own(adapter: pvm_adapter.Adapter) -> bool:
    """Whether the adapter is one that was opened here."""
    return adapter in _own


def renewing(adapter: pvm_adapter.Adapter, deadline: Deadline,
             call: Callable[[], Any]) -> Any:
    """Call something, and once more with a new session where ours is not accepted any more.

    pypowervm logs on again by itself when a session has expired; it gives that up for good when the
    logon is refused once. Sessions that a caller gave us are the caller's to renew.

    :raises RequestFailed: as ``call`` does
    """
    session = adapter.session
    try:
        return call()
    except failures.RequestFailed as err:
        if err.trouble is not failures.Trouble.SESSION:
            raise
        # Without a status, the logon was accepted but its token was not: it expired in between, as
        # when the server restarts. The session is good for another try.
        if err.status is not None and not _renew(adapter, session, deadline):
            raise
    return call()


def _logged_on(settings: conf.Settings, deadline: Deadline) -> pvm_adapter.Session:
    def log_on() -> pvm_adapter.Session:
        return pvm_adapter.Session(
            host=settings.novalink_host, port=settings.novalink_port,
            protocol=settings.novalink_protocol, username=settings.novalink_username,
            password=settings.novalink_password, certpath=settings.novalink_certpath,
            timeout=settings.rest_timeout_s)

    def bounded() -> pvm_adapter.Session:
        with failures.sorting(deadline):
            return failures.bounded(deadline, log_on)

    return retry.patiently(deadline, bounded)


def _renew(adapter: pvm_adapter.Adapter, old: pvm_adapter.Session,
           deadline: Deadline) -> bool:
    """Give an adapter of ours a new session, unless that was refused a moment ago."""
    settings = _own.get(adapter)
    if settings is None:
        return False
    if not _renewal_lock.acquire(timeout=deadline.left()):
        return False
    try:
        if adapter.session is old and not _was_refused(adapter):
            adapter.session = _logged_on(settings, deadline)
    except failures.RequestFailed as err:
        LOG.warning('The NovaLink session could not be renewed: %s', _without_password(
            err.words, settings))
        if err.trouble in (failures.Trouble.SESSION, failures.Trouble.REFUSED):
            _refused_at[adapter] = time.monotonic()
    finally:
        _renewal_lock.release()
    return adapter.session is not old


def _was_refused(adapter: pvm_adapter.Adapter) -> bool:
    refused_at = _refused_at.get(adapter)
    return refused_at is not None and time.monotonic() - refused_at < REFUSAL_PAUSE_S


def _without_password(words: str, settings: conf.Settings) -> str:
    password = settings.novalink_password
    return words.replace(password, '***') if password else words
