# SPDX-License-Identifier: Apache-2.0
"""One request, and what handlers and faults need to answer it."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from dataclasses import field
from urllib.parse import parse_qs

from . import atom
from .http_messages import Answer
from .http_messages import Dropped
from .http_messages import Request
from .model import Host
from .model import Partition
from .renderer import Renderer
from .rules import Refused
from .sessions import Sessions
from .state import State

_POLL_S = 0.01
_XML = 'application/atom+xml'
_BASE = re.compile(r'.*/(?:ManagedSystem|LogicalPartition|VirtualIOServer)(?=/|$)')
# ASSUMED: NovaLink answers 400 to what it would not do; 412, 404 and 401 are known from
# pypowervm.
_STATUS = {'invalid': 400, 'stale': 412, 'unknown': 404, 'unauthorized': 401}
_REASON = {400: 'Bad Request', 401: 'Unauthorized', 404: 'Not Found', 405: 'Method Not Allowed',
           412: 'Precondition Failed', 500: 'Unknown internal error.'}


@dataclass
class Context:
    """One request, the state that it concerns, and the answers that can be given.

    :ivar parameters: the parts of the address that its route names
    :ivar made: the mappings that the request made, as they are served
    :ivar vios: the VIOS that the request changes
    """

    request: Request
    state: State
    renderer: Renderer
    sessions: Sessions
    stopping: threading.Event
    parameters: dict[str, str] = field(default_factory=dict)
    made: list[bytes] = field(default_factory=list)
    vios: Partition | None = None

    def __post_init__(self) -> None:
        self.query = parse_qs(self.request.query, keep_blank_values=True)

    @property
    def group(self) -> str | None:
        """The ``?group=`` of the request."""
        return next(iter(self.query.get('group', ())), None)

    @property
    def base(self) -> str:
        """The address that a UUID is appended to, as the request had it (root or child)."""
        found = _BASE.match(self.request.path)
        return self.renderer.url + (found.group(0) if found else '')

    def host(self) -> Host:
        """The machine that the address names, or else the one that is simulated.

        :raises Refused: kind unknown
        """
        uuid = self.parameters.get('system', self.state.host.uuid).lower()
        for host in self.state.hosts:
            if host.uuid.lower() == uuid:
                return host
        raise Refused('system_known', f'There is no ManagedSystem {uuid}; there is '
                      f'{self.state.host.uuid}.', 'unknown')

    def partitions(self) -> list[Partition]:
        """All partitions of the kind that the address names.

        :raises Refused: kind unknown: there is no such machine
        """
        if self.host() is not self.state.host:
            return []
        return self.state.partitions(io_servers=self.parameters['kind'] == 'VirtualIOServer')

    def partition(self) -> Partition:
        """The partition that the address names.

        :raises Refused: kind unknown
        """
        self.host()
        kind, uuid = self.parameters['kind'], self.parameters['uuid']
        partition = self.state.partition(uuid)
        if partition.is_io_server != (kind == 'VirtualIOServer'):
            raise Refused('partition_known', f'{uuid} is not a {kind}.', 'unknown')
        return partition

    def wait(self, seconds: float, until: threading.Event | None = None) -> None:
        """Wait, but not longer than the server runs, nor than until an event.

        :raises Dropped: the server stops
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not (until and until.is_set()):
            # An event cannot be waited for together with another.
            if self.stopping.wait(left if until is None else min(left, _POLL_S)):
                raise Dropped

    def error(self, status: int, reason: str, message: str) -> Answer:
        """An error in the recorded shape."""
        body = atom.error_document(status, self.request.path, reason, message,
                                   self.request.headers.items())
        return Answer(status, body, {'Content-Type': _XML})

    def refusal(self, err: Refused) -> Answer:
        """The answer to a request that was refused."""
        status = _STATUS[err.kind]
        return self.error(status, _REASON[status], str(err))

    def document(self, body: bytes, etag: str | None = None) -> Answer:
        """An answer of success."""
        headers = {'Content-Type': _XML, 'X-HMC-Schema-Version': 'V1_3_0'}
        if etag is not None:
            headers['ETag'] = etag
        return Answer(200, body, headers)

    def expire_sessions(self) -> None:
        """Make all tokens invalid."""
        self.sessions.expire_all()

    def restart(self) -> None:
        """Forget what a restart forgets: sessions and etags."""
        self.sessions.expire_all()
        self.state.restart()

    def touch(self) -> None:
        """Make the VIOS's etags new."""
        if self.vios is not None:
            self.state.touch(self.vios.uuid)
