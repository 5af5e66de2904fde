# SPDX-License-Identifier: Apache-2.0
"""Jobs: asked for, polled, deleted; the one that matters here rescans a virtual disk."""

from __future__ import annotations

import itertools
import os
import threading
import time
import uuid
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from powervm_fileio_connector.simulator import atom
from powervm_fileio_connector.simulator.parsing import parse
from powervm_fileio_connector.simulator.rules import Refused
from powervm_fileio_connector.simulator.schema import WEB
from powervm_fileio_connector.simulator.wire import Answer

if TYPE_CHECKING:
    from powervm_fileio_connector.simulator.exchange import Exchange

RESCAN = 'RescanVirtualDisk'
# pypowervm takes this return code for "there is no such volume".
_NOT_FOUND = '-1'
# ASSUMED: A rescan that fails for another reason has another return code.
_FAILED = '-2'
_W = f'{{{WEB}}}'
_META = '<Metadata><Atom/></Metadata>'
_ROR = 'kb="ROR" kxe="false"'
_V = 'schemaVersion="V1_0"'


@dataclass
class Job:
    """A job; it runs when it was read often enough."""

    id: str
    uuid: str
    vios_uuid: str
    parameters: dict[str, str]
    polls_left: int
    status: str = 'NOT_STARTED'
    results: dict[str, str] = field(default_factory=dict)
    started: int = 0
    completed: int = 0


class Jobs:
    """The jobs of the server.

    ASSUMED: A job that takes no time is answered as completed at once; one that takes longer is
    first NOT_STARTED, then RUNNING, and completed after so many reads.
    """

    def __init__(self, polls: int = 0) -> None:
        self.polls = polls
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._ids = itertools.count(int(time.time() * 1000))

    def answer(self, exchange: Exchange, path: str) -> Answer | None:
        """The answer to a request about jobs; None to any other."""
        parts = path.split('/')
        if parts[0] == 'jobs':
            return self._about(exchange, parts[1:])
        if 'do' not in parts:
            return None
        at = parts.index('do')
        if parts[at - 2:at - 1] != ['VirtualIOServer'] or parts[at + 1:] != [RESCAN]:
            raise Refused('job_known', f'Unknown job {path}: expected '
                          f'VirtualIOServer/<uuid>/do/{RESCAN}.', 'unknown')
        vios = exchange.server.state.partition(parts[at - 1])
        if exchange.request.method == 'GET':
            return _document(exchange, str(uuid.uuid4()), 'JobRequest', None, _request_xml({}))
        if exchange.request.method != 'PUT':
            raise Refused('job_known', f'Expected GET or PUT of {path}.', 'unknown')
        job = Job(str(next(self._ids)), str(uuid.uuid4()), vios.uuid,
                  _parameters(exchange.request.body), self.polls)
        with self._lock:
            self._jobs[job.id] = job
        if not self.polls:
            self._run(exchange, job)
        return self._shown(exchange, job)

    def _about(self, exchange: Exchange, rest: list[str]) -> Answer:
        with self._lock:
            job = self._jobs.get(rest[0]) if rest else None
        if job is None:
            raise Refused('job_known', f'There is no job {"/".join(rest)}.', 'unknown')
        method = exchange.request.method
        if method == 'DELETE':
            if job.status == 'RUNNING':
                raise Refused('job_over', f'Job {job.id} is running.')
            with self._lock:
                self._jobs.pop(job.id, None)
            return Answer(204)
        if method == 'POST' and rest[1:] == ['cancel']:
            job.polls_left = 0
            _finish(job, 'COMPLETED_WITH_ERROR', {'result': 'The job was cancelled.'})
            return Answer(204)
        if method != 'GET':
            raise Refused('job_known', 'Expected GET, DELETE, or POST of cancel.', 'unknown')
        if job.status in ('NOT_STARTED', 'RUNNING'):
            job.polls_left -= 1
            job.status = 'RUNNING'
            if job.polls_left <= 0:
                self._run(exchange, job)
        return self._shown(exchange, job)

    def _run(self, exchange: Exchange, job: Job) -> None:
        job.started = int(time.time() * 1000)
        try:
            exchange.server.state.rescan(
                job.vios_uuid, job.parameters.get('VirtualDiskUDID', ''), _size_of)
        except Refused as err:
            code = _NOT_FOUND if err.rule == 'udid_known' else _FAILED
            _finish(job, 'COMPLETED_WITH_ERROR', {'RETURN_CODE': code, 'result': str(err)})
        else:
            _finish(job, 'COMPLETED_OK', {'RETURN_CODE': '0'})

    def _shown(self, exchange: Exchange, job: Job) -> Answer:
        href = f'{exchange.server.views.url}/rest/api/uom/jobs/{job.id}'
        return _document(exchange, job.uuid, 'JobResponse', href, _response_xml(job))


def _size_of(path: str) -> int | None:
    try:
        with open(path, 'rb') as file:
            return file.seek(0, os.SEEK_END)
    except OSError:
        return None


def _finish(job: Job, status: str, results: dict[str, str]) -> None:
    job.status, job.results, job.completed = status, results, int(time.time() * 1000)


def _parameters(body: bytes) -> dict[str, str]:
    root = parse(body)
    operation = root.findtext(f'{_W}RequestedOperation/{_W}OperationName')
    if root.tag != f'{_W}JobRequest' or operation != RESCAN:
        raise Refused('document_type', f'Expected a JobRequest of {RESCAN}, not of {operation}.')
    return {part.findtext(f'{_W}ParameterName', ''): part.findtext(f'{_W}ParameterValue', '')
            for part in root.iterfind(f'{_W}JobParameters/{_W}JobParameter')}


def _document(exchange: Exchange, uuid_: str, type_: str, href: str | None, content: str) -> Answer:
    root = (f'<{type_}:{type_} xmlns:{type_}="{WEB}" xmlns="{WEB}" '
            f'xmlns:ns2="http://www.w3.org/XML/1998/namespace/k2" {_V}>{_META}{content}'
            f'</{type_}:{type_}>')
    return exchange.document(
        atom.entry_document(uuid_, type_, href, None, [root.encode()], 'web'))


def _parameters_xml(parameters: dict[str, str]) -> str:
    return ''.join(
        f'<JobParameter {_V}>{_META}<ParameterName {_ROR}>{escape(name)}</ParameterName>'
        f'<ParameterValue kxe="false" kb="CUR">{escape(value)}</ParameterValue></JobParameter>'
        for name, value in parameters.items())


def _request_xml(parameters: dict[str, str]) -> str:
    return (f'<RequestedOperation kb="CUR" kxe="false" {_V}>{_META}'
            f'<OperationName {_ROR}>{RESCAN}</OperationName>'
            f'<GroupName {_ROR}>VirtualIOServer</GroupName></RequestedOperation>'
            f'<JobParameters kb="CUR" kxe="false" {_V}>{_META}{_parameters_xml(parameters)}'
            '</JobParameters>')


def _response_xml(job: Job) -> str:
    over = job.status.startswith('COMPLETED')
    return ''.join((
        f'<RequestURL {_ROR} href="VirtualIOServer/{job.vios_uuid}/do/{RESCAN}" rel="via" '
        'title="The URL to which the JobRequest was submitted."/>',
        f'<TargetUuid {_ROR}>{job.vios_uuid}</TargetUuid>',
        f'<JobID {_ROR}>{job.id}</JobID>',
        f'<TimeStarted {_ROR}>{job.started}</TimeStarted>',
        f'<TimeCompleted {_ROR}>{job.completed}</TimeCompleted>' if over else '',
        f'<Status {_ROR}>{job.status}</Status>',
        f'<JobRequestInstance {_ROR} {_V}>{_META}{_request_xml(job.parameters)}'
        '</JobRequestInstance>',
        f'<Progress kb="ROO" kxe="false" {_V}>{_META}</Progress>',
        f'<Results {_ROR} {_V}>{_META}{_parameters_xml(job.results)}</Results>' if over else ''))
