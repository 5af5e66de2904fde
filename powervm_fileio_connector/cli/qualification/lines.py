# SPDX-License-Identifier: Apache-2.0
"""A line of a qualification: a statement about NovaLink, and whether it holds."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Any


class Verdict(enum.Enum):
    """Whether a statement holds on this host."""

    HOLDS = 'holds'
    DIFFERS = 'differs'
    NOT_TRIED = 'not tried'


@dataclasses.dataclass(frozen=True)
class Finding:
    """The verdict on one statement.

    :ivar seen: what was seen, or why it was not tried
    :ivar error: the class of the error that ended the check
    """

    verdict: Verdict
    seen: str = ''
    error: str = ''


@dataclasses.dataclass(frozen=True)
class Line:
    """A statement about NovaLink, and how it is tried.

    :ivar assumption: how the simulator's assumption begins that the statement stands for
    """

    key: str
    statement: str
    check: Callable[[Any], Finding]
    assumption: str = ''


class Lines(list[Line]):
    """Statements, in the order in which they are tried."""

    def add(self, key: str, statement: str, assumption: str = '') -> Callable[..., Any]:
        """Register a function that tries a statement."""
        def register(check: Callable[[Any], Finding]) -> Callable[[Any], Finding]:
            self.append(Line(key, statement, check, assumption))
            return check
        return register


def holds(seen: object = '') -> Finding:
    """Return that the statement holds."""
    return Finding(Verdict.HOLDS, str(seen))


def differs(seen: object) -> Finding:
    """Return that the server behaves otherwise."""
    return Finding(Verdict.DIFFERS, str(seen))


def not_tried(why: str) -> Finding:
    """Return that the statement was not tried."""
    return Finding(Verdict.NOT_TRIED, why)


def expect(is_so: object, seen: object) -> Finding:
    """Return whether what was seen is what the statement says."""
    return holds(seen) if is_so else differs(seen)
