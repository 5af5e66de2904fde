# SPDX-License-Identifier: Apache-2.0
"""The simulator's own addresses below /simulator/: look inside and arrange, as JSON.

Not part of NovaLink, never logged, and never hit by faults.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING
from typing import Any
from urllib.parse import parse_qs

from powervm_fileio_connector.simulator.faults import from_json
from powervm_fileio_connector.simulator.faults import to_json
from powervm_fileio_connector.simulator.wire import Answer
from powervm_fileio_connector.simulator.wire import Request

if TYPE_CHECKING:
    from powervm_fileio_connector.simulator.novalink import NovaLinkSimulator

PREFIX = '/simulator/'


class Control:
    """Answers requests about a simulator."""

    def __init__(self, simulator: NovaLinkSimulator) -> None:
        self._simulator = simulator

    def answer(self, request: Request) -> Answer:
        """The answer; 404 names what there is, 400 says what is wrong with the request."""
        what, _, rest = request.path[len(PREFIX):].partition('/')
        method = getattr(self, f'_{request.method.lower()}_{what}', None)
        if method is None:
            known = sorted(' '.join(name[1:].split('_')) for name in dir(self)
                           if name.startswith(('_get_', '_post_', '_patch_', '_delete_')))
            return _json({'error': f'unknown {request.method} {request.path}', 'known': known}, 404)
        try:
            data = json.loads(request.body) if request.body else {}
            return _json(method(rest, data, parse_qs(request.query)))
        except (ValueError, TypeError, KeyError) as err:
            return _json({'error': str(err)}, 400)

    def _get_info(self, rest: str, data: Any, query: Any) -> Any:
        sim = self._simulator
        return {'vios_uuid': sim.vios_uuid, 'vios_id': sim.vios_id,
                'system_uuid': sim.system_uuid, 'cpu_seconds': time.process_time()}

    def _get_state(self, rest: str, data: Any, query: Any) -> Any:
        snapshot = self._simulator.state.snapshot()
        for record in (*snapshot['hosts'], *snapshot['partitions'], *snapshot['mappings']):
            record.pop('document', None)
            record.pop('source', None)
        return snapshot

    def _get_violations(self, rest: str, data: Any, query: Any) -> Any:
        return self._simulator.state.violations()

    def _get_requests(self, rest: str, data: Any, query: Any) -> Any:
        return [asdict(record) for record in self._simulator.requests]

    def _delete_requests(self, rest: str, data: Any, query: Any) -> Any:
        self._simulator.requests.clear()

    def _get_faults(self, rest: str, data: Any, query: Any) -> Any:
        return [to_json(fault) for fault in self._simulator.faults.pending()]

    def _post_faults(self, rest: str, data: Any, query: Any) -> Any:
        self._simulator.faults.add(from_json(data))

    def _delete_faults(self, rest: str, data: Any, query: Any) -> Any:
        self._simulator.faults.clear()

    def _post_lpars(self, rest: str, data: Any, query: Any) -> Any:
        return asdict(self._simulator.add_lpar(**data))

    def _patch_lpars(self, rest: str, data: Any, query: Any) -> Any:
        return asdict(self._simulator.change_lpar(rest, **data))

    def _delete_lpars(self, rest: str, data: Any, query: Any) -> Any:
        self._simulator.remove_lpar(rest, query.get('leave_orphans') != ['false'])

    def _post_restart(self, rest: str, data: Any, query: Any) -> Any:
        self._simulator.restart()


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), {'Content-Type': 'application/json'})
