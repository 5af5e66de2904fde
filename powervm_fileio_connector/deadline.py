# SPDX-License-Identifier: Apache-2.0
"""One clock for all that a call may wait for, which can be paused."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Deadline:
    """The time that something may take, from now on.

    Each call has two: one for its requests to NovaLink, one for its probes of shares. While it
    does the one, the clock of the other is paused.

    :param seconds: how long
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._paused_at: float | None = None

    def left(self) -> float:
        """Return the seconds that are left; 0 once the time has passed."""
        now = time.monotonic() if self._paused_at is None else self._paused_at
        return max(0.0, self._end - now)

    @property
    def has_passed(self) -> bool:
        """Whether no time is left."""
        return not self.left()

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
