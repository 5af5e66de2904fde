# SPDX-License-Identifier: Apache-2.0
"""The simulator's own addresses below /simulator/: inspect it and change it, as JSON.

Not part of NovaLink, never logged, and never hit by faults.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qs

from .faults import FaultSet
from .faults import from_json
from .faults import to_json
from .http_messages import Answer
from .http_messages import Request
from .request_log import RequestLog
from .sessions import Sessions
from .state import State

PREFIX = '/simulator/'


class Admin:
    """Answers requests about the simulator itself."""

    def __init__(self, state: State, faults: FaultSet, requests: RequestLog,
                 sessions: Sessions) -> None:
        self._state, self._sessions = state, sessions
        # By method and first part of the address; called with the rest of it, the body, the query.
        self._actions: dict[str, Callable[[str, Any, dict[str, list[str]]], Any]] = {
            'GET info': lambda *_: self._info(),
            'GET state': lambda *_: self._snapshot(),
            'GET violations': lambda *_: state.violations(),
            'GET requests': lambda *_: [asdict(record) for record in requests],
            'DELETE requests': lambda *_: requests.clear(),
            'GET faults': lambda *_: [to_json(fault) for fault in faults.pending()],
            'POST faults': lambda rest, data, query: faults.add(from_json(data)),
            'DELETE faults': lambda *_: faults.clear(),
            'POST lpars': lambda rest, data, query: asdict(state.create_lpar(**data)),
            'POST recreate': lambda rest, data, query: asdict(state.recreate_lpar(rest, **data)),
            'PATCH lpars': lambda rest, data, query: asdict(state.change_partition(rest, **data)),
            'DELETE lpars': lambda rest, data, query: state.remove_partition(
                rest, query.get('leave_orphans') != ['false']),
            'POST restart': lambda *_: self._restart(),
        }

    def answer(self, request: Request) -> Answer:
        """The answer; 404 names what there is, 400 says what is wrong with the request."""
        what, _, rest = request.path[len(PREFIX):].partition('/')
        action = self._actions.get(f'{request.method} {what}')
        if action is None:
            return _json({'error': f'unknown {request.method} {request.path}',
                          'known': sorted(self._actions)}, 404)
        try:
            data = json.loads(request.body) if request.body else {}
            return _json(action(rest, data, parse_qs(request.query)))
        except (ValueError, TypeError, KeyError) as err:
            return _json({'error': str(err)}, 400)

    def _info(self) -> dict[str, Any]:
        vios = self._state.vios
        return {'vios_uuid': vios.uuid, 'vios_id': vios.id, 'system_uuid': self._state.host.uuid,
                'cpu_seconds': time.process_time()}

    def _snapshot(self) -> dict[str, Any]:
        snapshot = self._state.snapshot()
        for record in (*snapshot['hosts'], *snapshot['partitions'], *snapshot['mappings']):
            record.pop('document', None)
            record.pop('source', None)
        return snapshot

    def _restart(self) -> None:
        self._sessions.expire_all()
        self._state.restart()


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), {'Content-Type': 'application/json'})
