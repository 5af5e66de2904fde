# SPDX-License-Identifier: Apache-2.0
"""Requests to NovaLink within one session, by pypowervm's adapter and an exchange of our own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from typing import TypeVar

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink import exchange
from powervm_fileio_connector.novalink import failures
from powervm_fileio_connector.novalink.failures import FailureKind
from powervm_fileio_connector.novalink.failures import RequestFailed
from powervm_fileio_connector.novalink.retry import Waiting
from powervm_fileio_connector.novalink.retry import retry_transient
from powervm_fileio_connector.novalink.session import LazyAdapter
from powervm_fileio_connector.novalink.session import TokenRenewal

_T = TypeVar('_T')


class Rest:
    """Sends requests, each bounded by a deadline. Safe to use from several threads.

    :ivar waiting: says what is waited for and until when, after 2 s of waiting
    """

    def __init__(self, host: str, adapter: LazyAdapter,
                 renewal: Callable[[], TokenRenewal]) -> None:
        self._adapter = adapter
        self._renewal = renewal
        self.waiting = Waiting(host)

    def adapter(self, deadline: Deadline) -> Any:
        """Return pypowervm's adapter.

        :raises NovaLinkUnavailable: logging on failed
        """
        return self._adapter.get(deadline, self.waiting)

    def request(self, deadline: Deadline, name: str, *args: Any,
                on_answer: Callable[[Any], None] | None = None, **kwargs: Any) -> Any:
        """Call one of pypowervm's ``Adapter`` methods once.

        The adapter's own helpers are left out: nova-powervm's sleeps up to 30 seconds over a busy
        VIOS, whatever the deadline.

        :param on_answer: is given the ``Response`` before pypowervm parses it
        :raises RequestFailed: sorted by what it means
        """
        adapter = self._adapter.get(deadline, self.waiting)
        send = functools.partial(self._send, adapter.session, deadline, on_answer)
        try:
            with failures.classifying():
                return getattr(adapter, name)(*args, helpers=[lambda _: send], **kwargs)
        except RequestFailed as err:
            err.is_read = name == 'read'
            raise

    def read(self, deadline: Deadline, *args: Any, **kwargs: Any) -> Any:
        """Read something, again while the server is busy, and for a while if it is away.

        :raises RequestFailed: it stayed so, or the server refuses
        """
        return self.retrying(deadline, lambda: self.request(deadline, 'read', *args, **kwargs))

    def retrying(self, deadline: Deadline, call: Callable[[], _T]) -> _T:
        """Make requests that only read, again while the server is busy, and for a while if away.

        :raises RequestFailed: it stayed so, or the server refuses
        """
        # Not part of what is tried again: it has a policy of its own.
        self.adapter(deadline)
        return retry_transient(deadline, call, self.waiting)

    def _send(self, session: Any, deadline: Deadline, on_answer: Callable[[Any], None] | None,
              method: str, path: str, headers: Any = None, body: Any = '',
              auditmemento: str | None = None, **_: Any) -> Any:
        """Send a request, again with a new token after the old one has expired."""
        headers = {**(headers or {}), 'X-Audit-Memento': auditmemento or session.auditmemento}
        # A new one twice, since a server that restarts may do so in between.
        for is_last in (False, False, True):
            token = session._sessToken
            response = exchange.send(session, method, path, headers, body, deadline, token,
                                     waiting=self.waiting)
            if response.status != 401:
                break
            if is_last:
                raise RequestFailed(FailureKind.SESSION, 'a token that it has just issued', 401)
            self._renewal().renew(session, token, deadline, self.waiting)
        failures.require_success(response)
        if on_answer is not None and response.body:
            on_answer(response)
        return response
