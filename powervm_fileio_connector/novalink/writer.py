# SPDX-License-Identifier: Apache-2.0
"""The door to the server: edits of the mappings of an I/O partition go in, and are carried out."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

from pypowervm.wrappers import virtual_io_server
from taskflow import task

from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector import mappings
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.mappings.edit import Change
from powervm_fileio_connector.mappings.edit import Edit
from powervm_fileio_connector.mappings.edit import NotConfirmed
from powervm_fileio_connector.mappings.edit import Outcome
from powervm_fileio_connector.mappings.table import MappingTable
from powervm_fileio_connector.novalink import failures
from powervm_fileio_connector.novalink import partitions
from powervm_fileio_connector.novalink.committer import GROUP
from powervm_fileio_connector.novalink.committer import Lane
from powervm_fileio_connector.novalink.committer import applied
from powervm_fileio_connector.novalink.committer import asked
from powervm_fileio_connector.novalink.failures import RequestFailed
from powervm_fileio_connector.novalink.pending import Ticket

_lanes: weakref.WeakKeyDictionary[Any, dict[str, Lane]] = weakref.WeakKeyDictionary()
_lanes_lock = threading.Lock()


def _forget_all() -> None:
    """In a forked child: whoever led in the parent leads nobody here, and holds no lock of ours."""
    global _lanes_lock
    _lanes_lock = threading.Lock()
    _lanes.clear()


os.register_at_fork(after_in_child=_forget_all)


def writer_for(adapter: Any, vios_uuid: str) -> Writer:
    """Return the writer for an I/O partition.

    All writers of one session and partition share their batches and the kept document, which live
    as long as the session.
    """
    with _lanes_lock:
        lanes = _lanes.setdefault(adapter.session, {})
        lane = lanes.setdefault(vios_uuid.upper(), Lane(vios_uuid))
    return Writer(adapter, lane)


class Writer:
    """Carries edits to one I/O partition. Safe to use from several threads."""

    def __init__(self, adapter: Any, lane: Lane) -> None:
        self._adapter = adapter
        self._lane = lane

    def submit(self, edit: Edit, deadline: Deadline) -> Any:
        """Carry out an edit, together with whatever else is waiting.

        Safe to repeat, also after a failure whose outcome is not known. Blocks till the deadline at
        the latest.

        :returns: for ``AddMapping`` the mapping as the server shows it; for ``RemoveMapping`` the
            mappings that were removed, none if they were gone
        :raises FileIOConnectorError: what stands in its way; the edits of others never do
        """
        return self._lane.batches.submit(Ticket(edit, self._adapter, deadline))

    def forget(self) -> None:
        """Drop the kept document, known to be outdated: the next edit begins with a read."""
        self._lane.forget()

    def find(self, lpar_uuid: str, paths: Iterable[str], tag: str | None,
             deadline: Deadline) -> MappingRecord | None:
        """Return an LPAR's mapping of a file, as it is now; None: there is none.

        :param paths: all that the file can be known by; where none is mapped, ``tag`` decides
        :raises NovaLinkUnavailable: the server does not answer
        """
        document = MappingTable(self.read(deadline))
        return asked(document, self._adapter, deadline,
                     lambda: mappings.find(document, lpar_uuid, paths, tag))

    def read(self, deadline: Deadline) -> Any:
        """Return a VIOS wrapper with its mappings, read now. It is the caller's alone.

        :raises NovaLinkUnavailable: the server does not answer
        """
        try:
            response = partitions.read(
                self._adapter, deadline, virtual_io_server.VIOS.schema_type,
                root_id=self._lane.vios_uuid, xag=GROUP)
            failures.expected(response, 'entry')
            return virtual_io_server.VIOS.wrap(response)
        except RequestFailed as err:
            raise partitions.as_error(err, self._adapter) from err


def add_to_feed_task(feed_task: Any, edit: Edit, vios_uuid: str,
                     on_result: Callable[[Any], None] | None = None,
                     timeout_s: float = conf.Settings.rest_timeout_s) -> None:
    """Add an edit to a pypowervm ``FeedTask``; whoever runs that sends it, with all else in it.

    :param on_result: called with what :meth:`Writer.submit` would return, once the task has run
    :param timeout_s: for what the edit itself has to ask the server; the task has its own rules
    """
    def is_ours(vios_w: Any) -> bool:
        return vios_w.uuid.upper() == vios_uuid.upper()

    changes: list[Change] = []

    def apply(vios_w: Any) -> bool:
        if not is_ours(vios_w):
            return False
        document = MappingTable(vios_w)
        deadline = Deadline(timeout_s)
        change = applied(edit, document, vios_w.adapter, deadline, may_defer=False)
        changes[:] = [change]
        return change.outcome is Outcome.CHANGED

    def report() -> None:
        vios_w = next(filter(is_ours, feed_task.feed), None)
        if vios_w is None:
            raise exceptions.MappingFailed(
                reason=f'the task at hand does not concern VIOS {vios_uuid}', vios=vios_uuid)
        try:
            result = edit.result(MappingTable(vios_w), changes[0])
        except NotConfirmed as err:
            raise exceptions.MappingFailed(reason=str(err)) from err
        if on_result is not None:
            on_result(result)

    feed_task.add_functor_subtask(apply)
    feed_task.add_post_execute(task.FunctorTask(report, name=f'fileio_result_{id(report):x}'))
