# SPDX-License-Identifier: Apache-2.0
"""NovaLink's job that makes it see the present size of a disk."""

from __future__ import annotations

import time

from oslo_log import log as logging
from pypowervm.wrappers import job
from pypowervm.wrappers import virtual_io_server

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink.failures import FailureKind
from powervm_fileio_connector.novalink.failures import RequestFailed
from powervm_fileio_connector.novalink.rest import Rest

LOG = logging.getLogger(__name__)


def rescan(rest: Rest, vios_uuid: str, udid: str, deadline: Deadline) -> None:
    """Make NovaLink see the present size of a disk that it serves. Safe to repeat.

    :param udid: the disk's, as the mapping shows it
    :raises ExtendFailed: NovaLink's job failed, or did not end before the deadline
    """
    vios_type = virtual_io_server.VIOS.schema_type
    try:
        # tasks.storage.rescan_vstor polls the job once a second, for up to half an hour.
        template = job.Job.wrap(rest.read(deadline, vios_type, root_id=vios_uuid,
                                          suffix_type='do', suffix_parm='RescanVirtualDisk'))
        template.add_job_parameters_to_existing(
            job.Job.create_job_parameter('VirtualDiskUDID', udid))
        job_w = _ended(rest, job.Job.wrap(rest.request(
            deadline, 'create_job', template.entry.element, vios_type, vios_uuid)), deadline)
    except RequestFailed as err:
        raise exceptions.ExtendFailed(
            reason=f'NovaLink did not rescan disk {udid}: {err.detail}', udid=udid) from err
    if job_w.job_status != job.JobStatus.COMPLETED_OK:
        raise exceptions.ExtendFailed(
            reason=f'NovaLink did not rescan disk {udid}: '
            f'{job_w.get_job_message() or job_w.job_status}', udid=udid)


def _ended(rest: Rest, job_w: job.Job, deadline: Deadline) -> job.Job:
    """Wait until a job has ended, then remove it from the server."""
    pause_s = 0.05
    while job_w.job_status in (job.JobStatus.RUNNING, job.JobStatus.NOT_ACTIVE):
        if pause_s >= deadline.left():
            raise RequestFailed(FailureKind.LATE, 'the job did not end in time')
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 2.0)
        job_w = job.Job.wrap(rest.read(deadline, 'jobs', job_w.job_id))
    try:
        rest.request(deadline, 'delete', 'jobs', job_w.job_id)
    except RequestFailed as err:
        LOG.debug('Job %s remains on the server: %s', job_w.job_id, err)
    return job_w
