# SPDX-License-Identifier: Apache-2.0
"""How the files of many disks and their mounts are, seen within one deadline.

Each mount is looked at by a thread of its own, so that those which hang wait together and delay
nobody else. The files of a mount are only looked at once it has answered.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Collection
from collections.abc import Iterator
from concurrent import futures

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.conf import Settings
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host import checks
from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host import probe

_MOST_AT_ONCE = 64

ON_ROOT = 'root'
"""In the place of a mount's state: the file is there, but on the root file system."""

# What a refusal says about the file, in a word.
_WORDS = {
    exceptions.VolumeFileNotFound: 'missing',
    exceptions.UnsafeVolumePath: 'unsafe',
    exceptions.UnsupportedVolume: 'present',
    exceptions.MountNotResponding: 'unknown',
    exceptions.StaleMount: 'unknown',
    exceptions.ShareNotMounted: 'missing',
}


@dataclasses.dataclass(frozen=True)
class FileHealth:
    """What was seen of a file and of the mount that it lies on.

    :ivar file: ``present``, ``missing``, ``unsafe`` (none that could be attached), or ``unknown``
    :ivar mount_state: a value of ``MountState``; ``absent`` where the path leads to the root file
        system, so that nothing is mounted for it; :data:`ON_ROOT` if there is a file even so
    :ivar took_s: how long the mount took to answer
    :ivar note: what is wrong, in a sentence
    """

    file: str
    mount_state: str
    mount: mount_table.Mount | None = None
    size: int | None = None
    took_s: float = 0.0
    note: str | None = None

    @property
    def is_unmounted(self) -> bool:
        """Whether the path leads to the root file system."""
        return self.mount_state in (mount_table.MountState.ABSENT.value, ON_ROOT)

    @property
    def is_fine(self) -> bool:
        """Whether the file is there, and its mount as it should be."""
        return self.file == 'present' and self.mount_state == mount_table.MountState.HEALTHY.value


def is_novalinks_own(path: str) -> bool:
    """Whether NovaLink itself puts files there, on whatever file system."""
    return path.startswith('/var/lib/pvm/fileio/')


def look(paths: Collection[str], settings: Settings, prober: probe.Prober) -> dict[str, FileHealth]:
    """Look at files; ends by the prober's time, however many shares hang."""
    deadline = prober.deadline()
    table = mount_table.table()
    by_mount: dict[mount_table.Mount | None, list[str]] = {}
    for path in sorted(paths):
        by_mount.setdefault(mount_table.covering(table, os.path.normpath(path)), []).append(path)
    if not by_mount:
        return {}
    with futures.ThreadPoolExecutor(min(_MOST_AT_ONCE, len(by_mount))) as pool:
        looks = [pool.submit(_look_on, mount, files, settings, prober, deadline)
                 for mount, files in by_mount.items()]
        return {path: sight for future in looks for path, sight in future.result().items()}


def health(found: Collection[mount_table.Mount], prober: probe.Prober) -> list[mount_table.Health]:
    """Look at mounts, all at the same time."""
    deadline = prober.deadline()
    if not found:
        return []
    with futures.ThreadPoolExecutor(min(_MOST_AT_ONCE, len(found))) as pool:
        return list(pool.map(lambda mount: mount_table.state(prober, mount, None, deadline), found))


def _look_on(mount: mount_table.Mount | None, paths: list[str], settings: Settings,
             prober: probe.Prober, deadline: Deadline) -> dict[str, FileHealth]:
    """Look at the files of one mount, as the mount table alone says."""
    if mount is None:
        return {path: FileHealth('unknown', mount_table.MountState.ABSENT.value) for path in paths}
    answer = mount_table.state(prober, mount, None, deadline)
    if answer.state in (mount_table.MountState.HUNG, mount_table.MountState.STALE):
        said = f'{mount} is {answer.state.value}'
        return {path: FileHealth('unknown', answer.state.value, mount, took_s=answer.took_s,
                                 note=said) for path in paths}
    return dict(_look_at(mount, answer, paths, settings, prober, deadline))


def _look_at(start: mount_table.Mount, health_: mount_table.Health, paths: list[str],
             settings: Settings, prober: probe.Prober,
             deadline: Deadline) -> Iterator[tuple[str, FileHealth]]:
    """Look at files where their directories really are, symlinks and autofs followed."""
    directories = list(dict.fromkeys(os.path.dirname(path) for path in paths))
    where = dict(zip(directories, prober.probe_all(
        [probe.PathProbe(directory) for directory in directories], deadline), strict=True))
    # Only now: the probes may have made autofs mount what belongs here.
    table = mount_table.table()
    by_id = {mount.id: mount for mount in table}
    places: dict[str, tuple[mount_table.Mount, str]] = {}
    for path in paths:
        directory = where[os.path.dirname(path)]
        mount = by_id.get(directory.mount_id or 0)
        if mount is not None and directory.errno is None and directory.facts is not None:
            below = mount.below(os.path.join(directory.facts.path, os.path.basename(path)))
            if below is not None:
                places[path] = mount, below
    answers = dict(zip(places, prober.probe_all(
        [probe.FileProbe(mount.mount_point, below, mount.id)
         for mount, below in places.values()], deadline), strict=True))
    for path in paths:
        mount = places[path][0] if path in places else start
        failed = where[os.path.dirname(path)]
        answer = answers.get(path) or probe.Answer(
            None, failed.took_s, failed.is_hung, failed.errno, failed.refusal, failed.mount_id,
            failed.failure)
        yield path, _judged(path, mount, answer, table, health_, settings)


def _judged(path: str, mount: mount_table.Mount, answer: probe.Answer[probe.FileFacts],
            table: tuple[mount_table.Mount, ...], health_: mount_table.Health,
            settings: Settings) -> FileHealth:
    state = health_.state if mount == health_.mount else mount_table.MountState.HEALTHY
    is_unmounted = mount.fstype == 'autofs' or (
        checks.is_on_root(table, mount) and not checks.is_trusted(path, settings))
    if is_unmounted:
        state = mount_table.MountState.ABSENT
    elif mount.is_read_only:
        state = mount_table.MountState.READ_ONLY
    subject = checks.Subject(path, mount, {'path': path})
    facts = answer.facts
    size = facts.size if facts is not None else None
    try:
        checks.raise_for(answer, subject)
        if facts is None:
            raise exceptions.MountNotResponding(reason=f'what is mounted at {path} changed')
        checks.raise_unless_fit(facts, table, mount, subject, settings, True)
    except exceptions.FileIOConnectorError as err:
        if isinstance(err, exceptions.MountNotResponding):
            state = mount_table.MountState.HUNG
        elif isinstance(err, exceptions.StaleMount):
            state = mount_table.MountState.STALE
        note = err.kwargs['reason']
        if is_unmounted and facts is not None and stat.S_ISREG(facts.mode):
            return FileHealth('present', ON_ROOT, mount, size, answer.took_s, note)
        if is_unmounted and isinstance(err, exceptions.VolumeFileNotFound):
            note = f'nothing is mounted for {path}, and it does not exist'
        return FileHealth(_WORDS.get(type(err), 'unsafe'), state.value, mount, size,
                          answer.took_s, note)
    return FileHealth('present', state.value, mount, size, health_.took_s)
