# SPDX-License-Identifier: Apache-2.0
"""The time that a call may take: one clock for requests and probes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

# Longer than any wait that select() and locks can be asked for is no use: a year is for ever.
_MOST_S = 365 * 86400.0


class Deadline:
    """The time that something may take, from now on.

    :param seconds: how long; more than a year, infinity and NaN count as a year
    :ivar end: when it ends (``time.monotonic``); may be moved by time that does not count
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds if seconds < _MOST_S else _MOST_S
        self.end = time.monotonic() + self.seconds

    def left(self) -> float:
        """Return the seconds that are left; 0 once the time has passed."""
        left_s = self.end - time.monotonic()
        return left_s if left_s > 0.0 else 0.0

    @property
    def has_passed(self) -> bool:
        """Whether no time is left."""
        return self.end <= time.monotonic()

    def half(self) -> Deadline:
        """Return a deadline of its own that ends after half of the time that is left.

        What does not answer until then takes no time from the probes that follow.
        """
        return Deadline(self.left() / 2)


class TimeBudget:
    """The time that several things may take together; what is done between them does not count.

    :ivar left_s: what is left of it
    """

    def __init__(self, seconds: float) -> None:
        self.left_s = seconds

    @contextlib.contextmanager
    def spending(self, most_s: float) -> Iterator[Deadline]:
        """Return the deadline of one of them; what the block takes is taken off.

        :param most_s: what it may take at most
        """
        started = time.monotonic()
        try:
            yield Deadline(min(self.left_s, most_s))
        finally:
            self.left_s = max(0.0, self.left_s - (time.monotonic() - started))


class CallDeadlines:
    """The two deadlines of one call: of its requests to NovaLink, and of its probes of shares.

    Neither counts the time of the other.

    :ivar requests: for all requests, probes not counted
    :param request_timeout_s: for all requests together
    :param probe_timeout_s: for all probes together
    """

    def __init__(self, request_timeout_s: float, probe_timeout_s: float) -> None:
        self.requests = Deadline(request_timeout_s)
        self._probe_left_s = probe_timeout_s if probe_timeout_s < _MOST_S else _MOST_S
        self._kept_s = self._probe_left_s / 4

    @contextlib.contextmanager
    def probing(self, is_last: bool = False) -> Iterator[Deadline]:
        """Return the deadline of probes; what they take is added to that of the requests.

        :param is_last: the probes after NovaLink's answer, for which a quarter of the time is kept
        """
        started = time.monotonic()
        try:
            yield Deadline(self._probe_left_s - (0.0 if is_last else self._kept_s))
        finally:
            took_s = time.monotonic() - started
            self._probe_left_s -= took_s
            self.requests.end += took_s
