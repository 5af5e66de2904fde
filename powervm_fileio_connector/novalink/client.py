# SPDX-License-Identifier: Apache-2.0
"""One client per session: its adapter, its partitions, and the committer of each VIOS."""

from __future__ import annotations

import atexit
import dataclasses
import os
import threading
import weakref
from typing import Any

from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink import failures
from powervm_fileio_connector.novalink import jobs
from powervm_fileio_connector.novalink import partitions
from powervm_fileio_connector.novalink.committer import Committer
from powervm_fileio_connector.novalink.committer import VIOSState
from powervm_fileio_connector.novalink.failures import FailureKind
from powervm_fileio_connector.novalink.failures import RequestFailed
from powervm_fileio_connector.novalink.partitions import LparInfo
from powervm_fileio_connector.novalink.partitions import ManagementPartition
from powervm_fileio_connector.novalink.rest import Rest
from powervm_fileio_connector.novalink.session import LazyAdapter
from powervm_fileio_connector.novalink.session import SharedValue
from powervm_fileio_connector.novalink.session import TokenRenewal
from powervm_fileio_connector.novalink.session import log_off
from powervm_fileio_connector.novalink.vios_turn import ViosTurn

LOG_OFF_S = 2.0
"""How long the end of the process waits for logging off."""


def client_for(settings: conf.Settings, adapter: Any = None, checks_host: bool = True) -> Client:
    """Return a client of NovaLink.

    :param adapter: a ``pypowervm.adapter.Adapter``; None is the session of this process, one for
        all who have the same ``novalink_*`` settings, opened at first use
    :param checks_host: False where NovaLink is a simulator on this host, so that the partition
        that this runs on need not be NovaLink's
    """
    if adapter is not None:
        lazy, state = LazyAdapter(settings, adapter), _registry.of_session(adapter.session)
    else:
        lazy, state = _registry.own(settings)
    return Client(settings, lazy, state, checks_host)


class SessionState:
    """What all clients of one session share. It does not keep the session."""

    def __init__(self, is_given: bool) -> None:
        self._is_given = is_given
        self.vioses: dict[str, VIOSState] = {}
        self.reset()

    def reset(self) -> None:
        """In a forked child: threads of the parent hold nothing here."""
        self.renewal = TokenRenewal(self._is_given)
        self.partition: SharedValue[ManagementPartition] = SharedValue()
        for vios in self.vioses.values():
            vios.reset()


class _Registry:
    """The sessions of this process, and what is shared among them."""

    def __init__(self) -> None:
        self._given: weakref.WeakKeyDictionary[Any, SessionState] = weakref.WeakKeyDictionary()
        self._own: dict[tuple[Any, ...], tuple[LazyAdapter, SessionState]] = {}
        self._turns: dict[str, ViosTurn] = {}

    def of_session(self, session: Any) -> SessionState:
        """Return the state of a session that a caller gave us."""
        return self._given.setdefault(session, SessionState(is_given=True))

    def own(self, settings: conf.Settings) -> tuple[LazyAdapter, SessionState]:
        """Return the adapter of our own for these settings, and its state."""
        key = tuple(value for name, value in dataclasses.asdict(settings).items()
                    if name.startswith('novalink_'))
        return self._own.setdefault(key, (LazyAdapter(settings), SessionState(is_given=False)))

    def turn(self, vios_uuid: str) -> ViosTurn:
        """Return what all sessions of this process share of a VIOS, by whatever address."""
        key = vios_uuid.upper()
        return self._turns.get(key) or self._turns.setdefault(key, ViosTurn(vios_uuid))

    def reset_in_child(self) -> None:
        """In a forked child: it has sessions of its own, and waits for no thread of the parent."""
        for session, state in [*self._given.items()]:
            session._lock = threading.RLock()
            state.reset()
        for lazy, state in self._own.values():
            lazy.reset()
            state.reset()
        for turn in self._turns.values():
            turn.reset()

    def log_off(self) -> None:
        """At the end of the process: log off, if that is quick."""
        deadline = Deadline(LOG_OFF_S)
        for lazy, _ in self._own.values():
            session = lazy.own_session
            if session is not None and not deadline.has_passed:
                log_off(session, deadline)


_registry = _Registry()
os.register_at_fork(after_in_child=_registry.reset_in_child)
atexit.register(_registry.log_off)


class Client:
    """Requests to NovaLink within a session. Safe to use from several threads.

    :ivar checks_host: whether this has to run where NovaLink does
    """

    def __init__(self, settings: conf.Settings, adapter: LazyAdapter, state: SessionState,
                 checks_host: bool) -> None:
        self._settings = settings
        self._state = state
        self.checks_host = checks_host
        self._rest = Rest(settings.novalink_host, adapter, lambda: state.renewal)

    @property
    def adapter(self) -> Any:
        """pypowervm's adapter, opened at first use when none was given.

        :raises NovaLinkUnavailable: logging on failed
        """
        return self._rest.adapter(Deadline(self._settings.rest_timeout_s))

    def log_on(self, deadline: Deadline) -> None:
        """Open the session, if it is not open.

        :raises NovaLinkUnavailable: logging on failed
        """
        self._rest.adapter(deadline)

    def management_partition(self, deadline: Deadline) -> ManagementPartition:
        """Return the management partition, which is an I/O server and the partition of this host.

        Asked for once per session: no host changes it while it runs.

        :raises NovaLinkNotIOServer: it is an ordinary LPAR
        :raises NotOnNovaLink: this runs on another partition
        """
        partition = self._state.partition.get(
            lambda: partitions.find_management_partition(self._rest, deadline), deadline,
            'asking NovaLink for its management partition')
        if self.checks_host:
            partitions.require_own(partition)
        return partition

    def lpar(self, lpar_uuid: str, deadline: Deadline) -> LparInfo:
        """Return one LPAR.

        :raises LPARNotFound: there is none with this UUID
        """
        try:
            return partitions.lpar(self._rest, lpar_uuid, deadline)
        except RequestFailed as err:
            if err.kind is FailureKind.MISSING:
                raise exceptions.LPARNotFound(
                    reason=f'NovaLink knows no LPAR {lpar_uuid}', lpar=lpar_uuid) from err
            raise failures.as_error(err) from err

    def lpars(self, deadline: Deadline) -> list[LparInfo]:
        """Return all client LPARs."""
        try:
            return partitions.lpars(self._rest, deadline)
        except RequestFailed as err:
            raise failures.as_error(err) from err

    def rescan(self, vios_uuid: str, udid: str, deadline: Deadline) -> None:
        """Make NovaLink see the present size of a disk that it serves. Safe to repeat.

        :param udid: the disk's, as the mapping shows it
        :raises ExtendFailed: NovaLink's job failed, or did not end before the deadline
        """
        jobs.rescan(self._rest, vios_uuid, udid, deadline)

    def committer(self, vios_uuid: str) -> Committer:
        """Return the committer of a VIOS.

        All committers of one session and VIOS share their batches and the kept table.
        """
        vioses, key = self._state.vioses, vios_uuid.upper()
        state = vioses.get(key) or vioses.setdefault(key, VIOSState())
        return Committer(self._rest, vios_uuid, state, _registry.turn(vios_uuid))
