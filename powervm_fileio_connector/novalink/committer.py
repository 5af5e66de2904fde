# SPDX-License-Identifier: Apache-2.0
"""Read, change, POST, confirm: the edits of the mappings of one VIOS.

The table that a POST returns is kept, so that the next edit needs that one request only. A kept
table may be outdated. Changing it is safe, since its etag tells the server, but "nothing to do"
and "cannot be done" are said only of a table that was asked for after the edit had arrived, to
which no other edit has been applied, and which no POST of ours can change any more.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any
from typing import TypeVar

from oslo_log import log as logging

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import mappings
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.mappings import Change
from powervm_fileio_connector.mappings import Edit
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.mappings import MappingTable
from powervm_fileio_connector.novalink import failures
from powervm_fileio_connector.novalink.batch import Batch
from powervm_fileio_connector.novalink.documents import VIOSDocuments
from powervm_fileio_connector.novalink.documents import with_lpar_ids
from powervm_fileio_connector.novalink.failures import RequestFailed
from powervm_fileio_connector.novalink.pending import CommitQueue
from powervm_fileio_connector.novalink.pending import PendingEdit
from powervm_fileio_connector.novalink.refusal import handle_failure
from powervm_fileio_connector.novalink.rest import Rest
from powervm_fileio_connector.novalink.vios_turn import ViosTurn

LOG = logging.getLogger(__name__)

_T = TypeVar('_T')


class VIOSState:
    """What all committers of one session and VIOS share. It does not keep the session."""

    def __init__(self) -> None:
        self.queue = CommitQueue()
        self.kept: MappingTable | None = None

    def reset(self) -> None:
        """In a forked child: nobody of the parent leads here."""
        self.queue = CommitQueue()


class Committer:
    """Commits edits of the mappings of one VIOS. Safe to use from several threads."""

    def __init__(self, rest: Rest, vios_uuid: str, state: VIOSState, turn: ViosTurn) -> None:
        """:param turn: what all sessions of this process share of the VIOS"""
        self.vios_uuid = vios_uuid
        self._rest = rest
        self._documents = VIOSDocuments(rest, vios_uuid)
        self._state = state
        self.turn = turn

    def submit(self, edit: Edit, deadline: Deadline) -> Any:
        """Commit an edit, together with all others that wait.

        Safe to repeat, also after a failure whose outcome is not known. Blocks till the deadline at
        the latest.

        :returns: for ``AddMapping`` the mapping as the server shows it; for ``RemoveMapping`` the
            mappings that were removed, none if they were gone
        :raises FileIOConnectorError: why this edit cannot be committed; never an error of another
        """
        [outcome] = self.submit_all([edit], deadline)
        if isinstance(outcome, exceptions.FileIOConnectorError):
            raise outcome
        return outcome

    def submit_all(self, edits: Iterable[Edit], deadline: Deadline) -> list[Any]:
        """Commit several edits together, and return for each its result or its error."""
        all_pending = [PendingEdit(edit, deadline) for edit in edits]
        self._state.queue.submit(all_pending, self._commit_batch)
        return [pending.outcome() for pending in all_pending]

    def read_table(self, deadline: Deadline) -> MappingTable:
        """Return the mappings, read now. The table is the caller's alone.

        :raises NovaLinkUnavailable: the server does not answer
        """
        try:
            return self._documents.read_whole(deadline)
        except RequestFailed as err:
            raise failures.as_error(err) from err

    def apply(self, edit: Edit, table: MappingTable, deadline: Deadline) -> Change:
        """Apply an edit to a table of the caller's; nothing is asked but ids of LPARs.

        :raises FileIOConnectorError: why it cannot be applied; the table is as it was
        """
        return self.with_lpar_ids(table, deadline, lambda: edit.apply(table, may_defer=False))

    def result(self, edit: Edit, table: MappingTable, change: Change, deadline: Deadline) -> Any:
        """Return the result of an edit as a table shows it; nothing is asked but ids of LPARs.

        :raises NotConfirmed: the table does not show it
        :raises NovaLinkUnavailable: the server does not answer
        """
        return self.with_lpar_ids(table, deadline, lambda: edit.result(table, change))

    def find(self, lpar_uuid: str, paths: Iterable[str], tag: str | None,
             deadline: Deadline) -> MappingRecord | None:
        """Return an LPAR's mapping of a file, as it is now; None: there is none.

        :param paths: all spellings of the file; where none is mapped, ``tag`` decides
        :raises NovaLinkUnavailable: the server does not answer
        """
        table = self.read_table(deadline)
        return self.with_lpar_ids(table, deadline,
                                  lambda: mappings.find(table, lpar_uuid, paths, tag))

    def with_lpar_ids(self, table: MappingTable, deadline: Deadline, call: Callable[[], _T]) -> _T:
        """Call something that may need to know of LPARs what a table of the caller's does not tell.

        :raises NovaLinkUnavailable: the server does not answer
        """
        try:
            return with_lpar_ids(table, self._rest, deadline, call)
        except RequestFailed as err:
            raise failures.as_error(err) from err

    def forget(self) -> None:
        """Drop the kept table, known to be outdated: the next edit begins with a read."""
        self._state.kept = None

    def _commit_batch(self, leader: PendingEdit, members: list[PendingEdit]) -> None:
        """Commit a batch, as far as one POST goes; edits that are left over stay unsettled."""
        batch: Batch | None = None
        try:
            # A session of our own may have to be opened for this.
            adapter = self._rest.adapter(leader.deadline)
            with self.turn.taken(leader.deadline):
                self._state.queue.join(members)
                batch = Batch(self._documents, adapter, self.turn, leader, members)
                # While a table is being changed, and until its POST has succeeded, none is kept.
                kept, self._state.kept = self._state.kept, None
                self._keep(batch.commit(kept))
        except exceptions.FileIOConnectorError as err:
            # Of the session itself: without one, nothing can be said to any of them.
            for pending in _unsettled(members):
                pending.fail(err)
        except RequestFailed as err:
            LOG.debug('%d edits of VIOS %s: %s', len(members), self.vios_uuid, err)
            jobs, deferred = (batch.refused, batch.deferred) if batch is not None else ([], [])
            concerned = [one for job in jobs for one in job.pending] or members
            handle_failure(err, self._rest, leader.deadline, jobs, _unsettled(concerned), deferred)
            self._rest.waiting.failing(err, leader.retry)

    def _keep(self, table: MappingTable) -> None:
        """Keep a table for the next batch, but not the session alive for it.

        One without an etag is not kept: nothing would tell that somebody else has changed it.
        """
        self.turn.etag = table.vios_w.etag
        if table.vios_w.etag is None:
            return
        table.vios_w.element.adapter = None
        table.forget_lpars()
        table.is_answer = False
        self._state.kept = table


def _unsettled(pending: Sequence[PendingEdit]) -> list[PendingEdit]:
    return [one for one in pending if not one.is_settled]
