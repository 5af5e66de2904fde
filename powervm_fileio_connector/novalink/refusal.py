# SPDX-License-Identifier: Apache-2.0
"""What follows from a failure: once more, in smaller batches, or an error that says why."""

from __future__ import annotations

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.novalink import failures
from powervm_fileio_connector.novalink import partitions
from powervm_fileio_connector.novalink.failures import Trouble
from powervm_fileio_connector.novalink.pending import Job
from powervm_fileio_connector.novalink.pending import Ticket

_AWAY = (Trouble.UNREACHABLE, Trouble.LOST, Trouble.LATE)
_UNKNOWN = (Trouble.LOST, Trouble.LATE, Trouble.FAULT)
_REFUSED = (Trouble.REFUSED, Trouble.MISSING)
_FAULT_TRIES = 3


def sort_out(err: failures.RequestFailed, leader: Ticket, jobs: list[Job],
             tickets: list[Ticket]) -> None:
    """Fail the tickets of a batch, or have them tried again.

    :param jobs: what was posted, or was to be; none: reading failed
    :param tickets: those that are not settled yet
    """
    if err.trouble in _UNKNOWN:
        for job in jobs:
            for ticket in job.tickets:
                ticket.sent = job.change
    is_refused, is_fault = err.trouble in _REFUSED, err.trouble is Trouble.FAULT
    if err.trouble is Trouble.SESSION or (is_refused and not jobs):
        for ticket in tickets:
            ticket.fail(partitions.as_error(err, leader.adapter))
        return
    if (is_refused or is_fault) and len(jobs) > 1:
        # Halves, and not one by one: one culprit among many costs a few POSTs.
        for ticket in tickets:
            ticket.crowd = max(1, len(jobs) // 2)
        return
    for ticket in tickets:
        ticket.faults += is_fault
    if jobs and (is_refused or any(ticket.faults >= _FAULT_TRIES for ticket in tickets)):
        reason = _explained(err, jobs[0], leader)
        for ticket in tickets:
            ticket.fail(reason)
        return
    for ticket in tickets:
        ticket.try_again(err, is_away=err.trouble in _AWAY or (is_fault and not jobs))


def _explained(err: failures.RequestFailed, job: Job,
               leader: Ticket) -> exceptions.FileIOConnectorError:
    """Return the error that says best why an edit was refused.

    The LPAR is not asked about beforehand: that would cost every attach a request, and prove
    nothing for the moment of the change.
    """
    edit, change = job.edit, job.change
    try:
        lpar = partitions.lpar(leader.adapter, edit.lpar_uuid, leader.deadline)
    except exceptions.LPARNotFound as gone:
        if isinstance(edit, AddMapping):
            return gone
        lpar = None
    except exceptions.FileIOConnectorError:
        lpar = None
    where = edit.paths[0] if edit.paths else 'the volume'
    words = f'NovaLink says of {where}: {err.words}'
    if lpar is not None and not lpar.can_change_io:
        return exceptions.LPARNotReady(
            reason=f'{lpar.name} is {lpar.state} with RMC {lpar.rmc_state}: {lpar.why_not}; '
            + words, lpar=edit.lpar_uuid)
    if isinstance(edit, AddMapping) and edit.slot is not None and change.makes_adapters:
        # The bus was none of ours in the document, so something else of the LPAR has the slot.
        return exceptions.SlotOrLUAConflict(
            reason=f'slot {edit.slot} cannot be had: {words}', slot=edit.slot, lua=edit.lua)
    return exceptions.MappingFailed(reason=words, lpar=edit.lpar_uuid, path=where)
