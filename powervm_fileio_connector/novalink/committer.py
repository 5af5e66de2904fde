# SPDX-License-Identifier: Apache-2.0
"""Read, change, POST, confirm: one batch of edits of one I/O partition.

The document that a POST returns is kept, so that the next edit needs that one request only. A kept
document may be outdated. Changing it is safe, since its etag tells the server, but "nothing to do"
and "cannot be done" are said only of a document that was asked for after the edit had arrived, and
to which no other edit has been applied.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from oslo_log import log as logging
from pypowervm import const
from pypowervm.wrappers import virtual_io_server

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings.edit import Change
from powervm_fileio_connector.mappings.edit import Edit
from powervm_fileio_connector.mappings.edit import LPARIdNeeded
from powervm_fileio_connector.mappings.edit import LPARsNeeded
from powervm_fileio_connector.mappings.edit import NotConfirmed
from powervm_fileio_connector.mappings.edit import Outcome
from powervm_fileio_connector.mappings.edit import in_order
from powervm_fileio_connector.mappings.splitting import MappingSplitter
from powervm_fileio_connector.mappings.table import MappingTable
from powervm_fileio_connector.novalink import failures
from powervm_fileio_connector.novalink import locks
from powervm_fileio_connector.novalink import partitions
from powervm_fileio_connector.novalink import refusal
from powervm_fileio_connector.novalink import session
from powervm_fileio_connector.novalink.failures import RequestFailed
from powervm_fileio_connector.novalink.pending import Batches
from powervm_fileio_connector.novalink.pending import Job
from powervm_fileio_connector.novalink.pending import Ticket

LOG = logging.getLogger(__name__)

GROUP = [const.XAG.VIO_SMAP]
"""What is read and posted of the VIOS: one and the same, since each group has its own etag."""

_VIOS = virtual_io_server.VIOS


class Lane:
    """What all writers of one session and I/O partition share. It refers to neither."""

    def __init__(self, vios_uuid: str) -> None:
        self.vios_uuid = vios_uuid
        self.batches = Batches(self._carry)
        self._kept: MappingTable | None = None

    def forget(self) -> None:
        """Drop the kept document."""
        self._kept = None

    def _carry(self, leader: Ticket, batch: list[Ticket]) -> None:
        """Have a batch carried out, as far as one POST goes; what is left over stays unsettled."""
        jobs: list[Job] = []
        try:
            with locks.held(f'powervm-fileio-{self.vios_uuid.lower()}', leader.deadline):
                self.batches.join(batch)
                document, jobs = self._changed(leader, batch)
                if jobs:
                    body, etag = document.body(), document.vios_w.etag
                    lpar_ids = document.lpar_ids
                    # Megabytes each: the old document goes before the answer comes.
                    del document
                    document = self._post(leader, body, etag)
                    document.lpar_ids.update(lpar_ids)
            self._keep(self._confirm(leader, document, jobs))
        except RequestFailed as err:
            tickets = [ticket for job in jobs for ticket in job.tickets] or batch
            LOG.debug('%d edits of VIOS %s: %s', len(batch), self.vios_uuid, err)
            refusal.sort_out(err, leader, jobs, [one for one in tickets if not one.is_settled])

    def _changed(self, leader: Ticket, batch: list[Ticket]) -> tuple[MappingTable, list[Job]]:
        """The document with the edits of the batch applied, as far as it goes.

        While it is being changed, and until its POST has succeeded, no document is kept.
        """
        document, self._kept = self._kept, None
        if document is None:
            document = self._read(leader)
        document.vios_w.element.adapter = leader.adapter
        jobs = self._apply_all(document, batch, leader)
        if not jobs and not all(ticket.is_settled for ticket in batch):
            document = self._read(leader, document)
            jobs = self._apply_all(document, batch, leader)
        return document, jobs

    def _apply_all(self, document: MappingTable, batch: list[Ticket], leader: Ticket) -> list[Job]:
        """Apply the edits in their order, and settle those with which nothing is to be done.

        Equal edits are one. An edit that is about the same volume as one before it waits for a
        later document, so that each result can be read from an answer.
        """
        jobs: dict[Any, Job] = {}
        touched: frozenset[str] = frozenset()
        waited_for: frozenset[str] = frozenset()
        for ticket in in_order(batch, lambda ticket: ticket.edit):
            edit = ticket.edit
            if ticket.is_settled:
                continue
            if edit in jobs and not edit.keys & waited_for:
                jobs[edit].tickets.append(ticket)
                continue
            change = None
            if not edit.keys & (touched | waited_for):
                change = self._apply(document, ticket, leader)
            if change is not None:
                jobs[edit] = Job(edit, change, [ticket])
                touched |= edit.keys
            elif not ticket.is_settled:
                waited_for |= edit.keys
        return list(jobs.values())

    def _apply(self, document: MappingTable, ticket: Ticket, leader: Ticket) -> Change | None:
        """Apply one edit; None: it is settled, or has to wait for a fresher document."""
        is_final = not document.is_edited and document.as_of >= ticket.submitted
        try:
            change = applied(ticket.edit, document, leader.adapter, leader.deadline)
        except exceptions.FileIOConnectorError as err:
            # The leader's deadline is not the others': who was not asked about asks again.
            is_for_all = ticket is leader or not isinstance(err, exceptions.Retryable)
            if is_final and is_for_all:
                ticket.fail(err)
            return None
        if change.outcome is Outcome.CHANGED:
            return change
        if change.outcome is Outcome.UNCHANGED and is_final:
            # What was sent before, and its answer lost, is now seen to have been carried out.
            ticket.settle(ticket.edit.result(document, ticket.sent or change))
        return None

    def _read(self, leader: Ticket, known: MappingTable | None = None) -> MappingTable:
        """Read the document, or find that the one that is known has not changed."""
        as_of, cut = time.monotonic(), MappingSplitter()
        etag = known.vios_w.etag if known is not None and not known.is_edited else None
        response = session.renewing(leader.adapter, leader.deadline, lambda: failures.request(
            leader.deadline, leader.adapter.read, _VIOS.schema_type, root_id=self.vios_uuid,
            xag=GROUP, etag=etag, on_answer=cut))
        if response.status == const.HTTPStatus.NO_CHANGE and known is not None:
            known.as_of = as_of
            return known
        return self._document(response, as_of, cut)

    def _post(self, leader: Ticket, body: bytes, etag: str) -> MappingTable:
        """Send a changed document; return the one that the server answers with."""
        # wrapper.update() posts to the link that the document calls its own, which need not name
        # the group, and the etag is that of the group.
        path = leader.adapter.build_path('uom', _VIOS.schema_type, self.vios_uuid, xag=GROUP)
        as_of, cut = time.monotonic(), MappingSplitter()
        response = session.renewing(leader.adapter, leader.deadline, lambda: failures.request(
            leader.deadline, leader.adapter.update_by_path, body, etag, path, on_answer=cut))
        element = response.entry.element if response.entry is not None else None
        if element is None or element.find('VirtualSCSIMappings') is None:
            return self._read(leader)
        return self._document(response, as_of, cut)

    def _confirm(self, leader: Ticket, document: MappingTable, jobs: list[Job]) -> MappingTable:
        """Settle the tickets by what the answer shows; where it does not, by a fresh read.

        :returns: the latest document
        """
        doubtful = [job for job in jobs if not self._settle(leader, document, job)]
        if doubtful:
            document = self._read(leader)
            for job in doubtful:
                self._settle(leader, document, job, is_final=True)
        return document

    def _settle(self, leader: Ticket, document: MappingTable, job: Job,
                is_final: bool = False) -> bool:
        try:
            result = asked(document, leader.adapter, leader.deadline,
                           lambda: job.edit.result(document, job.change))
        except NotConfirmed as err:
            if is_final:
                is_elsewhere = isinstance(err.__cause__, exceptions.SlotOrLUAConflict)
                kind = exceptions.SlotOrLUAConflict if is_elsewhere else exceptions.MappingFailed
                for ticket in job.tickets:
                    ticket.fail(kind(reason=f'NovaLink accepted the change, but {err}',
                                     vios=self.vios_uuid, is_left_mapped=is_elsewhere))
            return is_final
        if isinstance(job.edit, AddMapping) and result.lua is None and not is_final:
            return False
        for ticket in job.tickets:
            ticket.settle(result)
        return True

    def _document(self, response: Any, as_of: float, cut: MappingSplitter) -> MappingTable:
        # Usually a header, in any case an element of the entry.
        failures.expected(response, 'entry')
        vios_w = _VIOS.wrap(response.entry, etag=response.etag or response.entry.etag)
        document = MappingTable(vios_w, splitter=cut)
        document.as_of = as_of
        return document

    def _keep(self, document: MappingTable) -> None:
        """Keep a document for the next batch, but not the session alive for it.

        One without an etag is not kept: nothing would tell that somebody else has changed it.
        """
        if document.vios_w.etag is None:
            return
        document.vios_w.element.adapter = None
        # What the server told of LPARs was true for this batch.
        document.lpar_ids, document.lpars = {}, None
        self._kept = document


def applied(edit: Edit, document: MappingTable, adapter: Any,
            deadline: Deadline, may_defer: bool = True) -> Change:
    """Apply an edit, and ask the server for the LPAR's id if it is needed for that."""
    return asked(document, adapter, deadline, lambda: edit.apply(document, may_defer))


def asked(document: MappingTable, adapter: Any, deadline: Deadline,
          call: Callable[[], Any]) -> Any:
    """Ask something of a document, and the server for what is needed to know of LPARs for that."""
    while True:
        try:
            return call()
        except LPARIdNeeded as need:
            try:
                document.lpar_ids[need.lpar_uuid.upper()] = partitions.lpar(
                    adapter, need.lpar_uuid, deadline).id
            except exceptions.LPARNotFound:
                # No mapping is this LPAR's, then; the server will say so to whoever adds one.
                document.lpar_ids[need.lpar_uuid.upper()] = None
        except LPARsNeeded:
            document.lpars = {lpar.uuid.upper(): lpar.id
                              for lpar in partitions.lpars(adapter, deadline)}
