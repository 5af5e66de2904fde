# SPDX-License-Identifier: Apache-2.0
"""What each address does: the REST API on top of the state."""

from __future__ import annotations

import re
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import nullcontext

from powervm_fileio_connector.simulator import atom
from powervm_fileio_connector.simulator.changes import read_post
from powervm_fileio_connector.simulator.control import PREFIX
from powervm_fileio_connector.simulator.exchange import Exchange
from powervm_fileio_connector.simulator.exchange import unknown
from powervm_fileio_connector.simulator.faults import LOGON_PATH
from powervm_fileio_connector.simulator.faults import UOM_PATH
from powervm_fileio_connector.simulator.faultset import FaultSet
from powervm_fileio_connector.simulator.fibre import without_removed
from powervm_fileio_connector.simulator.filefacts import look_at
from powervm_fileio_connector.simulator.model import Partition
from powervm_fileio_connector.simulator.queries import quick
from powervm_fileio_connector.simulator.queries import search
from powervm_fileio_connector.simulator.requestlog import RequestLog
from powervm_fileio_connector.simulator.requestlog import RequestRecord
from powervm_fileio_connector.simulator.rules import Refused
from powervm_fileio_connector.simulator.sessions import Sessions
from powervm_fileio_connector.simulator.state import FC
from powervm_fileio_connector.simulator.state import SCSI
from powervm_fileio_connector.simulator.state import State
from powervm_fileio_connector.simulator.state import groups_in
from powervm_fileio_connector.simulator.views import Views
from powervm_fileio_connector.simulator.wire import Answer
from powervm_fileio_connector.simulator.wire import Dropped
from powervm_fileio_connector.simulator.wire import Request


class Server:
    """Serves requests; knows nothing of sockets."""

    def __init__(self, state: State, views: Views, faults: FaultSet, sessions: Sessions,
                 log: RequestLog, serialise_posts: bool = True) -> None:
        """:param serialise_posts: changes of one VIOS wait for each other, as on a real one"""
        self.state, self.views, self.faults = state, views, faults
        self.sessions, self.log = sessions, log
        self.stopping = threading.Event()
        self.serialise_posts = serialise_posts
        self._turns: dict[str, threading.Lock] = {}
        # Asked before the server's own addresses: jobs and events.
        self.rooms: list[Callable[[Exchange, str], Answer | None]] = []
        self.control: Callable[[Request], Answer] | None = None
        self.on_change: Callable[[], None] | None = None

    def handle(self, request: Request) -> Answer:
        """The answer to a request.

        :raises Dropped: the connection is to be closed without one
        """
        if self.control is not None and request.path.startswith(PREFIX):
            return self.control(request)
        start, cpu = time.perf_counter(), time.thread_time()
        answer = Answer(0)
        try:
            exchange = Exchange(self, request)
            answer = self._answer(exchange)
            if self.on_change is not None and request.method not in ('GET', 'HEAD'):
                self.on_change()
            if request.method == 'HEAD':
                answer.body = b''
            answer = self.faults.on_answer(exchange, answer)
            return answer
        except Dropped:
            answer = Answer(0)
            raise
        finally:
            self.log.add(RequestRecord(
                request.method, request.path, request.query, answer.status, len(request.body),
                len(answer.body), time.perf_counter() - start, time.thread_time() - cpu))

    def restart(self) -> None:
        """Forget what a restart forgets: sessions and etags."""
        self.sessions.expire_all()
        self.state.restart()

    def _answer(self, exchange: Exchange) -> Answer:
        request = exchange.request
        try:
            answer = self.faults.on_request(exchange)
            if answer is not None:
                return answer
            if request.path == LOGON_PATH:
                return self._logon(exchange)
            token = request.headers.get('x-api-session')
            self.state.rules.check('session', self.sessions.is_valid(token),
                                   'The session token is missing or no longer valid: log on '
                                   f'with PUT {LOGON_PATH}.', 'unauthorized')
            if not request.path.startswith(UOM_PATH):
                raise unknown(exchange)
            return self._uom(exchange, request.path[len(UOM_PATH):].strip('/'))
        except Refused as err:
            return exchange.refusal(err)

    def _logon(self, exchange: Exchange) -> Answer:
        request = exchange.request
        if request.method == 'PUT':
            body = self.sessions.logon(request.body)
            return Answer(200, body, {
                'Content-Type': 'application/vnd.ibm.powervm.web+xml; type=LogonResponse',
                # By this pypowervm tells NovaLink from an HMC.
                'X-MC-Type': 'PVM'})
        if request.method == 'DELETE':
            self.sessions.logoff(request.headers.get('x-api-session'))
            return Answer(204)
        raise unknown(exchange, 'PUT (log on) or DELETE (log off)')

    def _uom(self, exchange: Exchange, path: str) -> Answer:
        for room in self.rooms:
            answer = room(exchange, path)
            if answer is not None:
                return answer
        first, _, rest = path.partition('/')
        if first == 'ManagedSystem':
            return self._system(exchange, rest)
        if first in ('LogicalPartition', 'VirtualIOServer'):
            return self._partitions(exchange, first, rest)
        raise unknown(exchange)

    def _system(self, exchange: Exchange, rest: str) -> Answer:
        uuid, _, child = rest.partition('/')
        hosts = [h for h in self.state.hosts if uuid.lower() in ('', h.uuid.lower())]
        if not hosts:
            raise Refused('system_known', f'There is no ManagedSystem {uuid}; there is '
                          f'{self.state.host.uuid}.', 'unknown')
        kind, _, child_rest = child.partition('/')
        if kind in ('LogicalPartition', 'VirtualIOServer') and hosts[0] is self.state.host:
            return self._partitions(exchange, kind, child_rest)
        if exchange.request.method != 'GET' or (child and kind != 'quick'):
            raise unknown(exchange)
        if kind == 'quick':
            return quick(exchange, hosts[0], child_rest)
        base = self.views.url + UOM_PATH + 'ManagedSystem'
        entries = [self.views.host(host, exchange.group, base, head=bool(uuid)) for host in hosts]
        if uuid:
            return exchange.document(b''.join(entries[0][0]), entries[0][1])
        return exchange.document(atom.feed_document(
            'ManagedSystem', base, [pieces for pieces, _ in entries]), entries[0][1])

    def _partitions(self, exchange: Exchange, kind: str, rest: str) -> Answer:
        all_of_kind = self.state.partitions(io_servers=kind == 'VirtualIOServer')
        uuid, _, suffix = rest.partition('/')
        if exchange.request.method == 'GET':
            if not uuid:
                return self._feed(exchange, all_of_kind)
            if uuid == 'search':
                return self._feed(exchange, search(all_of_kind, kind, suffix))
            if uuid == 'quick':
                return quick(exchange, all_of_kind, suffix)
        partition = self._one(kind, uuid)
        if exchange.request.method == 'GET' and suffix.split('/')[0] == 'quick':
            return quick(exchange, partition, suffix.partition('/')[2])
        if exchange.request.method == 'GET' and suffix == 'VolumeGroup':
            base = f'{self._base(exchange)}/{partition.uuid}/VolumeGroup'
            return exchange.document(self.views.volume_groups(partition, base))
        if suffix:
            raise unknown(exchange)
        if exchange.request.method == 'GET':
            return self._entry(exchange, partition)
        if exchange.request.method == 'POST' and partition.is_io_server:
            return self._post(exchange, partition)
        raise unknown(exchange, 'GET, or POST of a VirtualIOServer')

    def _one(self, kind: str, uuid: str) -> Partition:
        partition = self.state.partition(uuid)
        if partition.is_io_server != (kind == 'VirtualIOServer'):
            raise Refused('partition_known', f'{uuid} is not a {kind}.', 'unknown')
        return partition

    def _base(self, exchange: Exchange) -> str:
        """The address that a UUID is appended to, as the request had it (root or child)."""
        found = re.match(r'.*/(?:LogicalPartition|VirtualIOServer)(?=/|$)', exchange.request.path)
        assert found is not None
        return self.views.url + found.group(0)

    def _feed(self, exchange: Exchange, partitions: list[Partition]) -> Answer:
        if not partitions:
            # pypowervm takes this for an empty feed.
            return Answer(204)
        base = self._base(exchange)
        entries = [self.views.partition(p, exchange.group, base, head=False) for p in partitions]
        etag = str(zlib.crc32(' '.join(etag for _, etag in entries).encode()))
        if exchange.request.headers.get('if-none-match') == etag:
            return Answer(304, headers={'ETag': etag})
        href = base + (f'?group={exchange.group}' if exchange.group else '')
        body = atom.feed_document('', href, [pieces for pieces, _ in entries])
        return exchange.document(body, etag)

    def _entry(self, exchange: Exchange, partition: Partition) -> Answer:
        etag = self.state.etag(partition.uuid, exchange.group)
        if exchange.request.headers.get('if-none-match') == etag:
            return Answer(304, headers={'ETag': etag})
        pieces, etag = self.views.partition(partition, exchange.group, self._base(exchange),
                                            head=True)
        return exchange.document(b''.join(pieces), etag)

    def _post(self, exchange: Exchange, vios: Partition) -> Answer:
        """Replace the mappings of a VIOS by those of the posted document.

        ASSUMED: A VIOS makes one change at a time and looks at the etag when its turn comes, so
        that a stale one costs no time.

        ASSUMED: The server changes nothing of a VIOS but its mappings; other differences of
        the posted document are ignored.
        """
        request = exchange.request
        exchange.vios = vios
        etag = request.headers.get('if-match')
        turn = self._turns.setdefault(vios.uuid, threading.Lock())
        with turn if self.serialise_posts else nullcontext():
            self.state.check_etag(vios.uuid, exchange.group, etag)
            self.faults.on_apply(exchange)
            served = self.views.served(vios.uuid)
            posted = read_post(request.body, served, self.state.rules)
            groups = groups_in(exchange.group)
            if SCSI not in groups or not posted.has_mappings:
                if posted.has_mappings and (posted.new or posted.kept != set(served.mappings)):
                    raise Refused('group', f'The group {exchange.group} has no mappings: '
                                  f'expected ?group={SCSI}.')
                posted.kept, posted.new = set(served.mappings), []
            document = None
            if FC in groups and posted.fc_mappings is not None:
                document = without_removed(vios.document, posted.fc_mappings)
            facts = {path: look_at(path) for path in posted.paths()}
            made = self.state.replace_mappings(vios.uuid, etag, exchange.group, posted.kept,
                                               posted.new, facts, document)
            exchange.made = [self.views.chunk(mapping) for mapping in made]
            vios = self.state.partition(vios.uuid)
            pieces, etag = self.views.partition(vios, exchange.group, self._base(exchange),
                                                head=True)
        return exchange.document(b''.join(pieces), etag)
