# SPDX-License-Identifier: Apache-2.0
"""``NovaLinkProcess``: the simulator in a process of its own, told what to do over HTTP.

For benchmarks, where the server must not take the client's interpreter lock, and for tests
that kill clients.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from typing import Self
from urllib.parse import quote

from .client import Reachable
from .faults import Fault
from .faults import from_json
from .faults import to_json
from .model import Mapping
from .model import Partition
from .model import Snapshot
from .novalink import NovaLinkSimulator
from .request_log import RequestLog
from .request_log import RequestRecord

_PACKAGE = __package__ or ''


class NovaLinkProcess(Reachable):
    """A simulated host in another process; ends with the ``with`` block or with this process.

    Takes the arguments of ``NovaLinkSimulator``, and has its methods as far as plain data goes.
    """

    def __init__(self, *, latency: Any = None, faults: Iterable[Fault] = (),
                 **arguments: Any) -> None:
        super().__init__()
        self._arguments = {**arguments, 'faults': [to_json(fault) for fault in faults]}
        if latency is not None:
            self._arguments['latency'] = to_json(latency) if isinstance(
                latency, Fault) else latency
        self._process: subprocess.Popen[str] | None = None
        self._port = 0
        self.requests = RemoteLog(self)
        self.faults = RemoteFaults(self)

    def start(self) -> Self:
        """Start the process and wait until it listens.

        :raises RuntimeError: it did not start; stderr says why
        """
        root = str(Path(__file__).parents[_PACKAGE.count('.') + 1])
        paths = [root, *filter(None, [os.environ.get('PYTHONPATH')])]
        self._process = subprocess.Popen(
            [sys.executable, '-m', _PACKAGE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env={**os.environ, 'PYTHONPATH': os.pathsep.join(paths)})
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(self._arguments) + '\n')
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self.stop()
            raise RuntimeError(f'the simulator did not start: {self._arguments}')
        self._port = json.loads(line)['port']
        return self

    def stop(self) -> None:
        """End the process; may be called again."""
        self._end_sessions()
        if self._process is None:
            return
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._process = None

    @property
    def port(self) -> int:
        """The port it listens on.

        :raises RuntimeError: it is not running
        """
        if self._process is None:
            raise RuntimeError('the simulator is not running: use it as a context manager')
        return self._port

    def ask(self, method: str, what: str, data: Any = None) -> Any:
        """One request to its own addresses, below /simulator/.

        :raises ValueError: it was refused; the message says why
        """
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=60)
        try:
            connection.request(method, f'/simulator/{what}',
                               None if data is None else json.dumps(data))
            answer = connection.getresponse()
            value = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(value['error'])
        return value

    def snapshot(self) -> Snapshot:
        """Everything but recorded documents, as plain data."""
        return dict(self.ask('GET', 'state'))

    def check_invariants(self) -> None:
        """:raises AssertionError: a slot or a LUA is there twice, or a UDID is wrong"""
        found = self.ask('GET', 'violations')
        assert not found, '; '.join(found)

    @property
    def info(self) -> dict[str, Any]:
        """vios_uuid, vios_id, system_uuid, and cpu_seconds of the whole process."""
        return dict(self.ask('GET', 'info'))

    @property
    def vios_uuid(self) -> str:
        """The UUID of the VIOS."""
        return str(self.info['vios_uuid'])

    @property
    def vios_id(self) -> int:
        """The id of the VIOS."""
        return int(self.info['vios_id'])

    @property
    def system_uuid(self) -> str:
        """The UUID of the ManagedSystem."""
        return str(self.info['system_uuid'])

    @property
    def lpars(self) -> list[Partition]:
        """The client LPARs, oldest first."""
        partitions = (Partition(**p) for p in self.snapshot()['partitions'])
        return [p for p in partitions
                if not (p.is_io_server or p.is_management or p.is_foreign)]

    def mappings(self, lpar_uuid: str | None = None) -> list[Mapping]:
        """The mappings of one LPAR or of all."""
        mappings = (Mapping(**m) for m in self.snapshot()['mappings'])
        return [m for m in mappings
                if not m.is_foreign and lpar_uuid in (None, m.lpar_uuid)]

    def add_lpar(self, name: str | None = None, **fields: Any) -> Partition:
        """Create an LPAR."""
        return Partition(**self.ask('POST', 'lpars', {'name': name, **fields}))

    def change_lpar(self, uuid: str, **fields: Any) -> Partition:
        """Change fields of an LPAR."""
        return Partition(**self.ask('PATCH', f'lpars/{quote(uuid)}', fields))

    def remove_lpar(self, uuid: str, leave_orphans: bool = True) -> None:
        """Delete an LPAR."""
        self.ask('DELETE', f'lpars/{quote(uuid)}?leave_orphans={str(leave_orphans).lower()}')

    def recreate_lpar(self, uuid: str, successor: str | None = None,
                      leave_orphans: bool = True) -> Partition:
        """Delete an LPAR and create it again under the same UUID and another id."""
        return Partition(**self.ask('POST', f'recreate/{quote(uuid)}', {
            'successor': successor, 'leave_orphans': leave_orphans}))

    def restart(self) -> None:
        """Behave as after a restart."""
        self.ask('POST', 'restart', {})


class RemoteLog(RequestLog):
    """The request log of the other process."""

    def __init__(self, process: NovaLinkProcess) -> None:
        super().__init__()
        self._process = process

    def records(self, method: str | None = None, path: str | None = None) -> list[RequestRecord]:
        """The records of a method and of addresses that contain ``path``."""
        self._records = deque(RequestRecord(**r) for r in self._process.ask('GET', 'requests'))
        return super().records(method, path)

    def clear(self) -> None:
        """Forget all records."""
        self._process.ask('DELETE', 'requests')


class RemoteFaults:
    """The faults of the other process."""

    def __init__(self, process: NovaLinkProcess) -> None:
        self._process = process

    def add(self, *faults: Fault) -> None:
        """Put faults in force."""
        for fault in faults:
            self._process.ask('POST', 'faults', to_json(fault))

    def clear(self) -> None:
        """Put no faults in force."""
        self._process.ask('DELETE', 'faults')

    def pending(self) -> list[Fault]:
        """The faults that can still happen."""
        return [from_json(data) for data in self._process.ask('GET', 'faults')]


def main() -> None:  # pragma: no cover: a process of its own
    """The other process: arguments on stdin, the port on stdout, ends when stdin does."""
    # Ctrl-C is for the process that started this one, which then closes stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    arguments = json.loads(sys.stdin.readline())
    arguments['faults'] = [from_json(data) for data in arguments.get('faults', ())]
    if isinstance(arguments.get('latency'), dict):
        arguments['latency'] = from_json(arguments['latency'])
    with NovaLinkSimulator(**arguments) as simulator:
        print(json.dumps({'port': simulator.port}), flush=True)
        sys.stdin.read()
