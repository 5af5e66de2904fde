# SPDX-License-Identifier: Apache-2.0
"""The result of one check of ``powervm-fileio check``."""

from __future__ import annotations

import dataclasses

OK = 'ok'
FAILED = 'FAILED'
SKIPPED = 'not checked'


KEYS = ('check', 'verdict', 'detail', 'seconds', 'error_type')


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """The result of one check.

    :ivar seconds: how long it took, where that tells something
    :ivar error_type: the class of the error with which attaching would fail
    """

    what: str
    verdict: str
    detail: str
    seconds: float | None = None
    error_type: str | None = None
