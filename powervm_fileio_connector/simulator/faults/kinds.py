# SPDX-License-Identifier: Apache-2.0
"""Faults of the server: it is busy, refuses, restarts, waits, or loses its connections."""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass
from dataclasses import field
from typing import ClassVar

from ..context import Context
from ..http_messages import Answer
from ..http_messages import Dropped
from ..http_messages import Request
from ..routes import LOGON_PATH
from ..rules import Refused
from .base import Fault


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
class Forbidden403(Fault):
    """The user may not do it."""

    def on_request(self, context: Context) -> Answer:
        return context.error(403, 'Forbidden', 'The user has no authority for this request.')


@dataclass(frozen=True)
class Trickle(Fault):
    """The work is done, but the answer comes a few bytes at a time."""

    size: int = 1
    pause_s: float = 0.1

    def on_answer(self, context: Context, answer: Answer) -> Answer:
        return dataclasses.replace(answer, piece=self.size, pause_s=self.pause_s)


@dataclass(frozen=True)
class HeldPost(Fault):
    """A change is held, and made later, though its client may have gone by then.

    It is made after ``release()``, or after so many seconds. ``reached`` is set while one is held.

    :ivar in_turn: other changes of the VIOS wait for it; otherwise they overtake it
    """

    seconds: float = 600.0
    in_turn: bool = True
    method: str | None = field(default='POST', kw_only=True)
    reached: threading.Event = field(default_factory=threading.Event, init=False, repr=False,
                                     compare=False, metadata={'is_local': True})
    released: threading.Event = field(default_factory=threading.Event, init=False, repr=False,
                                      compare=False, metadata={'is_local': True})

    def release(self) -> None:
        """Let the changes that are held be made, and hold no others."""
        self.released.set()

    def acts_at(self, stage: str) -> bool:
        return stage == ('on_apply' if self.in_turn else 'on_request')

    def on_request(self, context: Context) -> None:
        self.on_apply(context)

    def on_apply(self, context: Context) -> None:
        self.reached.set()
        context.wait(self.seconds, until=self.released)


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
