# SPDX-License-Identifier: Apache-2.0
"""One request on its way through the server, and what can be answered."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from powervm_fileio_connector.simulator import atom
from powervm_fileio_connector.simulator.model import Partition
from powervm_fileio_connector.simulator.rules import Refused
from powervm_fileio_connector.simulator.wire import Answer
from powervm_fileio_connector.simulator.wire import Dropped
from powervm_fileio_connector.simulator.wire import Request

if TYPE_CHECKING:
    from powervm_fileio_connector.simulator.server import Server

_XML = 'application/atom+xml'
# ASSUMED: NovaLink answers 400 to what it would not do; 412, 404 and 401 are known from
# pypowervm.
_STATUS = {'invalid': 400, 'stale': 412, 'unknown': 404, 'unauthorized': 401}
_REASON = {400: 'Bad Request', 401: 'Unauthorized', 404: 'Not Found', 405: 'Method Not Allowed',
           412: 'Precondition Failed', 500: 'Unknown internal error.'}


class Exchange:
    """One request on its way: what handlers and faults work with."""

    def __init__(self, server: Server, request: Request) -> None:
        self.server, self.request = server, request
        self.made: list[bytes] = []
        self.vios: Partition | None = None
        self.query = parse_qs(request.query, keep_blank_values=True)

    @property
    def group(self) -> str | None:
        """The ``?group=`` of the request."""
        return next(iter(self.query.get('group', ())), None)

    def wait(self, seconds: float) -> None:
        """Wait, but not longer than the server runs."""
        if seconds > 0 and self.server.stopping.wait(seconds):
            raise Dropped

    def error(self, status: int, reason: str, message: str) -> Answer:
        """An error in the recorded shape."""
        body = atom.error_document(status, self.request.path, reason, message,
                                   self.request.headers.items())
        return Answer(status, body, {'Content-Type': _XML})

    def refusal(self, err: Refused) -> Answer:
        """What is said to a request that was refused."""
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
        self.server.sessions.expire_all()

    def restart(self) -> None:
        """Forget what a restart forgets."""
        self.server.restart()

    def touch(self) -> None:
        """Make the VIOS's etags new."""
        if self.vios is not None:
            self.server.state.touch(self.vios.uuid)


def unknown(exchange: Exchange, expected: str = '') -> Refused:
    """What to say to a request that nothing is known about."""
    return Refused('address_known', (
        f'This simulator does not know {exchange.request.method} {exchange.request.path}. '
        + (f'Expected {expected}.' if expected else 'It knows, below /rest/api/: web/Logon; '
           'uom/ManagedSystem[/<uuid>[/LogicalPartition|VirtualIOServer...]]; '
           'uom/LogicalPartition and uom/VirtualIOServer[/<uuid>][?group=...], '
           '/search/(Property==value), /<uuid>/quick[/All|/<Property>]; '
           'POST uom/VirtualIOServer/<uuid>?group=ViosSCSIMapping; '
           'uom/VirtualIOServer/<uuid>/do/RescanVirtualDisk; uom/jobs/<id>; uom/Event.')),
        'unknown')
