# SPDX-License-Identifier: Apache-2.0
"""What follows from a failed batch: another try, other batches, or an error that says why."""

from __future__ import annotations

from oslo_log import log as logging

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.novalink import failures
from powervm_fileio_connector.novalink import partitions
from powervm_fileio_connector.novalink.failures import FailureKind
from powervm_fileio_connector.novalink.failures import RequestFailed
from powervm_fileio_connector.novalink.partitions import LOOKUP_S
from powervm_fileio_connector.novalink.partitions import LparInfo
from powervm_fileio_connector.novalink.pending import Job
from powervm_fileio_connector.novalink.pending import PendingEdit
from powervm_fileio_connector.novalink.rest import Rest

LOG = logging.getLogger(__name__)

_FAULT_TRIES = 3

_REMEDY_PLACE = ('If that is about the slot or the LUA, leave them out to get free ones, or free '
                 "them first; otherwise act on NovaLink's words, then retry.")


def handle_failure(err: RequestFailed, rest: Rest, deadline: Deadline, jobs: list[Job],
                   pending: list[PendingEdit], deferred: list[Job]) -> None:
    """Fail the edits of a batch, or have them tried again.

    :param deadline: the leader's
    :param jobs: what the server was sent and refused; none: another request failed
    :param pending: those that are not settled yet
    :param deferred: what was not sent, but would be refused for the same LPARs
    """
    is_refused, is_fault = err.kind in failures.REFUSED, err.kind is FailureKind.FAULT
    if err.kind is FailureKind.SESSION or (is_refused and not jobs):
        for one in pending:
            one.fail(failures.as_error(err))
        return
    if not jobs or not (is_refused or is_fault):
        for one in pending:
            one.try_again(err)
        return
    if _fail_unready(err, rest, deadline, [*jobs, *deferred]):
        # The others were refused, if at all, because they were sent with those.
        return
    if len(jobs) > 1:
        for one in pending:
            one.batch_limit = 1
        return
    for one in pending:
        one.faults += is_fault
    if is_refused or any(one.faults >= _FAULT_TRIES for one in pending):
        error = _diagnose(err, jobs[0])
        for one in pending:
            one.fail(error)
        return
    for one in pending:
        one.try_again(err)


def _fail_unready(err: RequestFailed, rest: Rest, deadline: Deadline, jobs: list[Job]) -> bool:
    """Look once at each LPAR of a refused batch, and fail the edits of those that cannot change.

    The LPARs are not looked at beforehand: that would cost every attach a request, and prove
    nothing for the moment of the change.

    :returns: whether there were any
    """
    lpars: dict[str, LparInfo | exceptions.FileIOConnectorError | None] = {}
    # All other edits of the VIOS wait for this.
    lookups = Deadline(min(deadline.left(), LOOKUP_S))
    is_any = False
    for job in jobs:
        if all(one.is_lpar_checked for one in job.pending):
            continue
        uuid = job.edit.lpar_uuid
        if uuid not in lpars:
            if lookups.has_passed:
                continue
            lpars[uuid] = _lpar(rest, uuid, lookups)
        error = _unready(err, job, lpars[uuid])
        for one in job.pending:
            one.is_lpar_checked = True
            if error is not None:
                one.fail(error)
                is_any = True
    return is_any


def _lpar(rest: Rest, uuid: str,
          deadline: Deadline) -> LparInfo | exceptions.FileIOConnectorError | None:
    """Return an LPAR, the error that there is none, or None: the server does not tell."""
    try:
        return partitions.lpar(rest, uuid, deadline, is_tried_once=True)
    except RequestFailed as err:
        if err.kind is FailureKind.MISSING:
            return exceptions.LPARNotFound(reason=f'NovaLink knows no LPAR {uuid}', lpar=uuid)
        LOG.debug('LPAR %s cannot be looked at: %s', uuid, err)
    except exceptions.FileIOConnectorError as err:
        LOG.debug('LPAR %s cannot be looked at: %s', uuid, err)
    return None


def _unready(err: RequestFailed, job: Job, lpar: LparInfo | exceptions.FileIOConnectorError | None,
             ) -> exceptions.FileIOConnectorError | None:
    if isinstance(lpar, exceptions.FileIOConnectorError):
        return lpar if isinstance(job.edit, AddMapping) else None
    if lpar is None or lpar.can_change_io:
        return None
    return exceptions.LPARNotReady(
        reason=f'{lpar.unready}; {_reason(err, job)}', lpar=job.edit.lpar_uuid)


def _diagnose(err: RequestFailed, job: Job) -> exceptions.FileIOConnectorError:
    """Return the error that says best why one edit was refused."""
    edit = job.edit
    # A slot that the document shows the LPAR to have is not why. Whether another one, or a LUA, is,
    # only the server's words tell.
    if isinstance(edit, AddMapping) and (edit.lua is not None or (
            edit.slot is not None and job.change.makes_adapters)):
        return exceptions.SlotOrLUAConflict(
            reason=f'{edit.place} was asked for, and {_reason(err, job)}', slot=edit.slot,
            lua=edit.lua, lpar=edit.lpar_uuid, path=edit.path, remedy=_REMEDY_PLACE)
    return exceptions.MappingFailed(reason=_reason(err, job), lpar=edit.lpar_uuid,
                                    path=edit.paths[0] if edit.paths else None)


def _reason(err: RequestFailed, job: Job) -> str:
    where = job.edit.paths[0] if job.edit.paths else 'the volume'
    return f'NovaLink says of {where}: {err.detail}'
