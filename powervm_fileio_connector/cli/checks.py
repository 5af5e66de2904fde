# SPDX-License-Identifier: Apache-2.0
"""One thing that ``powervm-fileio check`` looked at, and what it found."""

from __future__ import annotations

import dataclasses

OK = 'ok'
FAILED = 'FAILED'
SKIPPED = 'not checked'


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """One thing that was checked."""

    what: str
    verdict: str
    detail: str


def ms(seconds: float) -> str:
    """A time as people read it."""
    return f'{seconds * 1000:.3g} ms' if seconds < 1 else f'{seconds:.1f} s'
