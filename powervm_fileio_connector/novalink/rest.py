# SPDX-License-Identifier: Apache-2.0
"""Requests to NovaLink within one session, by pypowervm's adapter and an exchange of our own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from oslo_log import log as logging

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink import exchange
from powervm_fileio_connector.novalink import failures
from powervm_fileio_connector.novalink.failures import FailureKind
from powervm_fileio_connector.novalink.failures import RequestFailed
from powervm_fileio_connector.novalink.retry import retry_transient
from powervm_fileio_connector.novalink.session import LazyAdapter
from powervm_fileio_connector.novalink.session import TokenRenewal

LOG = logging.getLogger(__name__)


class Rest:
    """Sends requests, each bounded by a deadline. Safe to use from several threads.

    :ivar on_wait: is told, as a sentence, what is waited for and until when, after 2 s of waiting
    """

    def __init__(self, host: str, adapter: LazyAdapter,
                 renewal: Callable[[], TokenRenewal]) -> None:
        self._host = host
        self._adapter = adapter
        self._renewal = renewal
        self._told_at = 0.0
        self.on_wait: Callable[[str], None] | None = None

    def adapter(self, deadline: Deadline) -> Any:
        """Return pypowervm's adapter.

        :raises NovaLinkUnavailable: logging on failed
        """
        return self._adapter.get(deadline)

    def request(self, deadline: Deadline, name: str, *args: Any,
                on_answer: Callable[[Any], None] | None = None, **kwargs: Any) -> Any:
        """Call one of pypowervm's ``Adapter`` methods once.

        The adapter's own helpers are left out: nova-powervm's sleeps up to 30 seconds over a busy
        VIOS, whatever the deadline.

        :param on_answer: is given the ``Response`` before pypowervm parses it
        :raises RequestFailed: sorted by what it means
        """
        adapter = self.adapter(deadline)
        session = adapter.session

        def helper(_: Any) -> Callable[..., Any]:
            def bounded(method: str, path: str, headers: Any = None, body: Any = '',
                        auditmemento: str | None = None, **_: Any) -> Any:
                headers = {**(headers or {}),
                           'X-Audit-Memento': auditmemento or session.auditmemento}
                response = self._send(session, deadline, method, path, headers, body)
                failures.require_success(response)
                if on_answer is not None and response.body:
                    on_answer(response)
                return response
            return bounded

        with failures.classifying():
            return getattr(adapter, name)(*args, helpers=[helper], **kwargs)

    def read(self, deadline: Deadline, *args: Any, **kwargs: Any) -> Any:
        """Read something, again while the server is busy, and for a while if it is away.

        :raises RequestFailed: it stayed so, or the server refuses
        """
        # Not part of what is tried again: it has a policy of its own.
        self.adapter(deadline)
        started = time.monotonic()

        def on_pause(failure: RequestFailed, until_s: float) -> None:
            self.failing(failure, time.monotonic() - started, until_s)

        return retry_transient(
            deadline, lambda: self.request(deadline, 'read', *args, **kwargs), on_pause)

    def failing(self, failure: RequestFailed, for_s: float, until_s: float) -> None:
        """Say that something has been tried for some time, if that is long."""
        if for_s >= exchange.SILENCE_S:
            self._tell(f'does not serve requests ({failure.detail}); trying again', until_s)

    def _send(self, session: Any, deadline: Deadline, method: str, path: str, headers: Any,
              body: Any) -> Any:
        def send(token: str) -> Any:
            return exchange.send(session, method, path, headers, body, deadline, token,
                                 on_silence=self._silent)

        token = session._sessToken
        response = send(token)
        # Twice, since a server that restarts may do so in between.
        for _ in range(2):
            if response.status != 401:
                return response
            self._renewal().renew(session, token, deadline)
            token = session._sessToken
            response = send(token)
        if response.status == 401:
            raise RequestFailed(FailureKind.SESSION, 'a token that it has just issued', 401)
        return response

    def _silent(self, deadline: Deadline) -> None:
        self._tell(f'has not answered for {exchange.SILENCE_S:.0f} s; waiting', deadline.left())

    def _tell(self, what: str, until_s: float) -> None:
        now = time.monotonic()
        if now - self._told_at < exchange.SILENCE_S:
            return
        self._told_at = now
        until = time.strftime('%H:%M:%S', time.localtime(time.time() + until_s))
        text = f'NovaLink at {self._host} {what} until {until} at the latest.'
        LOG.warning(text)
        if self.on_wait is not None:
            self.on_wait(text)
