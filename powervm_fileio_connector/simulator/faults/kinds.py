# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, as small named objects that combine.

    sim.faults.add(Busy503(times=2, method='POST'))
    sim.faults.add(DropAfterApply(probability=0.1, seed=7, times=None))

``times`` is how often a fault happens (None: always), ``method`` and ``path`` (a part of the
address) which requests it happens to, ``probability`` how likely it then is. Unless ``path``
says otherwise, faults leave the logon alone.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from typing import ClassVar

from ..context import Context
from ..http_messages import Answer
from ..http_messages import Dropped
from ..http_messages import Request
from ..routes import LOGON_PATH
from ..routes import UOM_PATH
from ..rules import Refused


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


@dataclass(frozen=True)
class Busy503(Fault):
    """The server is too busy; ``body`` is xml, html or empty."""

    body: str = 'xml'

    def on_request(self, context: Context) -> Answer:
        if self.body == 'empty':
            return Answer(503)
        if self.body == 'html':
            return Answer(503, b'<html><body><h1>503 Service Unavailable</h1></body></html>',
                          {'Content-Type': 'text/html'})
        return context.error(503, 'Unknown internal error.', 'Service is unavailable.')


@dataclass(frozen=True)
class Busy500(Fault):
    """The VIOS is busy, with the message by which pypowervm knows it."""

    def on_request(self, context: Context) -> Answer:
        return context.error(500, 'Unknown internal error.',
                              'Unable to send command to VIOS at this moment. VIOS 1*8247-22L is '
                              'busy processing some other request. Please retry the operation '
                              'after sometime.')


@dataclass(frozen=True)
class InternalError500(Fault):
    """Something else is wrong."""

    def on_request(self, context: Context) -> Answer:
        return context.error(500, 'Unknown internal error.', 'An unexpected error occurred.')


@dataclass(frozen=True)
class StaleEtag412(Fault):
    """The etag of a change is said to be stale."""

    def on_apply(self, context: Context) -> None:
        raise Refused('etag_current', 'The etag is not current.', 'stale')


@dataclass(frozen=True)
class RefuseConnection(Fault):
    """A new connection is reset unread; ``method`` and ``path`` cannot be told yet."""

    def concerns(self, request: Request) -> bool:
        return False

    def on_connect(self) -> bool:
        return True


@dataclass(frozen=True)
class DropBeforeApply(Fault):
    """The request is read, nothing is done, and the connection is reset."""

    def on_request(self, context: Context) -> Answer:
        raise Dropped


@dataclass(frozen=True)
class DropAfterApply(Fault):
    """The work is done, but the connection is reset instead of an answer."""

    def on_answer(self, context: Context, answer: Answer) -> Answer:
        raise Dropped


@dataclass(frozen=True)
class TruncatedAnswer(Fault):
    """The work is done, but the answer ends in the middle."""

    fraction: float = 0.5

    def on_answer(self, context: Context, answer: Answer) -> Answer:
        return dataclasses.replace(answer, cut=int(len(answer.body) * self.fraction))


@dataclass(frozen=True)
class ExpiredSession(Fault):
    """Every token becomes invalid before the request is looked at."""

    def on_request(self, context: Context) -> None:
        context.expire_sessions()


@dataclass(frozen=True)
class LogonRefused(Fault):
    """A logon is refused."""

    scope: ClassVar[str] = LOGON_PATH

    def concerns(self, request: Request) -> bool:
        return request.method == 'PUT' and super().concerns(request)

    def on_request(self, context: Context) -> Answer:
        return context.error(401, 'Unauthorized', 'The user name or the password is wrong.')


@dataclass(frozen=True)
class Slow(Fault):
    """The request waits before anything is done."""

    seconds: float = 1.0

    def on_request(self, context: Context) -> None:
        context.wait(self.seconds)


@dataclass(frozen=True)
class Restart(Fault):
    """The server restarts before the request: sessions and etags become invalid."""

    def on_request(self, context: Context) -> None:
        context.restart()


@dataclass(frozen=True)
class OmitLUA(Fault):
    """The answer to a POST shows the new mappings without their LUA; a later GET has it."""

    def concerns(self, request: Request) -> bool:
        return request.method == 'POST' and super().concerns(request)

    def on_answer(self, context: Context, answer: Answer) -> Answer:
        body = answer.body
        for chunk in context.made:
            body = body.replace(chunk, re.sub(rb'<LogicalUnitAddress[^<]*</LogicalUnitAddress>',
                                              b'', chunk))
        context.touch()
        return dataclasses.replace(answer, body=body)


@dataclass(frozen=True)
class Latency(Fault):
    """How long the server takes: a real VIOS does one change at a time, reads go on."""

    get_s: float = 0.0
    post_s: float = 0.0
    per_kb_s: float = 0.0
    times: int | None = field(default=None, kw_only=True)

    def on_request(self, context: Context) -> None:
        if context.request.method != 'POST':
            context.wait(self.get_s)

    def on_apply(self, context: Context) -> None:
        context.wait(self.post_s + self.per_kb_s * len(context.request.body) / 1024)

    def on_answer(self, context: Context, answer: Answer) -> Answer:
        context.wait(self.per_kb_s * len(answer.body) / 1024)
        return answer


KNOWN: dict[str, type[Fault]] = {cls.__name__: cls for cls in (
    Busy503, Busy500, InternalError500, StaleEtag412, RefuseConnection, DropBeforeApply,
    DropAfterApply, TruncatedAnswer, ExpiredSession, LogonRefused, Slow, Restart, OmitLUA,
    Latency)}


def to_json(fault: Fault) -> dict[str, Any]:
    """A fault as plain data."""
    return {'fault': type(fault).__name__, **dataclasses.asdict(fault)}


def from_json(data: dict[str, Any]) -> Fault:
    """The fault that ``to_json`` was given.

    :raises ValueError: there is no such fault
    """
    fields = dict(data)
    name = fields.pop('fault', None)
    if name not in KNOWN:
        raise ValueError(f'no fault {name}; known: {", ".join(KNOWN)}')
    return KNOWN[name](**fields)
