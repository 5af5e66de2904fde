# SPDX-License-Identifier: Apache-2.0
"""pypowervm sessions for a simulator, ended with it. The only place that imports pypowervm."""

from __future__ import annotations

import threading
import weakref
from typing import Any


class Clients:
    """The sessions that were handed out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: list[weakref.ref[Any]] = []

    def session(self, host: str, port: int, username: str | None = None,
                password: str | None = None, **kwargs: Any) -> Any:
        """Log on, by file unless a password is given."""
        from pypowervm import adapter
        if password is not None and username is None:
            username = 'simulator'
        session = adapter.Session(host=host, port=port, protocol='http', username=username,
                                  password=password, **kwargs)
        with self._lock:
            self._sessions.append(weakref.ref(session))
        return session

    def adapter(self, session: Any, **kwargs: Any) -> Any:
        """An adapter over a session."""
        from pypowervm import adapter
        return adapter.Adapter(session, **kwargs)

    def close(self) -> None:
        """Make the sessions know that they are over, so that nothing is tried later."""
        with self._lock:
            sessions = [ref() for ref in self._sessions]
            self._sessions.clear()
        for session in sessions:
            if session is not None:
                _end(session)


def _end(session: Any) -> None:
    if session.has_event_listener:
        listener = session.get_event_listener()
        for handler in list(listener.handlers):
            listener.unsubscribe(handler)
    # What Session._logoff leaves behind, without the request: the server forgets by itself.
    session._logged_in = False
    session._relogin_unsafe = True
