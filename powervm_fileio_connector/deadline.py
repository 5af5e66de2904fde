# SPDX-License-Identifier: Apache-2.0
"""One clock for all that a call may wait for, which can be paused."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

# Longer than any wait that select() and locks can be asked for is no use: a year is for ever.
_MOST_S = 365 * 86400.0


class Deadline:
    """The time that something may take, from now on.

    :param seconds: how long; more than a year, infinity and NaN count as a year
    """

    def __init__(self, seconds: float) -> None:
        seconds = seconds if seconds < _MOST_S else _MOST_S
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._paused_at: float | None = None

    def left(self) -> float:
        """Return the seconds that are left; 0 once the time has passed."""
        left_s = self._end - (self._paused_at or time.monotonic())
        return left_s if left_s > 0.0 else 0.0

    @property
    def has_passed(self) -> bool:
        """Whether no time is left."""
        return self._end <= (self._paused_at or time.monotonic())

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock in a ``with`` block; in a block within such a block nothing changes."""
        if self._paused_at is not None:
            yield
            return
        self._paused_at = time.monotonic()
        try:
            yield
        finally:
            self._end += time.monotonic() - self._paused_at
            self._paused_at = None

    def earlier(self, seconds: float) -> Deadline:
        """Return a deadline of its own that ends by so many seconds before this one does."""
        return Deadline(max(0.0, self.left() - seconds))


class CallDeadlines:
    """The two deadlines of one call: of its requests to NovaLink, and of its probes of shares.

    While shares are probed, the clock of the requests is paused, and the other way round.

    :ivar requests: for all requests, probes not counted
    :param request_timeout_s: for all requests together
    :param probe_timeout_s: for all probes together
    """

    def __init__(self, request_timeout_s: float, probe_timeout_s: float) -> None:
        self.requests = Deadline(request_timeout_s)
        self._probe_left_s = min(probe_timeout_s, _MOST_S)
        self._kept_s = self._probe_left_s / 4

    @contextlib.contextmanager
    def probing(self, is_last: bool = False) -> Iterator[Deadline]:
        """Pause the clock of the requests, and return the deadline of the probes.

        :param is_last: the probes after NovaLink's answer, for which a quarter of the time is kept
        """
        deadline = Deadline(self._probe_left_s - (0.0 if is_last else self._kept_s))
        started = time.monotonic()
        with self.requests.paused():
            try:
                yield deadline
            finally:
                self._probe_left_s -= time.monotonic() - started
