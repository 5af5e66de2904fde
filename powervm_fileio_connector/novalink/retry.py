# SPDX-License-Identifier: Apache-2.0
"""When a failed request is made again: one policy, for reads and for edits."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink.failures import AWAY
from powervm_fileio_connector.novalink.failures import FailureKind
from powervm_fileio_connector.novalink.failures import RequestFailed

PATIENCE_S = 5.0
"""How long a server that does not answer is tried: callers want an answer, too."""

_TRANSIENT = (FailureKind.BUSY, FailureKind.STALE)
_LEAST_S = 0.1
"""Less time than this is not worth another try: the deadline would cut it off, and nobody would
know what it did."""

_T = TypeVar('_T')


class Retry:
    """Decides after each failure of one caller whether, and when, the request is made again.

    A busy server is tried until the deadline, and one that is away for :data:`PATIENCE_S`, in
    pauses that grow and are jittered to part callers who met.
    """

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._tries = 0
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
        pause_s = random.uniform(0.5, 1.0) * min(0.05 * 2 ** self._tries, 2.0)
        self._tries += 1
        return pause_s if pause_s + _LEAST_S <= self._deadline.left() else None

    @property
    def elapsed_s(self) -> float:
        """How many seconds it has been tried."""
        return time.monotonic() - self._started

    @property
    def until_s(self) -> float:
        """How many seconds from now the last try is made at the latest."""
        left = self._deadline.left()
        return left if self._away is None else min(left, self._away.left())


def retry_transient(deadline: Deadline, call: Callable[[], _T],
                    on_pause: Callable[[RequestFailed, float], None] | None = None) -> _T:
    """Call something that may be repeated, again after each failure that is transient.

    :param on_pause: is told of each failure, and for how many more seconds it is tried
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
            if on_pause is not None:
                on_pause(err, retry.until_s)
        time.sleep(pause_s)
