# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, as small named objects that combine.

    sim.faults.add(Busy503(times=2, method='POST'))
    sim.faults.add(DropAfterApply(probability=0.1, seed=7, times=None))

``times`` is how often a fault happens (None: always), ``method`` and ``path`` (a part of the
address) which requests it happens to, ``probability`` how likely it then is. Unless ``path``
says otherwise, faults leave the logon alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from typing import ClassVar

from ..context import Context
from ..http_messages import Answer
from ..http_messages import Request
from ..routes import UOM_PATH


@dataclass(frozen=True)
class Fault:
    """Base of all faults; by itself it does nothing."""

    times: int | None = field(default=1, kw_only=True)
    method: str | None = field(default=None, kw_only=True)
    path: str | None = field(default=None, kw_only=True)
    probability: float = field(default=1.0, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    scope: ClassVar[str] = UOM_PATH

    def concerns(self, request: Request) -> bool:
        """True if the fault can happen to this request."""
        where = self.scope if self.path is None else self.path
        return self.method in (None, request.method) and where in request.target

    def acts_at(self, stage: str) -> bool:
        """True if the fault does something at a stage, which is the name of a method below."""
        return getattr(type(self), stage) is not getattr(Fault, stage)

    def on_connect(self) -> bool:
        """True: the connection is closed unread."""
        return False

    def on_request(self, context: Context) -> Answer | None:
        """The request was read and nothing done yet; an answer ends it."""
        return None

    def on_apply(self, context: Context) -> None:
        """A change is about to be made, and other changes wait for it."""

    def on_answer(self, context: Context, answer: Answer) -> Answer:
        """The work is done and the answer is about to be sent."""
        return answer
