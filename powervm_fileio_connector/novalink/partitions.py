# SPDX-License-Identifier: Apache-2.0
"""What NovaLink is asked: its management partition, the LPARs it knows, and to rescan a disk."""

from __future__ import annotations

import dataclasses
import itertools
import time
import weakref
from typing import Any

from oslo_log import log as logging
from pypowervm import adapter as pvm_adapter
from pypowervm.wrappers import job
from pypowervm.wrappers import logical_partition
from pypowervm.wrappers import virtual_io_server

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink import failures
from powervm_fileio_connector.novalink import retry
from powervm_fileio_connector.novalink import session
from powervm_fileio_connector.novalink.session import AdapterAtFirstUse
from powervm_fileio_connector.novalink.session import open_adapter
from powervm_fileio_connector.novalink.session import renewing

__all__ = ['AdapterAtFirstUse', 'LparInfo', 'ManagementPartition', 'as_error', 'lpar', 'lpars',
           'management_partition', 'open_adapter', 'read', 'renewing', 'rescan']

LOG = logging.getLogger(__name__)

LPARCFG = '/proc/ppc64/lparcfg'
"""Where a Linux on Power says which partition it is."""

_partitions: weakref.WeakKeyDictionary[Any, ManagementPartition] = weakref.WeakKeyDictionary()


@dataclasses.dataclass(frozen=True)
class ManagementPartition:
    """The partition that NovaLink runs on, which serves the files."""

    uuid: str
    name: str
    id: int


@dataclasses.dataclass(frozen=True)
class LparInfo:
    """A client LPAR, as NovaLink sees it at one moment.

    :ivar can_change_io: whether disks can be attached and detached now; ``why_not`` says why not
    """

    uuid: str
    name: str
    id: int
    state: str
    rmc_state: str
    can_change_io: bool
    why_not: str


def management_partition(adapter: pvm_adapter.Adapter, deadline: Deadline,
                         lparcfg: str | None = None) -> ManagementPartition:
    """Return the management partition, which is an I/O server and the partition that this runs on.

    Asked for once per session: no host changes it while it runs.

    :raises NovaLinkNotIOServer: it is an ordinary LPAR
    :raises NotOnNovaLink: this runs on another partition
    """
    partition = _partitions.get(adapter.session)
    if partition is None:
        partition = _find_management_partition(adapter, deadline)
        _partitions[adapter.session] = partition
    own_id = _own_partition_id(LPARCFG if lparcfg is None else lparcfg)
    if own_id not in (None, partition.id):
        raise exceptions.NotOnNovaLink(
            reason=f'this host is partition {own_id}, but NovaLink runs on {partition.name}, '
            f'partition {partition.id}', vios=partition.name)
    return partition


def lpar(adapter: pvm_adapter.Adapter, lpar_uuid: str,
         deadline: Deadline) -> LparInfo:
    """Return one LPAR.

    :raises LPARNotFound: there is none with this UUID
    """
    try:
        response = read(adapter, deadline, logical_partition.LPAR.schema_type, root_id=lpar_uuid)
        failures.expected(response, 'entry')
    except failures.RequestFailed as err:
        if err.trouble is failures.Trouble.MISSING:
            raise exceptions.LPARNotFound(
                reason=f'NovaLink knows no LPAR {lpar_uuid}', lpar=lpar_uuid) from err
        raise as_error(err, adapter) from err
    return _lpar_info(logical_partition.LPAR.wrap(response))


def lpars(adapter: pvm_adapter.Adapter, deadline: Deadline) -> list[LparInfo]:
    """Return all client LPARs."""
    try:
        response = read(adapter, deadline, logical_partition.LPAR.schema_type)
        failures.expected(response, 'feed')
    except failures.RequestFailed as err:
        raise as_error(err, adapter) from err
    return [_lpar_info(wrapper) for wrapper in logical_partition.LPAR.wrap(response)]


def rescan(adapter: pvm_adapter.Adapter, vios_uuid: str, udid: str,
           deadline: Deadline) -> None:
    """Make NovaLink see the present size of a disk that it serves.

    Safe to repeat.

    :param udid: the disk's, as the mapping shows it
    :raises ExtendFailed: NovaLink's job failed, or did not end before the deadline
    """
    vios_type = virtual_io_server.VIOS.schema_type
    try:
        # tasks.storage.rescan_vstor looks at the job once a second, for up to half an hour.
        template = job.Job.wrap(read(adapter, deadline, vios_type, root_id=vios_uuid,
                                     suffix_type='do', suffix_parm='RescanVirtualDisk'))
        template.add_job_parameters_to_existing(
            job.Job.create_job_parameter('VirtualDiskUDID', udid))
        job_w = job.Job.wrap(renewing(adapter, deadline, lambda: failures.request(
            deadline, adapter.create_job, template.entry.element, vios_type, vios_uuid)))
        job_w = _wait_for(adapter, job_w, deadline)
    except failures.RequestFailed as err:
        raise exceptions.ExtendFailed(reason=f'NovaLink did not rescan disk {udid}: {err.words}',
                                      udid=udid) from err
    if job_w.job_status != job.JobStatus.COMPLETED_OK:
        raise exceptions.ExtendFailed(
            reason=f'NovaLink did not rescan disk {udid}: '
            f'{job_w.get_job_message() or job_w.job_status}', udid=udid)


def read(adapter: pvm_adapter.Adapter, deadline: Deadline, *args: Any,
         **kwargs: Any) -> Any:
    """Read something, again and again while the server is busy, and for a while if it is away.

    :raises RequestFailed: it stayed so, or the server refuses
    """
    return retry.patiently(deadline, lambda: renewing(adapter, deadline, lambda: failures.request(
        deadline, adapter.read, *args, **kwargs)))


def as_error(err: failures.RequestFailed, adapter: Any = None,
             **fields: Any) -> exceptions.FileIOConnectorError:
    """The error to raise for a failed request."""
    trouble = err.trouble
    if trouble in (failures.Trouble.BUSY, failures.Trouble.STALE):
        return exceptions.NovaLinkBusy(reason=f'{trouble.value}: {err.words}', **fields)
    if trouble is failures.Trouble.SESSION:
        whose = 'connector' if session.is_own(adapter) else 'adapter that was passed in'
        return exceptions.NovaLinkUnavailable(
            reason=f'NovaLink does not accept the session of the {whose}: {err.words}',
            remedy='Check the credentials and open a new session.', **fields)
    if trouble in (failures.Trouble.REFUSED, failures.Trouble.MISSING):
        return exceptions.MappingFailed(reason=f'NovaLink says: {err.words}', **fields)
    return exceptions.NovaLinkUnavailable(reason=f'{trouble.value}: {err.words}', **fields)


def _find_management_partition(adapter: pvm_adapter.Adapter,
                               deadline: Deadline) -> ManagementPartition:
    try:
        for kind in (virtual_io_server.VIOS, logical_partition.LPAR):
            # Like pypowervm's search for it, which takes no timeout: there is no search key for it,
            # so all partitions of one kind are read, the few I/O servers first.
            response = read(adapter, deadline, kind.schema_type)
            failures.expected(response, 'feed')
            found = [wrapper for wrapper in kind.wrap(response) if wrapper.is_mgmt_partition]
            if len(found) > 1:
                names = ', '.join(wrapper.name for wrapper in found)
                raise exceptions.NovaLinkNotIOServer(
                    reason=f'several partitions say they are the management partition: {names}')
            if found and kind is virtual_io_server.VIOS:
                return ManagementPartition(found[0].uuid, found[0].name, found[0].id)
            if found:
                raise exceptions.NovaLinkNotIOServer(
                    reason=f'the management partition {found[0].name} is an ordinary LPAR, not an '
                    'I/O server', vios=found[0].name)
    except failures.RequestFailed as err:
        raise as_error(err, adapter) from err
    raise exceptions.NovaLinkNotIOServer(
        reason='no partition of this system is the management partition, as behind an HMC')


def _own_partition_id(lparcfg: str) -> int | None:
    """The id of the partition that this runs on; None: this is no Power, so nothing tells."""
    try:
        with open(lparcfg, encoding='ascii', errors='replace') as lines:
            for line in lines:
                name, _, value = line.partition('=')
                if name == 'partition_id' and value.strip().isdecimal():
                    return int(value)
    except FileNotFoundError:
        pass
    return None


def _lpar_info(wrapper: logical_partition.LPAR) -> LparInfo:
    can_change_io, why_not = wrapper.can_modify_io()
    return LparInfo(uuid=wrapper.uuid, name=wrapper.name, id=wrapper.id, state=wrapper.state or '',
                    rmc_state=wrapper.rmc_state or '', can_change_io=can_change_io,
                    why_not=str(why_not or '').rstrip('.'))


def _wait_for(adapter: pvm_adapter.Adapter, job_w: job.Job,
              deadline: Deadline) -> job.Job:
    """Look at a job until it is over, then take it off the server."""
    pauses_s = map(failures.pause_s, itertools.count())
    while job_w.job_status in (job.JobStatus.RUNNING, job.JobStatus.NOT_ACTIVE):
        pause_s = next(pauses_s)
        if pause_s >= deadline.left():
            raise failures.RequestFailed(failures.Trouble.LATE, 'the job did not end in time')
        time.sleep(pause_s)
        job_w = job.Job.wrap(read(adapter, deadline, 'jobs', job_w.job_id))
    try:
        failures.request(deadline, adapter.delete, 'jobs', job_w.job_id)
    except failures.RequestFailed as err:
        LOG.debug('Job %s remains on the server: %s', job_w.job_id, err)
    return job_w
