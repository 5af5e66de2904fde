# SPDX-License-Identifier: Apache-2.0
"""One batch of edits, carried as far as one POST goes. Every edit's trouble is its caller's alone.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection
from typing import Any

from oslo_log import log as logging

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import Change
from powervm_fileio_connector.mappings import MappingEntry
from powervm_fileio_connector.mappings import MappingTable
from powervm_fileio_connector.mappings import NotConfirmed
from powervm_fileio_connector.mappings import Outcome
from powervm_fileio_connector.mappings.edit import in_order
from powervm_fileio_connector.novalink import failures
from powervm_fileio_connector.novalink.documents import VIOSDocuments
from powervm_fileio_connector.novalink.failures import FailureKind
from powervm_fileio_connector.novalink.failures import RequestFailed
from powervm_fileio_connector.novalink.lpar_lookups import LPARLookups
from powervm_fileio_connector.novalink.lpar_lookups import NotLookedUp
from powervm_fileio_connector.novalink.lpar_lookups import put_off
from powervm_fileio_connector.novalink.pending import Job
from powervm_fileio_connector.novalink.pending import PendingEdit
from powervm_fileio_connector.novalink.vios_turn import ViosTurn

LOG = logging.getLogger(__name__)


class Batch:
    """Applies the edits of a batch to one table, posts that, and settles them by the answer.

    :ivar refused: the jobs of a POST that has failed
    :ivar deferred: those that wait for the adapter pair, or the LUAs, of others of their LPAR
    """

    def __init__(self, documents: VIOSDocuments, adapter: Any, turn: ViosTurn,
                 leader: PendingEdit, members: list[PendingEdit]) -> None:
        self._documents = documents
        self._adapter = adapter
        self._turn = turn
        self._members = members
        self._deadline = leader.deadline
        self._lookups = LPARLookups(documents.rest, leader.deadline, len(members))
        # The keys of volumes of which the table may change late; None: of none.
        self._fence_for: set[str] | None = None
        self._sent_count = 0
        self.refused: list[Job] = []
        self.deferred: list[Job] = []

    def commit(self, kept: MappingTable | None) -> MappingTable:
        """Commit what can be committed with one POST, and return the latest table.

        :param kept: the table that was kept; it is changed
        :raises RequestFailed: a request failed that concerns all that are not settled
        """
        table, jobs = self._applied(kept)
        if jobs:
            body, etag, lpar_ids = table.body(), table.vios_w.etag, table.lpar_ids
            self._sent_count = table.count()
            # Megabytes each: the old table goes before the answer comes.
            del table, kept
            table = self._post(body, etag, jobs)
            del body
            table.lpar_ids.update(lpar_ids)
        return self._confirm(table, jobs)

    def _applied(self, kept: MappingTable | None) -> tuple[MappingTable, list[Job]]:
        """The table with the edits of the batch applied, and those that changed it."""
        table = kept
        if table is None or self._turn.etag not in (None, table.vios_w.etag):
            # Another client of this process has changed it since.
            table = self._documents.read(self._deadline, table)
        table.vios_w.element.adapter = self._adapter
        jobs = self._apply_all(table)
        if not jobs and not all(one.is_settled or one.due for one in self._members):
            table = self._documents.read(self._deadline, table)
            jobs = self._apply_all(table)
        if not jobs and self._fence_for is not None:
            table = self._fence(table, self._fence_for)
            jobs = self._apply_all(table)
        return table, jobs

    def _apply_all(self, table: MappingTable) -> list[Job]:
        """Apply the edits in their order, and settle those with which nothing is to be done.

        Equal edits are one. An edit that is about the same volume as one before it waits for a
        later table, so that each result can be read from an answer.
        """
        jobs: dict[Any, Job] = {}
        touched: frozenset[str] = frozenset()
        waited_for: frozenset[str] = frozenset()
        self._fence_for = None
        self.deferred.clear()
        for pending in in_order(self._members):
            edit = pending.edit
            if pending.is_settled:
                continue
            if edit in jobs and not edit.keys & waited_for:
                jobs[edit].pending.append(pending)
                continue
            change = None
            if not edit.keys & (touched | waited_for):
                change = self._apply(table, pending)
            if change is not None:
                jobs[edit] = Job(edit, change, [pending])
                touched |= edit.keys
            elif not pending.is_settled:
                waited_for |= edit.keys
        return list(jobs.values())

    def _apply(self, table: MappingTable, pending: PendingEdit) -> Change | None:
        """Apply one edit; None: it is settled, or has to wait for a fresher table."""
        is_final = not table.is_edited and table.as_of >= pending.submitted
        try:
            change = self._lookups.with_lpar_ids(
                table, pending, functools.partial(pending.edit.apply, table))
            if change.outcome is Outcome.CHANGED:
                return change
            if change.outcome is Outcome.DEFERRED and isinstance(pending.edit, AddMapping):
                self.deferred.append(Job(pending.edit, change, [pending]))
            if change.outcome is Outcome.UNCHANGED and is_final and not self._needs_fence(
                    table, pending):
                # What was sent before, and its answer lost, is now seen to have been carried out.
                sent = pending.sent or change
                pending.settle(self._lookups.with_lpar_ids(
                    table, pending, functools.partial(pending.edit.result, table, sent)))
        except NotLookedUp:
            pass
        except RequestFailed as err:
            put_off(pending, err)
        except exceptions.FileIOConnectorError as err:
            # A detach that is applied late may free the file, or the slot.
            if is_final and not self._needs_fence(table, pending):
                pending.fail(err)
        except NotConfirmed as err:
            pending.fail(exceptions.MappingFailed(reason=str(err), vios=self._documents.vios_uuid))
        except Exception as err:  # noqa: BLE001 - its own caller is told
            pending.fail(_unexpected(err))
        return None

    def _needs_fence(self, table: MappingTable, pending: PendingEdit) -> bool:
        """Whether what the table says of an edit's volume may change late; then it is noted."""
        if not self._turn.may_change_late(table.vios_w.etag, pending.edit.keys):
            return False
        if self._fence_for is None:
            self._fence_for = set()
        self._fence_for |= pending.edit.keys
        return True

    def _fence(self, table: MappingTable, keys: Collection[str] = ()) -> MappingTable:
        """Post the unchanged document, so that no POST before it can be applied any more.

        :param keys: of volumes that the server accepted, does not show, and drops by this
        """
        etag = table.vios_w.etag
        self._sent_count = table.count()
        LOG.info('A change of VIOS %s that was sent may yet be applied; its mappings are posted as '
                 'they are, so that it cannot.', self._documents.vios_uuid)
        fenced = self._post(table.body(), etag, [])
        self._turn.note_fence(etag, keys)
        return fenced

    def _post(self, body: bytes, etag: str | None, jobs: list[Job]) -> MappingTable:
        """Post a document; return the one that the server answers with, or else shows."""
        if etag is None:
            raise RequestFailed(FailureKind.LOST, 'the answer has no etag, so that nothing can be '
                                'changed safely', is_read=True)
        before = [(one, one.sent) for job in jobs for one in job.pending]
        for job in jobs:
            for one in job.pending:
                one.sent = job.change
        try:
            with self._turn.posting(etag):
                table = self._documents.post(body, etag, self._deadline)
        except RequestFailed as err:
            self.refused = jobs
            if err.kind not in failures.UNKNOWN:
                for one, sent in before:
                    one.sent = sent
            raise
        # To post an answer that shows only some of what was sent would remove all else.
        if table is None or table.count() < self._sent_count:
            return self._read_after_post()
        return table

    def _confirm(self, table: MappingTable, jobs: list[Job]) -> MappingTable:
        """Settle the edits by what the answer shows; where it does not, by a fresh read.

        :returns: the latest table
        """
        doubtful = [(job, err) for job in jobs
                    if (err := self._settle(table, job, is_final=False)) is not None]
        if not doubtful:
            return table
        table = self._read_after_post()
        # The first answer tells what was made otherwise than asked.
        unshown = [(job, first if job.made else err) for job, first in doubtful
                   if (err := self._settle(table, job, is_final=True)) is not None]
        return self._take_back(table, unshown) if unshown else table

    def _read_after_post(self) -> MappingTable:
        try:
            return self._documents.read(self._deadline)
        except RequestFailed as err:
            if err.kind in failures.REFUSED:
                raise RequestFailed(FailureKind.LOST, f'NovaLink accepted the change, but: '
                                    f'{err.detail}', err.status) from err
            raise

    def _settle(self, table: MappingTable, job: Job, is_final: bool) -> NotConfirmed | None:
        """Settle an edit by a table; return why that does not show it.

        :param is_final: the table is a fresh one, so that what was made otherwise than asked is
            an error, and a LUA that is not shown is none
        """
        try:
            result = self._lookups.with_lpar_ids(
                table, job.pending[0], functools.partial(job.edit.result, table, job.change))
            if not is_final and isinstance(job.edit, AddMapping) and result.lua is None:
                return NotConfirmed('the answer shows no LUA')
        except NotConfirmed as err:
            if isinstance(job.edit, AddMapping):
                job.made += job.edit.made(table, job.change)
            otherwise = err.__cause__
            if not (is_final and isinstance(otherwise, exceptions.FileIOConnectorError)):
                return err
            self._fail(job, type(otherwise)(
                reason=f'NovaLink accepted the change, but {err}', is_left_mapped=True,
                vios=self._documents.vios_uuid))
        except NotLookedUp:
            pass
        except RequestFailed as err:
            for one in job.pending:
                put_off(one, err)
        except Exception as err:  # noqa: BLE001 - its own caller is told
            self._fail(job, _unexpected(err))
        else:
            for one in job.pending:
                one.settle(result)
        return None

    def _take_back(self, table: MappingTable,
                   unshown: list[tuple[Job, NotConfirmed]]) -> MappingTable:
        """Have the server keep what it shows, since it accepted more and may yet show that.

        What it shows otherwise than asked is removed.
        """
        end = 'it may yet appear and remain, so detach it'
        left = {id(job): _made(table, job) for job, _ in unshown}
        for job, _ in unshown:
            self._turn.note_unshown(job.edit.keys)
        # Posting a table that lacks the mappings of others would remove them.
        if table.count() >= self._sent_count - len(unshown):
            for entry in itertools.chain(*left.values()):
                table.remove(entry)
            try:
                table = self._fence(table)
                end = 'it was taken back, but detach it before you try again'
                left = {id(job): _made(table, job) for job, _ in unshown}
            except RequestFailed as err:
                LOG.warning('What VIOS %s does not show cannot be taken back: %s',
                            self._documents.vios_uuid, err)
        for job, why in unshown:
            remains = [f'it remains, for {entry.record.client}, so detach it there'
                       for entry in left[id(job)]]
            self._fail(job, exceptions.MappingFailed(
                reason=f'NovaLink accepted the change, but {why}; {[*remains, end][0]}',
                vios=self._documents.vios_uuid))
        return table

    def _fail(self, job: Job, error: exceptions.FileIOConnectorError) -> None:
        for one in job.pending:
            one.fail(error)


def _made(table: MappingTable, job: Job) -> list[MappingEntry]:
    """The mappings in a table that a job made, but otherwise than asked."""
    # What was not shown at first, such as the LUA, may be shown now.
    adapters = {record.server_slot for record in job.made}
    return [entry for entry in table.of_paths(job.edit.paths)
            if entry.record.server_slot in adapters] if job.made else []


def _unexpected(err: Exception) -> exceptions.FileIOConnectorError:
    """The error of an edit that failed over something of its own."""
    if isinstance(err, exceptions.FileIOConnectorError):
        return err
    error = exceptions.MappingFailed(reason=f'{type(err).__name__}: {err}')
    error.__cause__ = err
    return error
