# SPDX-License-Identifier: Apache-2.0
"""One client per session: its adapter, its partitions, and the committer of each I/O partition."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterable
from typing import Any

from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.mappings import MappingTable
from powervm_fileio_connector.mappings import records
from powervm_fileio_connector.mappings.edit import Change
from powervm_fileio_connector.mappings.edit import Edit
from powervm_fileio_connector.novalink import committer
from powervm_fileio_connector.novalink import partitions
from powervm_fileio_connector.novalink import writer
from powervm_fileio_connector.novalink.partitions import LparInfo
from powervm_fileio_connector.novalink.partitions import ManagementPartition
from powervm_fileio_connector.novalink.session import AdapterAtFirstUse

_shared: dict[tuple[Any, ...], AdapterAtFirstUse] = {}
_shared_lock = threading.Lock()


def client_for(settings: conf.Settings, adapter: Any = None, checks_host: bool = True) -> Client:
    """Return a client of NovaLink.

    :param adapter: a ``pypowervm.adapter.Adapter``; None is the session of this process, one for
        all who have the same ``novalink_*`` settings, opened at first use
    :param checks_host: False where NovaLink is a simulator on this host, so that the partition
        that this runs on need not be NovaLink's
    """
    if adapter is not None:
        return Client(settings, AdapterAtFirstUse(settings, adapter), checks_host)
    key = tuple(value for name, value in dataclasses.asdict(settings).items()
                if name.startswith('novalink_'))
    with _shared_lock:
        shared = _shared.setdefault(key, AdapterAtFirstUse(settings))
    return Client(settings, shared, checks_host)


class Client:
    """Requests to NovaLink within a session. Safe to use from several threads.

    :ivar checks_host: whether this has to run where NovaLink does
    """

    def __init__(self, settings: conf.Settings, adapter: AdapterAtFirstUse,
                 checks_host: bool) -> None:
        self._settings = settings
        self._adapter = adapter
        self.checks_host = checks_host

    @property
    def adapter(self) -> Any:
        """pypowervm's adapter, opened at first use when none was given.

        :raises NovaLinkUnavailable: logging on failed
        """
        return self._adapter.get(Deadline(self._settings.rest_timeout_s))

    def management_partition(self, deadline: Deadline) -> ManagementPartition:
        """Return the management partition, which is an I/O server and the partition of this host.

        :raises NovaLinkNotIOServer: it is an ordinary LPAR
        :raises NotOnNovaLink: this runs on another partition
        """
        more = {} if self.checks_host else {'lparcfg': os.devnull}
        return partitions.management_partition(self._adapter.get(deadline), deadline, **more)

    def lpar(self, lpar_uuid: str, deadline: Deadline) -> LparInfo:
        """Return one LPAR.

        :raises LPARNotFound: there is none with this UUID
        """
        return partitions.lpar(self._adapter.get(deadline), lpar_uuid, deadline)

    def lpars(self, deadline: Deadline) -> list[LparInfo]:
        """Return all client LPARs."""
        return partitions.lpars(self._adapter.get(deadline), deadline)

    def rescan(self, vios_uuid: str, udid: str, deadline: Deadline) -> None:
        """Make NovaLink see the present size of a disk that it serves. Safe to repeat.

        :param udid: the disk's, as the mapping shows it
        :raises ExtendFailed: NovaLink's job failed, or did not end before the deadline
        """
        partitions.rescan(self._adapter.get(deadline), vios_uuid, udid, deadline)

    def committer(self, vios_uuid: str) -> Committer:
        """Return the committer of an I/O partition."""
        return Committer(self._adapter, vios_uuid)


class Committer:
    """Commits edits of the mappings of one I/O partition. Safe to use from several threads."""

    def __init__(self, adapter: AdapterAtFirstUse, vios_uuid: str) -> None:
        self._adapter = adapter
        self.vios_uuid = vios_uuid

    def submit(self, edit: Edit, deadline: Deadline) -> Any:
        """Commit an edit, together with all others that wait.

        Safe to repeat, also after a failure whose outcome is not known. Blocks till the deadline at
        the latest.

        :returns: for ``AddMapping`` the mapping as the server shows it; for ``RemoveMapping`` the
            mappings that were removed, none if they were gone
        :raises FileIOConnectorError: why this edit cannot be committed; never an error of another
        """
        return self._writer(deadline).submit(edit, deadline)

    def submit_all(self, edits: Iterable[Edit], deadline: Deadline) -> list[Any]:
        """Commit several edits together, and return for each its result or its error."""
        outcomes: list[Any] = []
        for edit in edits:
            try:
                outcomes.append(self.submit(edit, deadline))
            except exceptions.FileIOConnectorError as err:
                outcomes.append(err)
        return outcomes

    def read_table(self, deadline: Deadline) -> MappingTable:
        """Return the mappings, read now. The table is the caller's alone.

        :raises NovaLinkUnavailable: the server does not answer
        """
        return MappingTable(self._writer(deadline).read(deadline))

    def try_out(self, edit: Edit, deadline: Deadline,
                ) -> tuple[Change, list[MappingRecord], list[MappingRecord]]:
        """Apply an edit to the present mappings, and send nothing.

        :returns: what it would change, and the mappings before and after
        :raises FileIOConnectorError: why it could not be committed
        """
        adapter = self._adapter.get(deadline)
        table = self.read_table(deadline)
        before = records(table.vios_w)
        change = committer.applied(edit, table, adapter, deadline, may_defer=False)
        return change, before, records(table.vios_w)

    def find(self, lpar_uuid: str, paths: Iterable[str], tag: str | None,
             deadline: Deadline) -> MappingRecord | None:
        """Return an LPAR's mapping of a file, as it is now; None: there is none.

        :param paths: all spellings of the file; where none is mapped, ``tag`` decides
        :raises NovaLinkUnavailable: the server does not answer
        """
        return self._writer(deadline).find(lpar_uuid, paths, tag, deadline)

    def forget(self) -> None:
        """Drop the kept table, known to be outdated: the next edit begins with a read."""
        self._writer(Deadline(1.0)).forget()

    def _writer(self, deadline: Deadline) -> writer.Writer:
        return writer.writer_for(self._adapter.get(deadline), self.vios_uuid)
