# SPDX-License-Identifier: Apache-2.0
"""The feed of events that pypowervm's listener polls: one stream per application id."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from dataclasses import dataclass
from xml.sax.saxutils import escape

from . import atom
from .context import Context
from .elements import parse
from .http_messages import Answer
from .model import Change
from .rules import Refused
from .schema import UOM

_KEPT = 10_000
_TYPES = {'add': 'ADD_URI', 'modify': 'MODIFY_URI', 'delete': 'DELETE_URI'}


@dataclass(frozen=True, slots=True)
class Event:
    """One event; ``data`` is mostly the address of what has changed."""

    id: int
    type: str
    data: str = ''
    detail: str = ''


class Events:
    """All recent events, and how far each client has read."""

    def __init__(self, url: str, system_uuid: str, wait_s: float = 10.0) -> None:
        """:param wait_s: how long a request waits for an event, as documented by pypowervm"""
        self._base = f'{url}/rest/api/uom/ManagedSystem/{system_uuid}'
        self._wait_s = wait_s
        self._news = threading.Condition()
        self._events: list[Event] = []
        self._dropped = 0  # how many were forgotten; positions count them
        self._positions: dict[str, int] = {}
        self._ids = itertools.count(int(time.time() * 1000))
        self._closed = False

    def tell(self, change: Change) -> None:
        """Note a change of the state."""
        data = self._base
        if change.partition is not None:
            kind = 'VirtualIOServer' if change.partition.is_io_server else 'LogicalPartition'
            data = f'{self._base}/{kind}/{change.partition.uuid}'
        self._append(_TYPES[change.action], data, change.detail)

    def close(self) -> None:
        """End the requests that wait for an event."""
        with self._news:
            self._closed = True
            self._news.notify_all()

    def _append(self, type_: str, data: str, detail: str) -> Event:
        with self._news:
            event = Event(next(self._ids), type_, data, detail)
            self._events.append(event)
            if len(self._events) > _KEPT:
                del self._events[0]
                self._dropped += 1
            self._news.notify_all()
            return event

    def get(self, context: Context) -> Answer:
        """The events since the last request of the same application."""
        application = next(iter(context.query.get('QUEUE_APPLICATIONID', ())), '')
        if not application:
            raise Refused('application_id', 'Expected Event?QUEUE_CLIENTKEY_METHOD='
                          'USE_APPLICATIONID&QUEUE_APPLICATIONID=<hex>.')
        events = self._next(application)
        if not events:
            return Answer(204)
        href = self._base.rsplit('/', 2)[0] + '/Event'
        return context.document(
            atom.feed_document(href, [_entry(event, href) for event in events]))

    def _next(self, application: str) -> list[Event]:
        with self._news:
            end = self._dropped + len(self._events)
            if application not in self._positions:
                self._positions[application] = end
                return [Event(next(self._ids), 'NEW_CLIENT')]
            at = self._positions[application]
            self._news.wait_for(
                lambda: self._closed or self._dropped + len(self._events) > at, self._wait_s)
            self._positions[application] = self._dropped + len(self._events)
            events = self._events[max(0, at - self._dropped):]
            if at < self._dropped:
                events.insert(0, Event(next(self._ids), 'MISSING_EVENTS'))
            return events

    def put(self, context: Context) -> Answer:
        """Tell the others of an event of a client's own."""
        root = parse(context.request.body)
        event = self._append('CUSTOM_CLIENT_EVENT', root.findtext(f'{{{UOM}}}EventData', ''),
                             root.findtext(f'{{{UOM}}}EventDetail', ''))
        return context.document(b''.join(_entry(event, context.renderer.url
                                                 + '/rest/api/uom/Event', atom.NAMESPACES)))


def _entry(event: Event, base: str, head: str = '') -> list[bytes]:
    name = str(uuid.uuid5(uuid.NAMESPACE_URL, f'{base}/{event.id}'))

    def field(tag: str, text: str) -> str:
        if not text:
            return f'<{tag} kxe="false" kb="ROR"/>'
        return f'<{tag} kxe="false" kb="ROR">{escape(text)}</{tag}>'

    content = (
        f'<Event:Event xmlns:Event="{UOM}" xmlns="{UOM}" '
        'xmlns:ns2="http://www.w3.org/XML/1998/namespace/k2" schemaVersion="V1_3_0">'
        f'<Metadata><Atom><AtomID>{name}</AtomID><AtomCreated>0</AtomCreated></Atom></Metadata>'
        + field('EventType', event.type) + field('EventID', str(event.id))
        + field('EventData', event.data) + field('EventDetail', event.detail) + '</Event:Event>')
    return atom.entry(name, 'Event', f'{base}/{name}', str(event.id), [content.encode()],
                      head=f' {head}' if head else '')
