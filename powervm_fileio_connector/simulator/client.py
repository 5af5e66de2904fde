# SPDX-License-Identifier: Apache-2.0
"""What a simulated host is to its clients. The only place here that imports pypowervm."""

from __future__ import annotations

import abc
import logging
import os
import threading
import warnings
import weakref
from types import TracebackType
from typing import Any
from typing import Self


class Reachable(abc.ABC):
    """A server on loopback, for the time of a ``with`` block; sessions for it end with it."""

    host = '127.0.0.1'      # an address, since not every machine can resolve localhost

    def __init__(self) -> None:
        self._sessions_lock = threading.Lock()
        self._sessions: list[weakref.ref[Any]] = []

    @abc.abstractmethod
    def start(self) -> Self:
        """Listen; returns when it does."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Stop listening; may be called again."""

    @property
    @abc.abstractmethod
    def port(self) -> int:
        """The port it listens on.

        :raises RuntimeError: it is not running
        """

    @property
    def url(self) -> str:
        """Where it listens."""
        return f'http://{self.host}:{self.port}'

    def session(self, username: str | None = None, password: str | None = None,
                **kwargs: Any) -> Any:
        """A fresh ``pypowervm.adapter.Session``; by file unless ``password`` is given."""
        adapter = _pypowervm_adapter()
        if password is not None and username is None:
            username = 'simulator'
        logging.getLogger('pypowervm.adapter').addFilter(_is_no_warning_of_http)
        _except_from_proxies(self.url, self.host)
        session = adapter.Session(host=self.host, port=self.port, protocol='http',
                                  username=username, password=password, **kwargs)
        with self._sessions_lock:
            self._sessions.append(weakref.ref(session))
        return session

    def adapter(self, session: Any = None, **kwargs: Any) -> Any:
        """A ``pypowervm.adapter.Adapter``, over a fresh session unless one is given."""
        adapter = _pypowervm_adapter()
        return adapter.Adapter(session or self.session(), **kwargs)

    def _end_sessions(self) -> None:
        """Make the sessions know that they are over, so that nothing is tried later."""
        with self._sessions_lock:
            sessions = [ref() for ref in self._sessions]
            self._sessions.clear()
        for session in sessions:
            if session is not None:
                _end(session)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.stop()


def _pypowervm_adapter() -> Any:
    """Import ``pypowervm.adapter``; what its import warns of is not for users of this package."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        from pypowervm import adapter
    return adapter


def _except_from_proxies(url: str, host: str) -> None:
    """Have this process go to a host directly: no proxy leads to a loopback address of ours.

    pypowervm asks by requests, which can be told so by the environment alone.
    """
    from requests import utils

    if utils.get_environ_proxies(url):
        hosts = os.environ.get('no_proxy') or os.environ.get('NO_PROXY')
        os.environ['no_proxy'] = ','.join(filter(None, (hosts, host)))


def _is_no_warning_of_http(record: logging.LogRecord) -> bool:
    """pypowervm warns of http to every host but the name localhost, also to a loopback address."""
    return 'Unencrypted communication' not in str(record.msg)


def _end(session: Any) -> None:
    if session.has_event_listener:
        listener = session.get_event_listener()
        for handler in list(listener.handlers):
            listener.unsubscribe(handler)
    # What Session._logoff leaves behind, without the request: the server forgets by itself.
    session._logged_in = False
    session._relogin_unsafe = True
