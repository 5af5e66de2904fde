# SPDX-License-Identifier: Apache-2.0
"""Faults of what answers show: forms of XML, things left out, lists cut short."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from dataclasses import field

from ..context import Context
from ..http_messages import Answer
from ..http_messages import Request
from .base import Fault

_LINK = re.compile(rb'<AssociatedLogicalPartition [^>]*/>')
_ENTRY = re.compile(rb'<entry>.*?</entry>', re.S)


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
class Rewritten(Fault):
    """Base of faults that write the same document in another form."""

    times: int | None = field(default=None, kw_only=True)

    def rewrite(self, body: bytes) -> bytes:
        """The document in the other form."""
        return body

    def on_answer(self, context: Context, answer: Answer) -> Answer:
        return dataclasses.replace(answer, body=self.rewrite(answer.body))


@dataclass(frozen=True)
class NoLPARLinks(Rewritten):
    """Mappings do not say which LPAR they lead to; their adapters still have its id."""

    def rewrite(self, body: bytes) -> bytes:
        return _LINK.sub(b'', body)


@dataclass(frozen=True)
class LPARLinksWithoutUUID(Rewritten):
    """Mappings have a link to their LPAR, but it names none."""

    def rewrite(self, body: bytes) -> bytes:
        return _LINK.sub(lambda found: re.sub(rb'/LogicalPartition/[^"]*', b'/LogicalPartition/',
                                              found.group()), body)


@dataclass(frozen=True)
class MixedCaseUUIDs(Rewritten):
    """The links of mappings write the UUID of the LPAR in small and capital letters."""

    def rewrite(self, body: bytes) -> bytes:
        return _LINK.sub(lambda found: re.sub(
            rb'(?<=/LogicalPartition/)([^"]{18})([^"]*)',
            lambda uuid: uuid.group(1).lower() + uuid.group(2).upper(), found.group()), body)


@dataclass(frozen=True)
class ProcessingInstructions(Rewritten):
    """Every mapping holds a processing instruction and a comment."""

    def rewrite(self, body: bytes) -> bytes:
        return body.replace(b'</ServerAdapter>',
                            b'</ServerAdapter><?novalink checked="yes"?><!-- checked -->')


@dataclass(frozen=True)
class NoSectionMetadata(Rewritten):
    """The section of the mappings has no Metadata."""

    def rewrite(self, body: bytes) -> bytes:
        return re.sub(rb'(<VirtualSCSIMappings[^>]*>)<Metadata>.*?</Metadata>', rb'\1', body)


@dataclass(frozen=True)
class EtagOnlyIn(Fault):
    """The etag is in the ``header`` of answers only, in their ``metadata`` only, or in neither."""

    place: str = 'neither'
    times: int | None = field(default=None, kw_only=True)

    def on_answer(self, context: Context, answer: Answer) -> Answer:
        body, headers = answer.body, answer.headers
        if self.place != 'metadata':
            body = re.sub(rb'<etag:etag .*?</etag:etag>', b'', body, flags=re.S)
        if self.place != 'header':
            headers = {name: value for name, value in headers.items() if name != 'ETag'}
        return dataclasses.replace(answer, body=body, headers=headers)


@dataclass(frozen=True)
class LPARListCutShort(Fault):
    """The list of LPARs has only its first entries; none at all is an answer of 204.

    So it is for a user who may not see all of them.
    """

    keep: int = 0
    times: int | None = field(default=None, kw_only=True)

    def concerns(self, request: Request) -> bool:
        return (request.method == 'GET' and super().concerns(request)
                and re.search(r'/LogicalPartition/?$', request.path) is not None)

    def on_answer(self, context: Context, answer: Answer) -> Answer:
        if not self.keep:
            return Answer(204)
        count = 0

        def kept(entry: re.Match[bytes]) -> bytes:
            nonlocal count
            count += 1
            return entry.group() if count <= self.keep else b''

        return dataclasses.replace(answer, body=_ENTRY.sub(kept, answer.body))


@dataclass(frozen=True)
class NotShown(Fault):
    """Mappings that are made while it is in force are accepted and made, but no answer shows them.

    A client that sends back what it was shown removes them.
    """

    times: int | None = field(default=None, kw_only=True)
    hidden: list[bytes] = field(default_factory=list, init=False, repr=False, compare=False,
                                metadata={'is_local': True})

    def on_answer(self, context: Context, answer: Answer) -> Answer:
        self.hidden.extend(context.made)
        body = answer.body
        for mapping in self.hidden:
            body = body.replace(mapping, b'')
        return dataclasses.replace(answer, body=body)
