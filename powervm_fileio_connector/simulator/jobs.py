# SPDX-License-Identifier: Apache-2.0
"""Jobs: asked for, polled, deleted; the one that matters here rescans a virtual disk."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from dataclasses import dataclass
from dataclasses import field
from xml.sax.saxutils import escape

from . import atom
from .context import Context
from .elements import parse
from .files import size_of
from .http_messages import Answer
from .rules import Refused
from .schema import WEB

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

    @property
    def is_over(self) -> bool:
        """Whether it will not change any more."""
        return self.status.startswith('COMPLETED')


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

    def get_template(self, context: Context) -> Answer:
        """The JobRequest to fill in."""
        context.partition()
        return _document(context, str(uuid.uuid4()), 'JobRequest', None, _request_xml({}))

    def put(self, context: Context) -> Answer:
        """Start a job."""
        vios = context.partition()
        job = Job(str(next(self._ids)), str(uuid.uuid4()), vios.uuid,
                  _parameters(context.request.body), self.polls)
        with self._lock:
            self._jobs[job.id] = job
        if not self.polls:
            self._run(context, job)
        return self._shown(context, job)

    def get(self, context: Context) -> Answer:
        """A job as it is now; each read brings it nearer to its end."""
        job = self._job(context)
        if not job.is_over:
            job.polls_left -= 1
            job.status = 'RUNNING'
            if job.polls_left <= 0:
                self._run(context, job)
        return self._shown(context, job)

    def delete(self, context: Context) -> Answer:
        """Forget a job that is over."""
        job = self._job(context)
        if job.status == 'RUNNING':
            raise Refused('job_over', f'Job {job.id} is running.')
        with self._lock:
            self._jobs.pop(job.id, None)
        return Answer(204)

    def cancel(self, context: Context) -> Answer:
        """End a job before its time; one that is over stays as it is."""
        job = self._job(context)
        if not job.is_over:
            _finish(job, 'COMPLETED_WITH_ERROR', {'result': 'The job was cancelled.'})
        return Answer(204)

    def _job(self, context: Context) -> Job:
        name = context.parameters['job']
        with self._lock:
            job = self._jobs.get(name)
        if job is None:
            raise Refused('job_known', f'There is no job {name}.', 'unknown')
        return job

    def _run(self, context: Context, job: Job) -> None:
        job.started = int(time.time() * 1000)
        try:
            context.state.rescan(
                job.vios_uuid, job.parameters.get('VirtualDiskUDID', ''), size_of)
        except Refused as err:
            code = _NOT_FOUND if err.rule == 'udid_known' else _FAILED
            _finish(job, 'COMPLETED_WITH_ERROR', {'RETURN_CODE': code, 'result': str(err)})
        else:
            _finish(job, 'COMPLETED_OK', {'RETURN_CODE': '0'})

    def _shown(self, context: Context, job: Job) -> Answer:
        href = f'{context.renderer.url}/rest/api/uom/jobs/{job.id}'
        return _document(context, job.uuid, 'JobResponse', href, _response_xml(job))


def _finish(job: Job, status: str, results: dict[str, str]) -> None:
    job.status, job.results, job.completed = status, results, int(time.time() * 1000)


def _parameters(body: bytes) -> dict[str, str]:
    root = parse(body)
    operation = root.findtext(f'{_W}RequestedOperation/{_W}OperationName')
    if root.tag != f'{_W}JobRequest' or operation != RESCAN:
        raise Refused('document_type', f'Expected a JobRequest of {RESCAN}, not of {operation}.')
    return {part.findtext(f'{_W}ParameterName', ''): part.findtext(f'{_W}ParameterValue', '')
            for part in root.iterfind(f'{_W}JobParameters/{_W}JobParameter')}


def _document(context: Context, uuid_: str, type_: str, href: str | None, content: str) -> Answer:
    root = (f'<{type_}:{type_} xmlns:{type_}="{WEB}" xmlns="{WEB}" '
            f'xmlns:ns2="http://www.w3.org/XML/1998/namespace/k2" {_V}>{_META}{content}'
            f'</{type_}:{type_}>')
    return context.document(atom.entry_document(uuid_, type_, href, [root.encode()]))


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
    over = job.is_over
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
