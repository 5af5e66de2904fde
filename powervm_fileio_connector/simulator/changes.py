# SPDX-License-Identifier: Apache-2.0
"""POST of a VIOS: its document is replaced, which adds and removes mappings."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import nullcontext

from lxml import etree

from .context import Context
from .etags import FC
from .etags import SCSI
from .etags import groups_in
from .files import file_fact
from .http_messages import Answer
from .model import Partition
from .posted import PostedMappings
from .posted import Served
from .posted import canonical
from .posted import read_post
from .rules import Refused
from .schema import UOM

_FC_PATH = f'{{{UOM}}}VirtualFibreChannelMappings/{{{UOM}}}VirtualFibreChannelMapping'


class _Turns:
    """Turns in the order in which they were asked for; that of a lock is any."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._queue: deque[object] = deque()

    @contextmanager
    def taken(self) -> Iterator[None]:
        ticket = object()
        with self._condition:
            self._queue.append(ticket)
            self._condition.wait_for(lambda: self._queue[0] is ticket)
        try:
            yield
        finally:
            with self._condition:
                self._queue.popleft()
                self._condition.notify_all()


class Changes:
    """Makes one change of a VIOS at a time."""

    def __init__(self, on_apply: Callable[[Context], None], serialise_posts: bool = True) -> None:
        """:param on_apply: called in the turn of a change, just before it is made
        :param serialise_posts: changes of one VIOS wait for each other, as on a real one
        """
        self._on_apply = on_apply
        self._serialise = serialise_posts
        self._turns: dict[str, _Turns] = {}

    def post(self, context: Context) -> Answer:
        """Replace the mappings of a VIOS by those of the posted document.

        ASSUMED: A VIOS makes one change at a time, in the order in which they arrive, and compares
        the etag when its turn comes, so that a stale one costs no time.

        ASSUMED: The server changes nothing of a VIOS but its mappings; other differences of
        the posted document are ignored.
        """
        vios = context.vios = context.partition()
        etag = context.request.headers.get('if-match')
        turns = self._turns.setdefault(vios.uuid, _Turns())
        with turns.taken() if self._serialise else nullcontext():
            context.state.check_etag(vios.uuid, context.group, etag)
            self._on_apply(context)
            self._apply(context, vios, etag)
            vios = context.state.partition(vios.uuid)
            pieces, etag = context.renderer.partition(vios, context.group, context.base, head=True)
        return context.document(b''.join(pieces), etag)

    def _apply(self, context: Context, vios: Partition, etag: str | None) -> None:
        served = context.renderer.served(vios.uuid)
        posted = read_post(context.request.body, served, context.state.rules)
        groups = groups_in(context.group)
        if SCSI not in groups or not posted.has_mappings:
            _keep_all(posted, served, context.group)
        document = None
        if FC in groups and posted.fc_mappings is not None:
            document = _without_removed_fc(vios.document, posted.fc_mappings)
        facts = {path: file_fact(path) for path in posted.paths()}
        made = context.state.replace_mappings(vios.uuid, etag, context.group, posted.kept,
                                              posted.new, facts, document)
        context.made = [context.renderer.chunk(mapping) for mapping in made]


def _keep_all(posted: PostedMappings, served: Served, group: str | None) -> None:
    """Leave the mappings as they are where the posted group has none.

    :raises Refused: the posted document changes them nevertheless
    """
    if posted.has_mappings and (posted.new or posted.kept != set(served.mappings)):
        raise Refused('group', f'The group {group} has no mappings: expected ?group={SCSI}.')
    posted.kept, posted.new = set(served.mappings), []


def _without_removed_fc(document: str | None, posted: list[str]) -> str | None:
    """The document without the virtual fibre channel mappings that were not posted; None if
    nothing is removed. Such mappings are shown and removed here, never made.

    :param posted: the posted mappings in canonical form
    :raises Refused: one was posted that is not there
    """
    root = etree.fromstring(document.encode()) if document else None
    there = root.findall(_FC_PATH) if root is not None else []
    left = list(posted)
    gone = []
    for part in there:
        # A copy: canonical form takes the indentation away.
        name = canonical(etree.fromstring(etree.tostring(part, with_tail=False)))
        if name in left:
            left.remove(name)
        else:
            gone.append(part)
    if left:
        raise Refused('fc_mappings', 'This simulator does not make virtual fibre channel mappings: '
                      'expected those that are there, or fewer.')
    if not gone or root is None:
        return None
    for part in gone:
        part.getparent().remove(part)
    return etree.tostring(root, encoding='unicode')
