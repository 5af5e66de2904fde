# SPDX-License-Identifier: Apache-2.0
"""The simulator's own addresses below /simulator: inspect it and change it, as JSON.

Not part of NovaLink, never logged, and never hit by faults.
"""

from __future__ import annotations

import json
import re
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
from .lpars import create_lpar
from .lpars import recreate_lpar
from .request_log import RequestLog
from .rules import Refused
from .sessions import Sessions
from .state import State

PREFIX = '/simulator'
_LOOPBACK = re.compile(r'(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?')


class Admin:
    """Answers requests about the simulator itself."""

    def __init__(self, state: State, faults: FaultSet, requests: RequestLog,
                 sessions: Sessions, save: Callable[[], None]) -> None:
        """:param save: called after every request that may have changed the state"""
        self._state, self._sessions, self._save = state, sessions, save
        # By method and first part of the address; called with the rest of it, the body, the query.
        self._actions: dict[str, Callable[[str, Any, dict[str, list[str]]], Any]] = {
            'GET ': lambda *_: {'simulator': 'NovaLink', 'addresses': sorted(self._actions)},
            'GET info': lambda *_: self._info(),
            'GET state': lambda *_: self._snapshot(),
            'GET violations': lambda *_: state.violations(),
            'GET requests': lambda *_: [asdict(record) for record in requests],
            'DELETE requests': lambda *_: requests.clear(),
            'GET faults': lambda *_: [to_json(fault) for fault in faults.pending()],
            'POST faults': lambda rest, data, query: faults.add(from_json(data)),
            'DELETE faults': lambda *_: faults.clear(),
            'POST lpars': lambda rest, data, query: asdict(create_lpar(state, **data)),
            'POST recreate': lambda rest, data, query: asdict(recreate_lpar(state, rest, **data)),
            'PATCH lpars': lambda rest, data, query: asdict(state.change_partition(rest, **data)),
            'DELETE lpars': lambda rest, data, query: state.remove_partition(
                rest, query.get('leave_orphans') != ['false']),
            'POST restart': lambda *_: self._restart(),
        }

    def answer(self, request: Request) -> Answer:
        """The answer; 404 names what there is, 400 and 403 say what is wrong with the request."""
        refusal = _foreign(request)
        if refusal is not None:
            return _json({'error': refusal}, 403)
        what, _, rest = request.path[len(PREFIX):].lstrip('/').partition('/')
        action = self._actions.get(f'{request.method} {what}')
        if action is None:
            return _json({'error': f'unknown {request.method} {request.path}',
                          'known': sorted(self._actions)}, 404)
        try:
            data = json.loads(request.body) if request.body else {}
            value = action(rest, data, parse_qs(request.query))
            if request.method != 'GET':
                self._save()
            return _json(value)
        except OSError as err:
            return _json({'error': f'the simulator cannot write a file: {err}'}, 500)
        except (ValueError, TypeError, KeyError, RecursionError, Refused) as err:
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


def _foreign(request: Request) -> str | None:
    """Why a request is not for this server, or is made by a web page of another; None if it is not.

    A browser sends requests of any page to loopback, and a name of any site may lead there.
    """
    host, origin = request.headers.get('host', ''), request.headers.get('origin')
    if _LOOPBACK.fullmatch(host.lower()) is None:
        return f'Host is {host!r}: expected localhost'
    if origin is not None and origin.lower() != f'http://{host.lower()}':
        return f'Origin is {origin!r}: expected none, or http://{host}'
    return None


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), {'Content-Type': 'application/json'})
