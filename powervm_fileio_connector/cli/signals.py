# SPDX-License-Identifier: Apache-2.0
"""Signals that end a command: what it has made temporarily goes with it."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def ending_cleanly() -> Iterator[None]:
    """Have SIGTERM and SIGHUP leave a ``with`` block as an exception does, so that it cleans up."""
    before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: Any) -> None:
    # A second one must not stop the cleaning up.
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)
