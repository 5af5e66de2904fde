# SPDX-License-Identifier: Apache-2.0
"""NovaLink's job that makes it see the present size of a disk."""

from __future__ import annotations

import time
from typing import Any

from oslo_log import log as logging
from pypowervm.wrappers import job
from pypowervm.wrappers import virtual_io_server

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink import failures
from powervm_fileio_connector.novalink.failures import FailureKind
from powervm_fileio_connector.novalink.failures import RequestFailed
from powervm_fileio_connector.novalink.rest import Rest
from powervm_fileio_connector.novalink.retry import retry_transient

LOG = logging.getLogger(__name__)

_DELETE_S = 2.0
"""How long the deletion of a job that has ended is waited for."""

_GOES_ON = (job.JobStatus.RUNNING, job.JobStatus.NOT_ACTIVE)


def rescan(rest: Rest, vios_uuid: str, udid: str, deadline: Deadline) -> None:
    """Make NovaLink see the present size of a disk that it serves. Safe to repeat.

    :param udid: the disk's, as the mapping shows it
    :raises ExtendFailed: NovaLink refuses, or its job failed, or did not end before the deadline
    :raises NovaLinkBusy: it stayed busy
    :raises NovaLinkUnavailable: it does not answer, or not as it should
    """
    try:
        with failures.classifying():
            job_w = _run(rest, vios_uuid, udid, deadline)
    except RequestFailed as err:
        if err.kind in (*failures.REFUSED, FailureKind.FAULT):
            raise _failed(udid, err.detail) from err
        raise failures.as_error(err) from err
    if job_w.job_status in _GOES_ON:
        raise _failed(udid, 'the job did not end in time')
    if job_w.job_status != job.JobStatus.COMPLETED_OK:
        raise _failed(udid, job_w.get_job_message() or job_w.job_status)


def _run(rest: Rest, vios_uuid: str, udid: str, deadline: Deadline) -> job.Job:
    """Start the job, and return it when it has ended, or the time has passed."""
    # tasks.storage.rescan_vstor polls the job once a second, for up to half an hour.
    vios_type = virtual_io_server.VIOS.schema_type
    template = job.Job.wrap(rest.read(deadline, vios_type, root_id=vios_uuid,
                                      suffix_type='do', suffix_parm='RescanVirtualDisk'))
    template.add_job_parameters_to_existing(
        job.Job.create_job_parameter('VirtualDiskUDID', udid))
    job_w = _job(retry_transient(deadline, lambda: rest.request(
        deadline, 'create_job', template.entry.element, vios_type, vios_uuid), rest.waiting))
    pause_s = 0.05
    while job_w.job_status in _GOES_ON:
        if pause_s >= deadline.left():
            return job_w
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 2.0)
        job_w = _job(rest.read(deadline, 'jobs', job_w.job_id))
    try:
        rest.request(Deadline(min(deadline.left(), _DELETE_S)), 'delete', 'jobs', job_w.job_id)
    except RequestFailed as err:
        LOG.debug('Job %s remains on the server: %s', job_w.job_id, err)
    return job_w


def _job(response: Any) -> job.Job:
    job_w = job.Job.wrap(response)
    if job_w.job_status is None:
        raise RequestFailed(FailureKind.LOST, 'the answer does not tell how the job stands')
    return job_w


def _failed(udid: str, why: str | None) -> exceptions.ExtendFailed:
    return exceptions.ExtendFailed(
        reason=f'NovaLink did not rescan disk {udid}: {why}', udid=udid)
