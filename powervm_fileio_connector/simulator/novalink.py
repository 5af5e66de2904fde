# SPDX-License-Identifier: Apache-2.0
"""``NovaLinkSimulator``: a NovaLink REST server in this process, on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any
from typing import Self

from powervm_fileio_connector.simulator.client import Reachable
from powervm_fileio_connector.simulator.control import Control
from powervm_fileio_connector.simulator.events import Events
from powervm_fileio_connector.simulator.faults import Fault
from powervm_fileio_connector.simulator.faults import Latency
from powervm_fileio_connector.simulator.faultset import FaultSet
from powervm_fileio_connector.simulator.jobs import Jobs
from powervm_fileio_connector.simulator.model import Mapping
from powervm_fileio_connector.simulator.model import Partition
from powervm_fileio_connector.simulator.recordings import load
from powervm_fileio_connector.simulator.requestlog import RequestLog
from powervm_fileio_connector.simulator.server import Server
from powervm_fileio_connector.simulator.sessions import Sessions
from powervm_fileio_connector.simulator.store import Store
from powervm_fileio_connector.simulator.views import Views
from powervm_fileio_connector.simulator.wire import Listener
from powervm_fileio_connector.simulator.worlds import make_state
from powervm_fileio_connector.simulator.worlds import new_uuid


class NovaLinkSimulator(Reachable):
    """A host that unmodified pypowervm can talk to, for the time of a ``with`` block.

    ``faults`` and ``requests`` may be used at any time; so may everything else.
    """

    def __init__(self, lpars: int = 2, port: int = 0, mgmt_is_io_server: bool = True,
                 mappings: int = 0, recording: str | Iterable[str] | None = None,
                 state_file: str | None = None, latency: Latency | float | None = None,
                 faults: Iterable[Fault] = (), password: str | None = None,
                 serialise_posts: bool = True, job_polls: int = 0,
                 event_wait_s: float = 10.0, other_vioses: int = 0) -> None:
        """Make the host; it is not served before ``start``.

        :param port: 0 takes any that is free
        :param recording: name or path of one of pypowervm's recordings, or several: where the
            host starts instead of a made-up one
        :param latency: of every request; a number is the seconds of each
        :param password: what a password logon needs; None: any will do
        :param state_file: the state is kept there; if it exists, it is where the host starts
        :param serialise_posts: changes wait for each other, as on a real VIOS
        :param job_polls: how often a job is read before it is over; 0: it is over at once
        :param event_wait_s: how long a request for events waits for one
        :param other_vioses: traditional VIOS beside the one of ``vios_uuid``
        """
        super().__init__()
        self._store = Store(state_file) if state_file else None
        state = self._store.load() if self._store else None
        if state is None and recording is not None:
            state = load(recording)
        self.state = state or make_state(lpars, mgmt_is_io_server, mappings,
                                         other_vioses)
        self.requests = RequestLog()
        self.faults = FaultSet(tuple(faults))
        if latency is not None:
            if not isinstance(latency, Latency):
                latency = Latency(get_s=latency, post_s=latency)
            self.faults.add(latency)
        self.sessions = Sessions(password)
        self._wanted_port = port
        self._serialise_posts = serialise_posts
        self.jobs = Jobs(job_polls)
        self._event_wait_s = event_wait_s
        self._events: Events | None = None
        self._listener: Listener | None = None
        self._stopped = threading.Event()

    # -- running ---------------------------------------------------------------------------

    def start(self) -> Self:
        """Listen; returns at once."""
        listener = Listener(self._wanted_port, lambda request: self._server.handle(request),
                            self.faults.on_connect)
        self._listener = listener
        self._events = Events(self.url, self.system_uuid, self._event_wait_s)
        self.state.subscribe(self._events.tell)
        self._server = Server(self.state, Views(self.state, self.url), self.faults,
                              self.sessions, self.requests, self._serialise_posts)
        self._server.rooms += [self.jobs.answer, self._events.answer]
        self._server.control = Control(self).answer
        self._server.on_change = self._save
        self._save()
        listener.start()
        return self

    def stop(self) -> None:
        """Log off, stop listening, and remove every file; may be called again."""
        if self._stopped.is_set():
            return
        self._end_sessions()
        if self._listener is not None:
            self._server.stopping.set()
            assert self._events is not None
            self._events.close()
            self._listener.stop()
        self.sessions.close()
        self._save()
        self._stopped.set()

    def _save(self) -> None:
        if self._store is not None:
            self._store.save(self.state)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is stopped; True if it is."""
        return self._stopped.wait(timeout_s)

    def restart(self) -> None:
        """Behave as after a restart: all sessions and etags become invalid."""
        self._server.restart()

    @property
    def port(self) -> int:
        """The port it listens on.

        :raises RuntimeError: it is not running
        """
        if self._listener is None:
            raise RuntimeError('the simulator is not running: use it as a context manager')
        return self._listener.port

    # -- the host --------------------------------------------------------------------------

    @property
    def system_uuid(self) -> str:
        """The UUID of the ManagedSystem."""
        return self.state.host.uuid

    @property
    def vios(self) -> Partition:
        """The VIOS that is the management partition, or else the first one."""
        servers = self.state.partitions(io_servers=True)
        return next((p for p in servers if p.is_management), servers[0])

    @property
    def vios_uuid(self) -> str:
        """The UUID of ``vios``."""
        return self.vios.uuid

    @property
    def vios_id(self) -> int:
        """The id of ``vios``."""
        return self.vios.id

    @property
    def lpars(self) -> list[Partition]:
        """The client LPARs, oldest first."""
        return [p for p in self.state.partitions(io_servers=False) if not p.is_management]

    def add_lpar(self, name: str | None = None, uuid: str | None = None, id: int | None = None,
                 **fields: Any) -> Partition:
        """Create an LPAR, by default running and ready, under the lowest free id."""
        ids = {p.id for p in self.state.partitions()}
        free = next(i for i in range(1, len(ids) + 2) if i not in ids)
        partition = Partition(uuid or new_uuid(), name or f'lpar{id or free}', id or free, **fields)
        self.state.add_partition(partition)
        self._save()
        return partition

    def change_lpar(self, uuid: str, **fields: Any) -> Partition:
        """Change fields of an LPAR, e.g. ``rmc_state='inactive'``."""
        partition = self.state.change_partition(uuid, **fields)
        self._save()
        return partition

    def remove_lpar(self, uuid: str, leave_orphans: bool = True) -> None:
        """Delete an LPAR; its mappings become orphans unless told otherwise."""
        self.state.remove_partition(uuid, leave_orphans)
        self._save()

    def mappings(self, lpar_uuid: str | None = None) -> list[Mapping]:
        """The mappings, of all VIOSes, of one LPAR or of all."""
        return [m for m in self.state.mappings() if lpar_uuid in (None, m.lpar_uuid)]
