# SPDX-License-Identifier: Apache-2.0
"""The file of a volume: found on its mount, confined to it, identified and judged; never written.

Everything here goes by two sources: the mount table, and looks that a prober takes. A path is only
believed as far as it leads, without a symlink out, from the root of a mount that the table names.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import stat

import retrying
from oslo_log import log as logging

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import mounts
from powervm_fileio_connector import probe
from powervm_fileio_connector import verdicts
from powervm_fileio_connector.conf import Settings
from powervm_fileio_connector.properties import VolumeSpec

LOG = logging.getLogger(__name__)

# A device_path of these may be a block device, where the options allow it.
_DEVICE_PROTOCOLS = ('local', 'gpfs', 'file')

_MOST_CHANGES = 5           # of the mount table while we look; each makes us begin again
_MOST_PAUSE_S = 1.0         # between two looks for a file that may yet appear


@dataclasses.dataclass(frozen=True)
class VolumeFile:
    """A file that is fit to be handed to an LPAR.

    :ivar path: with all symlinks resolved; what NovaLink is told
    :ivar aliases: other paths of the same file through other mounts, by the mount table alone
    :ivar size: in bytes, as the guest will see it: for qcow2 the virtual size
    :ivar identity: device and inode number
    """

    path: str
    aliases: tuple[str, ...]
    size: int
    format: str
    identity: tuple[int, int]
    is_block_device: bool
    mount: mounts.Mount


class _TableChanged(Exception):
    """What is mounted changed between reading the mount table and looking."""


def find(spec: VolumeSpec, settings: Settings, *, prober: probe.Prober,
         attempts: int = 1) -> VolumeFile:
    """Find the file of a volume, and make sure of it and its mount.

    Ends within the prober's time, all attempts together, and 0.5 s more where the kernel holds a
    helper. Changes nothing; a look below autofs makes autofs mount.

    :param attempts: looks to take where a file, or a mount that autofs makes, may yet appear
    :raises ShareNotMounted: the export, or what should hold the path, is not mounted here
    :raises MountNotResponding: no mount of it answers
    :raises StaleMount: it is cut off from its server
    :raises VolumeFileNotFound: it is mounted, and the file is not there
    :raises UnsafeVolumePath: the file is none that may be handed to an LPAR
    :raises UnsafeVolumeFormat: a qcow2 image that is not safe
    :raises UnsupportedVolume: the mount is read-only, or the image encrypted
    """
    deadline = prober.deadline()
    pause_s = min(_MOST_PAUSE_S, prober.timeout_s / (2 * max(1, attempts)))
    patience = retrying.Retrying(
        stop_max_attempt_number=max(1, attempts), wait_fixed=pause_s * 1000,
        stop_max_delay=max(0.0, prober.timeout_s - pause_s) * 1000,
        retry_on_exception=_may_yet_appear)
    return patience.call(_find_once, spec, settings, prober, deadline)


def check_unchanged(volume_file: VolumeFile, settings: Settings, *, prober: probe.Prober) -> None:
    """Take one more look, and raise unless the path still leads to the same file.

    :raises UnsafeVolumePath: another file is there now
    :raises VolumeFileNotFound: it is gone
    :raises MountNotResponding: the mount does not answer any more
    :raises StaleMount: it is cut off from its server
    """
    mount = volume_file.mount
    # The identity tells whether the mount is another one, so its number may have changed.
    answer = prober.look({'op': 'look', 'mount_point': mount.mount_point, 'mount_id': None,
                          'path': mount.below(volume_file.path)})
    subject = verdicts.Subject(volume_file.path, mount, {
        'path': volume_file.path, 'mount_point': mount.mount_point})
    verdicts.raise_for(answer, subject)
    facts = answer.facts
    if (os.path.join(mount.mount_point, facts['path']) != volume_file.path
            or (facts['dev'], facts['ino']) != volume_file.identity
            or stat.S_ISBLK(facts['mode']) != volume_file.is_block_device
            or not (stat.S_ISREG(facts['mode']) or volume_file.is_block_device)):
        raise exceptions.UnsafeVolumePath(
            reason=f'{volume_file.path} was replaced by another file while it was being attached',
            **subject.fields)


def candidate_paths(spec: VolumeSpec, settings: Settings) -> tuple[str, ...]:
    """Return every path that the file can have been attached by; no share is touched.

    For taking off a volume whose share hangs or is gone: by the mount table and the bases alone.
    """
    table = mounts.table()
    if spec.path is not None:
        paths = [os.path.normpath(spec.path)]
    elif spec.export is not None and spec.name is not None:
        places = _places(spec, settings)
        found = mounts.of_export(table, spec.export, places)
        paths = [os.path.join(place, spec.name)
                 for place in (*places, *(mount.mount_point for mount in found))]
    else:
        return ()
    covered = [(path, mounts.covering(table, path)) for path in paths]
    aliases = [alias for path, mount in covered if mount is not None
               for alias in mounts.same_place(table, mount, path)]
    return tuple(dict.fromkeys(paths + aliases))


def list_files(spec: VolumeSpec | None, settings: Settings, *, prober: probe.Prober) -> list[str]:
    """Return the files directly in the known mounts; mounts that don't answer are left out.

    :param spec: whose export or directory is meant; None means all mounts below the bases
    """
    directories = _known_directories(spec, settings)
    answers = prober.look_each([{'op': 'files', 'path': path} for path in directories])
    files: set[str] = set()
    for directory, answer in zip(directories, answers, strict=True):
        if 'names' not in answer.facts:
            why = 'no answer' if answer.is_hung else os.strerror(answer.errno or 0)
            LOG.warning('The files in %s are left out: %s', directory, why)
        files.update(os.path.join(directory, name) for name in answer.facts.get('names', ()))
    return sorted(files)


def _find_once(spec: VolumeSpec, settings: Settings, prober: probe.Prober,
               deadline: float) -> VolumeFile:
    look = _look_by_export if spec.path is None else _look_by_path
    for _ in range(_MOST_CHANGES):
        try:
            table, mount, answer = look(spec, settings, prober, deadline)
        except _TableChanged:
            continue
        path = os.path.join(mount.mount_point, answer.facts.get('path') or spec.name or '')
        if 'path' not in answer.facts and spec.path is not None:
            path = spec.path
        subject = _subject(spec, path, mount)
        verdicts.raise_for(answer, subject)
        if answer.facts['mount_id'] != mount.id:
            continue
        verdicts.raise_unless_fit(
            answer, table, mount, subject, settings,
            spec.path is not None and spec.protocol in _DEVICE_PROTOCOLS)
        return _volume_file(spec, table, mount, path, answer)
    raise exceptions.MountNotResponding(
        reason='what is mounted changed each time it was looked at', volume=spec.label,
        export=spec.export_shown, path=spec.path)


def _look_by_export(spec: VolumeSpec, settings: Settings, prober: probe.Prober, deadline: float,
                    ) -> tuple[tuple[mounts.Mount, ...], mounts.Mount, probe.Answer]:
    assert spec.export is not None
    assert spec.name is not None
    table = mounts.table()
    places = _places(spec, settings)
    found = mounts.of_export(table, spec.export, places)
    if not found:
        table, found = _look_at_places(spec, places, prober, deadline)
    # One that is read-only does no harm while there is another.
    found = [mount for mount in found if not mount.is_read_only] or found
    inspect = _inspect(spec, settings)
    index, answer = prober.look_first(
        [_look_request(mount, spec.name, inspect) for mount in found], _is_answer, deadline)
    return table, found[index], answer


def _look_at_places(spec: VolumeSpec, places: tuple[str, ...], prober: probe.Prober,
                    deadline: float) -> tuple[tuple[mounts.Mount, ...], list[mounts.Mount]]:
    """Look where the export should be, which makes autofs mount it, and search the table again.

    This also finds places whose base is a symlink: the table names them without it.
    """
    assert spec.export is not None
    answers = prober.look_each([{'op': 'where', 'path': place} for place in places], deadline)
    table = mounts.table()
    real = [answer.facts['path'] for answer in answers
            if 'path' in answer.facts and answer.errno is None]
    found = mounts.of_export(table, spec.export, real)
    if found:
        return table, found
    covered = [mounts.covering(table, place) for place in places]
    for place, mount, answer in zip(places, covered, answers, strict=True):
        if answer.is_hung or answer.errno in mounts.STALE_ERRORS:
            verdicts.raise_for(answer, _subject(spec, place, mount))
    raise _not_mounted(spec, (*real, *places), table)


def _not_mounted(spec: VolumeSpec, places: tuple[str, ...],
                 table: tuple[mounts.Mount, ...]) -> exceptions.ShareNotMounted:
    assert spec.export is not None
    wanted = mounts.normal_source(spec.export)
    there = [mount for mount in table if mount.mount_point in places and mount.fstype != 'autofs']
    parts = [mount for mount in table if mounts.normal_source(mount.source) == wanted]
    if there:
        reason = f'{there[0]} is mounted where {spec.export_shown} should be'
    elif parts:
        reason = (f'only directory {parts[0].root} of {spec.export_shown} is mounted, on '
                  f'{parts[0].mount_point}; the whole of it should be')
    else:
        reason = (f'{spec.export_shown} is not in the mount table, and nothing is mounted on '
                  + ' or '.join(dict.fromkeys(places)))
    covered = [mounts.covering(table, place) for place in places]
    return exceptions.ShareNotMounted(
        reason=reason, volume=spec.label, export=spec.export_shown,
        mount_point=there[0].mount_point if there else places[0] if places else None,
        is_automounted=any(mount is not None and mount.fstype == 'autofs' for mount in covered))


def _look_by_path(spec: VolumeSpec, settings: Settings, prober: probe.Prober, deadline: float,
                  ) -> tuple[tuple[mounts.Mount, ...], mounts.Mount, probe.Answer]:
    assert spec.path is not None
    directory, name = os.path.split(spec.path)
    if name in ('', '.', '..'):
        raise exceptions.UnsafeVolumePath(
            reason=f'{spec.path} names a directory', path=spec.path, volume=spec.label)
    answer = prober.look({'op': 'where', 'path': directory}, deadline)
    # Only now: the look may have made autofs mount what belongs here.
    table = mounts.table()
    mount = next((mount for mount in table if mount.id == answer.facts.get('mount_id')), None)
    if mount is not None and answer.errno is None:
        below = mount.below(os.path.join(answer.facts['path'], name))
        if below is None:
            raise _TableChanged
        answer = prober.look(_look_request(mount, below, _inspect(spec, settings)), deadline)
    if mount is not None and answer.errno in (errno.ENOENT, errno.ENOTDIR):
        _raise_if_unmounted(spec, settings, table, mount)
    if mount is None or answer.errno is not None:
        covered = mounts.covering(table, os.path.normpath(spec.path))
        verdicts.raise_for(answer, _subject(spec, spec.path, covered))
        raise _TableChanged
    return table, mount, answer


def _raise_if_unmounted(spec: VolumeSpec, settings: Settings, table: tuple[mounts.Mount, ...],
                        mount: mounts.Mount) -> None:
    """Raise where a missing file may be missing since its file system is not mounted."""
    assert spec.path is not None
    is_automounted = mount.fstype == 'autofs'
    if is_automounted or (verdicts.is_on_root(table, mount)
                          and not verdicts.is_trusted(spec.path, settings)):
        raise exceptions.ShareNotMounted(
            reason=f'{spec.path} does not exist, and no file system that would hold it is mounted '
                   f'below {mount.mount_point}', volume=spec.label, path=spec.path,
            mount_point=mount.mount_point, is_automounted=is_automounted)


def _volume_file(spec: VolumeSpec, table: tuple[mounts.Mount, ...], mount: mounts.Mount, path: str,
                 answer: probe.Answer) -> VolumeFile:
    facts = answer.facts
    is_block_device = stat.S_ISBLK(facts['mode'])
    if is_block_device and spec.format != 'raw':
        raise exceptions.UnsupportedVolume(
            reason=f'{path} is a block device, which can only be served as raw, not as '
                   f'{spec.format}', path=path, volume=spec.label)
    return VolumeFile(
        path=path, aliases=mounts.same_place(table, mount, path), size=facts['size'],
        format=spec.format, identity=(facts['dev'], facts['ino']),
        is_block_device=is_block_device, mount=mount)


def _known_directories(spec: VolumeSpec | None, settings: Settings) -> list[str]:
    table = mounts.table()
    if spec is not None and spec.path is not None:
        return [os.path.dirname(spec.path)]
    if spec is not None and spec.export is not None:
        return [mount.mount_point
                for mount in mounts.of_export(table, spec.export, _places(spec, settings))]
    bases = {os.path.normpath(base) for base in settings.mount_point_base}
    return [mount.mount_point for mount in table
            if os.path.dirname(mount.mount_point) in bases and mount.fstype != 'autofs']


def _places(spec: VolumeSpec, settings: Settings) -> tuple[str, ...]:
    # The base that comes with a volume is Cinder's own, often another host's: it comes last.
    return mounts.conventional_places(
        spec.export_hash or '', (*settings.mount_point_base, spec.mount_point_base))


def _look_request(mount: mounts.Mount, path: str, inspect: str | None = None) -> probe.Request:
    return {'op': 'look', 'mount_point': mount.mount_point, 'mount_id': mount.id, 'path': path,
            'inspect': inspect}


def _inspect(spec: VolumeSpec, settings: Settings) -> str | None:
    return settings.qcow2_backing if spec.format == 'qcow2' else None


def _is_answer(answer: probe.Answer) -> bool:
    return not answer.is_hung and answer.errno not in mounts.STALE_ERRORS | mounts.HUNG_ERRORS


def _may_yet_appear(error: Exception) -> bool:
    return isinstance(error, exceptions.VolumeFileNotFound) or (
        isinstance(error, exceptions.ShareNotMounted) and bool(error.kwargs.get('is_automounted')))


def _subject(spec: VolumeSpec, path: str, mount: mounts.Mount | None) -> verdicts.Subject:
    return verdicts.Subject(path, mount, {
        'volume': spec.label, 'path': path, 'export': spec.export_shown,
        'mount_point': mount.mount_point if mount is not None else None})
