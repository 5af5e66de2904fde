# SPDX-License-Identifier: Apache-2.0
"""How mounts and files are: healthy, silent, stale, absent, read-only, or none to attach.

All of one call are probed at the same time, within one deadline, so that those which do not answer
wait together and delay no other. The files of a mount are only probed once it has answered.
"""

from __future__ import annotations

import dataclasses
import enum
import os
import stat
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.conf import Settings
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host import checks
from powervm_fileio_connector.host import failures
from powervm_fileio_connector.host import lookup
from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.host.mount import Mount
from powervm_fileio_connector.volume import Kind

ON_ROOT = 'root'
"""In the place of a mount's state: the file is there, but on the root file system."""

# What an error says about the file.
_FILE_STATES = {
    exceptions.VolumeFileNotFound: 'missing',
    exceptions.UnsafeVolumePath: 'unsafe',
    exceptions.UnsupportedVolume: 'present',
    exceptions.MountNotResponding: 'unknown',
    exceptions.StaleMount: 'unknown',
    exceptions.ShareNotMounted: 'missing',
}


class MountState(enum.Enum):
    """How a mount is; ``unknown`` where it could not be probed."""

    HEALTHY = 'healthy'
    HUNG = 'hung'
    STALE = 'stale'
    ABSENT = 'absent'
    READ_ONLY = 'read-only'
    WRONG = 'wrong'
    UNKNOWN = 'unknown'


@dataclasses.dataclass(frozen=True)
class MountHealth:
    """The state of a mount, and how long its answer took.

    :ivar note: why the state is unknown
    """

    state: MountState
    mount: Mount | None
    took_s: float
    note: str | None = None


@dataclasses.dataclass(frozen=True)
class FileHealth:
    """How a file is, and the mount that it lies on.

    :ivar file: ``present``, ``missing``, ``unsafe`` (none that could be attached), or ``unknown``:
        the mount did not answer, or the file is denied to this user and was not probed as root
    :ivar mount_state: a value of ``MountState``; ``absent`` where the path leads to the root file
        system, so that nothing is mounted for it; :data:`ON_ROOT` if there is a file even so
    :ivar took_s: how long the mount took to answer
    :ivar note: what is wrong, in a sentence
    """

    file: str
    mount_state: str
    mount: Mount | None = None
    size: int | None = None
    took_s: float = 0.0
    note: str | None = None

    @property
    def is_unmounted(self) -> bool:
        """Whether the path leads to the root file system."""
        return self.mount_state in (MountState.ABSENT.value, ON_ROOT)

    @property
    def is_fine(self) -> bool:
        """Whether the file is there, and its mount as it should be."""
        return self.file == 'present' and self.mount_state == MountState.HEALTHY.value


def of_mounts(mounts: Collection[Mount], prober: probe.Prober,
              deadline: Deadline | None = None) -> list[MountHealth]:
    """Probe mounts, all at the same time; one probe for each device, root and source."""
    keys = {mount.share: mount for mount in mounts}
    answers = dict(zip(keys, _where([mount.mount_point for mount in keys.values()], prober,
                                    deadline), strict=True))
    healths = []
    for mount in mounts:
        answer = answers[mount.share]
        shortage = failures.shortage(answer)
        state = (MountState.UNKNOWN if shortage
                 else _mount_state(answer, keys[mount.share], mount.is_read_only))
        healths.append(MountHealth(state, mount, answer.took_s, shortage))
    return healths


def of_files(paths: Collection[str], settings: Settings,
             prober: probe.Prober) -> dict[str, FileHealth]:
    """Probe files and return how each is; ends by one deadline, however many shares hang."""
    deadline = prober.deadline()
    table = mount_table.table()
    # By the table alone; where symlinks lead, only the probes of the files tell.
    mounts = {path: table.covering(os.path.normpath(path)) for path in sorted(paths)}
    healths = {one.mount.id: one for one in of_mounts(
        {mount.id: mount for mount in mounts.values() if mount is not None}.values(),
        prober, deadline.half()) if one.mount is not None}
    found: dict[str, FileHealth] = {}
    asked: dict[str, MountHealth] = {}
    for path, mount in mounts.items():
        if mount is None:
            found[path] = FileHealth('unknown', MountState.ABSENT.value)
            continue
        health = healths[mount.id]
        if health.state in (MountState.HUNG, MountState.STALE, MountState.UNKNOWN):
            found[path] = FileHealth('unknown', health.state.value, mount, took_s=health.took_s,
                                     note=health.note or f'{mount} is {health.state.value}')
        else:
            asked[path] = health
    found.update(_of_reachable_files(asked, settings, prober, deadline))
    return found


def is_novalinks_own(path: str) -> bool:
    """Whether NovaLink itself puts files there, on whatever file system."""
    return path.startswith('/var/lib/pvm/fileio/')


def _where(paths: Sequence[str], prober: probe.Prober,
           deadline: Deadline | None) -> list[probe.Answer[probe.PathFacts]]:
    return prober.probe_all([probe.PathProbe(path) for path in paths], deadline)


def _mount_state(answer: probe.Answer[probe.PathFacts], mount: Mount,
                 is_read_only: bool) -> MountState:
    """How a mount is that was probed, or another one of the same share, which may be read-only."""
    if failures.is_silent(answer, mount):
        return MountState.HUNG
    if failures.is_stale(answer.errno, mount):
        return MountState.STALE
    if mount.fstype == 'autofs':
        return MountState.ABSENT
    if answer.mount_id != mount.id:
        return MountState.WRONG
    return MountState.READ_ONLY if is_read_only else MountState.HEALTHY


def _of_reachable_files(paths: dict[str, MountHealth], settings: Settings, prober: probe.Prober,
                        deadline: Deadline) -> Iterator[tuple[str, FileHealth]]:
    """Probe files where their directories really are, symlinks and autofs followed."""
    directories = list(dict.fromkeys(os.path.dirname(path) for path in paths))
    where = dict(zip(directories, _where(directories, prober, deadline.half()), strict=True))
    # Only now: the probes may have made autofs mount what belongs here.
    table = mount_table.table()
    loops = lookup.mounted_loops(table)
    places: dict[str, tuple[Mount, str]] = {}
    for path in paths:
        reached = where[os.path.dirname(path)]
        mount = table.by_id(reached.mount_id)
        if mount is not None and reached.facts is not None and reached.errno is None:
            below = mount.below(os.path.join(reached.facts.path, os.path.basename(path)))
            if below is not None:
                places[path] = mount, below
    answers = dict(zip(places, prober.probe_all(
        [probe.FileProbe(mount.mount_point, below, mount.id, mounted_loops=loops,
                         share=mount.share)
         for mount, below in places.values()], deadline), strict=True))
    is_trusted = checks.trust(settings, prober, deadline)
    for path, health in paths.items():
        mount = places[path][0] if path in places else health.mount
        assert mount is not None
        answer: probe.Answer[Any] = answers.get(path) or where[os.path.dirname(path)]
        context = failures.ErrorContext(path, mount, {'path': path})
        yield path, _file_health(answer, health, checks.Subject(
            table=table, mount=mount, context=context, settings=settings, kind=Kind.LOCAL,
            backstore=None, may_be_block_device=True, is_trusted=is_trusted))


def _file_health(answer: probe.Answer[Any], health: MountHealth,
                 subject: checks.Subject) -> FileHealth:
    table, mount, path = subject.table, subject.mount, subject.context.path
    state = health.state if mount == health.mount else MountState.HEALTHY
    is_unmounted = checks.is_unmounted(table, mount, path, subject.is_trusted)
    if is_unmounted:
        state = MountState.ABSENT
    elif mount.is_read_only:
        state = MountState.READ_ONLY
    facts = answer.facts if isinstance(answer.facts, probe.FileFacts) else None
    size = None if facts is None else facts.size
    try:
        failures.raise_for(answer, subject.context)
        if facts is not None:
            checks.require_attachable(answer, subject)
    except exceptions.FileIOConnectorError as err:
        if failures.shortage(answer) is not None:
            state = MountState.UNKNOWN
        elif isinstance(err, exceptions.MountNotResponding):
            state = MountState.HUNG
        elif isinstance(err, exceptions.StaleMount):
            state = MountState.STALE
        note = err.kwargs['reason']
        if is_unmounted and facts is not None and stat.S_ISREG(facts.mode):
            return FileHealth('present', ON_ROOT, mount, size, answer.took_s, note)
        if is_unmounted and isinstance(err, exceptions.VolumeFileNotFound):
            note = f'nothing is mounted for {path}, and it does not exist'
        file = _FILE_STATES.get(type(err), 'unsafe')
        if failures.is_denied_to_us_alone(answer):
            file = 'unknown'
        return FileHealth(file, state.value, mount, size, answer.took_s, note)
    return FileHealth('present', state.value, mount, size, health.took_s)
