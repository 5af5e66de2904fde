# SPDX-License-Identifier: Apache-2.0
"""When a failed request is made again, and what is said while that is waited for."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from oslo_log import log as logging

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink.failures import AWAY
from powervm_fileio_connector.novalink.failures import FailureKind
from powervm_fileio_connector.novalink.failures import RequestFailed

LOG = logging.getLogger(__name__)

SILENCE_S = 2.0
"""Waiting for longer than this is spoken of."""

PATIENCE_S = 5.0
"""How long a server that does not answer is tried: callers want an answer, too."""

# LATE: where time is left, the deadline was that of another caller, who led the batch.
_TRANSIENT = (FailureKind.BUSY, FailureKind.STALE, FailureKind.LATE)
LEAST_S = 0.1
"""Less time than this is not worth another try: the deadline would cut it off, and nobody would
know what it did."""

_T = TypeVar('_T')


class Retry:
    """Decides after each failure of one caller whether, and when, the request is made again.

    A busy server is tried until the deadline, and one that is away for :data:`PATIENCE_S`, in
    pauses that grow, less so after a race that was lost, and are jittered to part callers who met.

    :ivar next_try_s: how many seconds lie between the first try and the next
    """

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._tries = 0
        self.next_try_s = 0.0
        self._started = time.monotonic()
        self._away: Deadline | None = None

    def pause_s(self, failure: RequestFailed) -> float | None:
        """Return the seconds to wait before the next try; None: there is none."""
        is_first_away = False
        if failure.kind in AWAY or failure.kind is FailureKind.FAULT:
            is_first_away = self._away is None
            self._away = self._away or Deadline(PATIENCE_S)
            if self._away.has_passed and not is_first_away:
                return None
        elif failure.kind not in _TRANSIENT:
            return None
        # Who has lost a race should read anew before the next change of others is made.
        most_s = 0.1 if failure.kind is FailureKind.STALE else 2.0
        pause_s = random.uniform(0.5, 1.0) * min(0.05 * 2 ** self._tries, most_s)
        self._tries += 1
        if pause_s + LEAST_S > self._deadline.left():
            return None
        self.next_try_s = time.monotonic() - self._started + pause_s
        return pause_s

    @property
    def until_s(self) -> float:
        """How many seconds from now the last try is made at the latest."""
        left = self._deadline.left()
        return left if self._away is None else min(left, self._away.left())


class Waiting:
    """Says, as warnings in the log, what is waited for and until when."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._told_at = 0.0

    def silent(self, deadline: Deadline) -> None:
        """Say that an answer has not come for :data:`SILENCE_S`."""
        self._say(f'has not answered for {SILENCE_S:.0f} s; waiting', deadline.left())

    def failing(self, failure: RequestFailed, retry: Retry) -> None:
        """Say that something is tried again, if it takes long until it is."""
        if retry.next_try_s >= SILENCE_S:
            what = ('cannot be asked' if failure.kind is FailureKind.SHORTAGE
                    else 'does not serve requests')
            self._say(f'{what} ({failure.detail}); trying again', retry.until_s)

    def _say(self, what: str, until_s: float) -> None:
        now = time.monotonic()
        if now - self._told_at < SILENCE_S:
            return
        self._told_at = now
        until = time.strftime('%H:%M:%S', time.localtime(time.time() + until_s))
        LOG.warning('NovaLink at %s %s until %s at the latest.', self._host, what, until)


def retry_transient(deadline: Deadline, call: Callable[[], _T],
                    waiting: Waiting) -> _T:
    """Call something that may be repeated, again after each failure that is transient.

    :raises RequestFailed: the last failure
    """
    retry = Retry(deadline)
    while True:
        try:
            return call()
        except RequestFailed as err:
            pause_s = retry.pause_s(err)
            if pause_s is None:
                raise
            waiting.failing(err, retry)
        time.sleep(pause_s)
