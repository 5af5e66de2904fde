# SPDX-License-Identifier: Apache-2.0
"""What clients asked, and what it cost the server."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

_KEPT = 1_000_000


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request; ``status`` 0 means that no answer was given."""

    method: str
    path: str
    query: str
    status: int
    bytes_in: int
    bytes_out: int
    seconds: float
    cpu_seconds: float  # of the server's thread, waiting excluded


class RequestLog:
    """A list of requests that may be read while it grows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: deque[RequestRecord] = deque(maxlen=_KEPT)

    def add(self, record: RequestRecord) -> None:
        """Append a record."""
        with self._lock:
            self._records.append(record)

    def records(self, method: str | None = None, path: str | None = None) -> list[RequestRecord]:
        """The records of a method and of addresses that contain ``path``."""
        with self._lock:
            chosen = list(self._records)
        return [r for r in chosen
                if method in (None, r.method) and (path is None or path in r.path)]

    def count(self, method: str | None = None, path: str | None = None) -> int:
        """How many there were."""
        return len(self.records(method, path))

    def clear(self) -> None:
        """Forget all records."""
        with self._lock:
            self._records.clear()

    def __iter__(self) -> Iterator[RequestRecord]:
        return iter(self.records())

    def __len__(self) -> int:
        return self.count()
