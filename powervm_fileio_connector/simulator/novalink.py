# SPDX-License-Identifier: Apache-2.0
"""``NovaLinkSimulator``: a NovaLink REST server in this process, on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any
from typing import Self

from .admin import Admin
from .changes import Changes
from .client import Reachable
from .events import Events
from .faults import Fault
from .faults import FaultSet
from .faults import Latency
from .http_server import Listener
from .initial_state import make_state
from .jobs import Jobs
from .lpars import create_lpar
from .lpars import recreate_lpar
from .model import Mapping
from .model import Partition
from .recordings import load
from .renderer import Renderer
from .request_log import RequestLog
from .server import Server
from .server import routes
from .sessions import Sessions
from .state import State
from .state_file import StateFile


class NovaLinkSimulator(Reachable):
    """A host that unmodified pypowervm can talk to, for the time of a ``with`` block.

    ``faults`` and ``requests`` may be used at any time; so may everything else.
    """

    def __init__(self, lpars: int = 2, port: int = 0, mgmt_is_io_server: bool = True,
                 mappings: int = 0, recording: str | Iterable[str] | None = None,
                 state_file: str | None = None, latency: Latency | float | None = None,
                 faults: Iterable[Fault] = (), password: str | None = None,
                 serialise_posts: bool = True, job_polls: int = 0,
                 event_wait_s: float = 10.0, other_vioses: int = 0,
                 state: State | None = None, links_of_files: bool = False,
                 foreign: bool = True) -> None:
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
        :param state: where the host starts instead of a made-up one
        :param links_of_files: mappings of files name their LPAR; recorded ones do not
        :param foreign: another program has an LPAR and mappings of every kind but files, one of
            which has a name that is not ASCII; ``lpars`` and ``mappings()`` are without them
        """
        super().__init__()
        self._state_file = StateFile(state_file) if state_file else None
        saved = self._state_file.load() if self._state_file else None
        if saved is not None:
            state = saved
        elif state is None and recording is not None:
            state = load(recording)
        self.state = state or make_state(lpars, mgmt_is_io_server, mappings, other_vioses,
                                         foreign)
        self.requests = RequestLog()
        self.faults = FaultSet(tuple(faults))
        if latency is not None:
            if not isinstance(latency, Latency):
                latency = Latency(get_s=latency, post_s=latency)
            self.faults.add(latency)
        self.sessions = Sessions(password)
        self.jobs = Jobs(job_polls)
        self._changes = Changes(self.faults.on_apply, serialise_posts)
        self._port, self._event_wait_s = port, event_wait_s
        self._links_of_files = links_of_files
        self._listener: Listener | None = None
        self._server: Server | None = None
        self._stopped = threading.Event()

    # -- running ---------------------------------------------------------------------------

    def start(self) -> Self:
        """Listen; returns at once.

        :raises OSError: the port is taken, or the state file cannot be written
        """
        self._save()
        listener = self._listener = Listener(self._port)
        self._events = Events(self.url, self.system_uuid, self._event_wait_s)
        self.state.subscribe(self._events.tell)
        renderer = Renderer(self.state, self.url, self._links_of_files)
        self._server = Server(
            self.state, renderer, self.faults, self.sessions, self.requests,
            routes(self.sessions, self._changes, self.jobs, self._events),
            Admin(self.state, self.faults, self.requests, self.sessions, self._save),
            self._save)
        listener.serve(self._server.handle, self.faults.on_connect, self._server.body_limit)
        return self

    def stop(self) -> None:
        """Log off, stop listening, and remove every file; may be called again."""
        if self._stopped.is_set():
            return
        self._end_sessions()
        if self._listener is not None:
            if self._server is not None:
                self._server.stopping.set()
                self._events.close()
            self._listener.stop()
        self.sessions.close()
        self._stopped.set()
        if self._state_file is not None:
            try:
                self._save()
            finally:
                self._state_file.close()

    def _save(self) -> None:
        if self._state_file is not None:
            self._state_file.save(self.state)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is stopped; True if it is."""
        return self._stopped.wait(timeout_s)

    def restart(self) -> None:
        """Behave as after a restart: all sessions and etags become invalid."""
        self.sessions.expire_all()
        self.state.restart()

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
        return self.state.vios

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
        return self.state.lpars

    def add_lpar(self, name: str | None = None, uuid: str | None = None, id: int | None = None,
                 **fields: Any) -> Partition:
        """Create an LPAR, by default running and ready, under the lowest free id."""
        partition = create_lpar(self.state, name, uuid, id, **fields)
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

    def recreate_lpar(self, uuid: str, successor: str | None = None,
                      leave_orphans: bool = True) -> Partition:
        """Delete an LPAR and create it again under the same UUID and another id.

        This is what a rebuild, an unshelve, or a migration there and back does.

        :param successor: name of a new LPAR that gets the old id
        """
        partition = recreate_lpar(self.state, uuid, successor, leave_orphans)
        self._save()
        return partition

    def mappings(self, lpar_uuid: str | None = None) -> list[Mapping]:
        """The mappings, of all VIOSes, of one LPAR or of all; not those of other programs.

        ``state.mappings()`` has those as well.
        """
        return [m for m in self.state.mappings()
                if not m.is_foreign and lpar_uuid in (None, m.lpar_uuid)]
