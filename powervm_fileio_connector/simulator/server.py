# SPDX-License-Identifier: Apache-2.0
"""Answers requests: faults first, then the session, then the handler of the route."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable

from . import partitions
from .admin import PREFIX
from .admin import Admin
from .changes import Changes
from .context import Context
from .events import Events
from .faults import FaultSet
from .http_messages import MAX_BODY
from .http_messages import Answer
from .http_messages import Dropped
from .http_messages import Request
from .jobs import RESCAN
from .jobs import Jobs
from .renderer import Renderer
from .request_log import RequestLog
from .request_log import RequestRecord
from .routes import LOGON_PATH
from .routes import Route
from .routes import Routes
from .rules import Refused
from .sessions import Sessions
from .state import State

_SMALL_BODY = 64 * 1024
_SHOWN = 1000
_KINDS = 'uom/[ManagedSystem/{system}/]{kind:LogicalPartition|VirtualIOServer}'
_VIOS = 'uom/[ManagedSystem/{system}/]{kind:VirtualIOServer}/{uuid}'


def routes(sessions: Sessions, changes: Changes, jobs: Jobs, events: Events) -> Routes:
    """The table of all requests; of several that fit, the first is taken."""
    return Routes((
        Route('PUT', 'web/Logon', lambda context: sessions.logon(context.request)),
        Route('DELETE', 'web/Logon', lambda context: sessions.logoff(_token(context.request))),
        Route('GET', 'uom/ManagedSystem', partitions.get_systems),
        Route('GET', 'uom/ManagedSystem/{system}', partitions.get_system),
        Route('GET', 'uom/ManagedSystem/{system}/quick[/{property}]',
              partitions.get_system_quick, takes_group=False),
        Route('GET', _KINDS, partitions.get_partitions),
        Route('GET', f'{_KINDS}/search/{{search*}}', partitions.search_partitions),
        Route('GET', f'{_KINDS}/quick[/{{property}}]', partitions.get_partitions_quick,
              takes_group=False),
        Route('GET', f'{_KINDS}/{{uuid}}', partitions.get_partition),
        Route('GET', f'{_KINDS}/{{uuid}}/quick[/{{property}}]', partitions.get_partition_quick,
              takes_group=False),
        Route('POST', _VIOS, changes.post),
        Route('GET', f'{_VIOS}/VolumeGroup', partitions.get_volume_groups),
        Route('GET', f'{_VIOS}/do/{RESCAN}', jobs.get_template, takes_group=False),
        Route('PUT', f'{_VIOS}/do/{RESCAN}', jobs.put, takes_group=False),
        Route('GET', 'uom/jobs/{job}', jobs.get),
        Route('DELETE', 'uom/jobs/{job}', jobs.delete),
        Route('POST', 'uom/jobs/{job}/cancel', jobs.cancel),
        Route('GET', 'uom/Event', events.get),
        Route('PUT', 'uom/Event', events.put),
    ))


class Server:
    """Serves requests; knows nothing of sockets."""

    def __init__(self, state: State, renderer: Renderer, faults: FaultSet, sessions: Sessions,
                 log: RequestLog, routes: Routes, admin: Admin,
                 save: Callable[[], None]) -> None:
        """:param save: called after every request that may have changed something"""
        self._state, self._renderer, self._faults = state, renderer, faults
        self._sessions, self._log, self._routes = sessions, log, routes
        self._admin, self._save = admin, save
        self.stopping = threading.Event()

    def body_limit(self, request: Request) -> int:
        """How many bytes of the body of a request are wanted: few without a session."""
        is_known = self._sessions.is_valid(_token(request)) or 'session' not in self._state.rules
        return MAX_BODY if is_known else _SMALL_BODY

    def handle(self, request: Request) -> Answer:
        """The answer to a request.

        :raises Dropped: the connection is to be closed without one
        """
        if f'{request.path}/'.startswith(f'{PREFIX}/'):
            return self._admin.answer(request)
        start, cpu = time.perf_counter(), time.thread_time()
        answer = Answer(0)
        try:
            context = Context(request, self._state, self._renderer, self._sessions, self.stopping)
            answer = self._answer(context)
            if request.method == 'HEAD':
                answer.body = b''
            answer = self._faults.on_answer(context, answer)
            return answer
        except Dropped:
            answer = Answer(0)
            raise
        finally:
            self._log.add(RequestRecord(
                request.method, request.path[:_SHOWN], request.query[:_SHOWN], answer.status,
                len(request.body), len(answer.body), time.perf_counter() - start,
                time.thread_time() - cpu))

    def _answer(self, context: Context) -> Answer:
        request, check = context.request, self._state.rules.check
        try:
            answer = self._faults.on_request(context)
            if answer is not None:
                return answer
            if request.path != LOGON_PATH:
                check('session', self._sessions.is_valid(_token(context.request)),
                      'The session token is missing or no longer valid: log on with PUT '
                      f'{LOGON_PATH}.', 'unauthorized')
            route = self._routes.find(context)
            check('group_taken', route.takes_group or context.group is None,
                  f'{route} takes no ?group=.')
            answer = route.handler(context)
            if request.method not in ('GET', 'HEAD'):
                self._save()
            return answer
        except Dropped:
            raise
        except Refused as err:
            return context.refusal(err)
        except OSError as err:
            # The change is made, but a restart would not know it.
            return self._failed(context, f'the simulator cannot write a file: {err}')
        except Exception as err:  # noqa: BLE001 - the client is told, and the server goes on
            traceback.print_exc()
            return self._failed(context, f'an error of the simulator: {err!r}')

    def _failed(self, context: Context, why: str) -> Answer:
        request = context.request
        print(f'{request.method} {request.path[:_SHOWN]}: {why}', file=sys.stderr, flush=True)
        return context.error(500, 'Unknown internal error.', why)


def _token(request: Request) -> str | None:
    return request.headers.get('x-api-session')
