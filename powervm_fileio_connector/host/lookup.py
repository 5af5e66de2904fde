# SPDX-License-Identifier: Apache-2.0
"""The looks that find a volume's file: by its export, or by its path.

Each ends with one look at the file from the root of its mount, and with the mount table as it was
when the mount was chosen. What the answer is worth is judged elsewhere (:mod:`verdicts`).
"""

from __future__ import annotations

import dataclasses
import errno
import os
from typing import Any

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.conf import Settings
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host import checks
from powervm_fileio_connector.host import exports
from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.volume import VolumeSpec


@dataclasses.dataclass(frozen=True)
class Sighting:
    """What a look at a file brought, on which mount of which table."""

    table: tuple[mount_table.Mount, ...]
    mount: mount_table.Mount
    answer: probe.Answer[probe.FileFacts]


class TableChanged(Exception):
    """What is mounted changed between reading the mount table and looking."""


def by_export(spec: VolumeSpec, settings: Settings, prober: probe.Prober,
              deadline: Deadline) -> Sighting:
    """Look for a name on the mounts of an export, and take the first that answers.

    :raises ShareNotMounted: there is no such mount, also after autofs was asked for one
    :raises MountNotResponding: the place where it should be does not answer
    """
    assert spec.export is not None
    assert spec.name is not None
    table = mount_table.table()
    places = places_of(spec, settings)
    found = exports.of_export(table, spec.export, places)
    if not found:
        table, found = _look_at_places(spec, places, prober, deadline)
    # One that is read-only does no harm while there is another.
    found = [mount for mount in found if not mount.is_read_only] or found
    index, answer = prober.probe_any(
        [_request(mount, spec.name, spec, settings) for mount in found], _is_answer, deadline)
    return Sighting(table, found[index], answer)


def by_path(spec: VolumeSpec, settings: Settings, prober: probe.Prober,
            deadline: Deadline) -> Sighting:
    """Look which mount a path's directory lies on, and then for the file on that mount.

    :raises ShareNotMounted: nothing is mounted that could hold the path
    :raises TableChanged: the mount went away meanwhile
    """
    assert spec.path is not None
    directory, name = os.path.split(spec.path)
    if name in ('', '.', '..'):
        raise exceptions.UnsafeVolumePath(
            reason=f'{spec.path} names a directory', path=spec.path, volume=spec.label)
    where = prober.probe(probe.PathProbe(directory), deadline)
    # Only now: the probe may have made autofs mount what belongs here.
    table = mount_table.table()
    mount = next((mount for mount in table if mount.id == where.mount_id), None)
    if where.errno is not None or where.facts is None or mount is None:
        if mount is not None and where.errno in (errno.ENOENT, errno.ENOTDIR):
            _raise_if_unmounted(spec, settings, table, mount)
        checks.raise_for(where, subject(spec, spec.path, _share(table, spec.path)))
        raise TableChanged
    below = mount.below(os.path.join(where.facts.path, name))
    if below is None:
        raise TableChanged
    answer = prober.probe(_request(mount, below, spec, settings), deadline)
    if answer.errno == errno.ENOENT:
        _raise_if_unmounted(spec, settings, table, mount)
    return Sighting(table, mount, answer)


def places_of(spec: VolumeSpec, settings: Settings) -> tuple[str, ...]:
    """Return where the export is mounted by convention.

    The base that comes with a volume is Cinder's own, often another host's: it comes last.
    """
    return exports.conventional_places(
        spec.export_hash or '', (*settings.mount_point_base, spec.mount_point_base))


def subject(spec: VolumeSpec, path: str, mount: mount_table.Mount | None) -> checks.Subject:
    """Return a file of a volume as the subject of a verdict."""
    return checks.Subject(path, mount, {
        'volume': spec.label, 'path': path, 'export': spec.export_shown,
        'mount_point': mount.mount_point if mount is not None else None})


def _look_at_places(spec: VolumeSpec, places: tuple[str, ...], prober: probe.Prober,
                    deadline: Deadline,
                    ) -> tuple[tuple[mount_table.Mount, ...], list[mount_table.Mount]]:
    """Look where the export should be, which makes autofs mount it, and search the table again.

    This also finds places whose base is a symlink: the table names them without it.
    """
    assert spec.export is not None
    answers = prober.probe_all([probe.PathProbe(place) for place in places], deadline)
    table = mount_table.table()
    real = [answer.facts.path for answer in answers
            if answer.facts is not None and answer.errno is None]
    found = exports.of_export(table, spec.export, real)
    if found:
        return table, found
    covered = [mount_table.covering(table, place) for place in places]
    for place, mount, answer in zip(places, covered, answers, strict=True):
        if answer.is_hung or answer.failure or answer.errno in mount_table.STALE_ERRORS:
            checks.raise_for(answer, subject(spec, place, mount))
    raise _not_mounted(spec, (*real, *places), table)


def _not_mounted(spec: VolumeSpec, places: tuple[str, ...],
                 table: tuple[mount_table.Mount, ...]) -> exceptions.ShareNotMounted:
    assert spec.export is not None
    there = [mount for mount in table if mount.mount_point in places and mount.fstype != 'autofs']
    parts = [mount for mount in table if mount.shows(spec.export)]
    if there:
        reason = f'{there[0]} is mounted where {spec.export_shown} should be'
    elif parts:
        reason = (f'only directory {parts[0].root} of {spec.export_shown} is mounted, on '
                  f'{parts[0].mount_point}; the whole of it should be')
    else:
        reason = (f'{spec.export_shown} is not in the mount table, and nothing is mounted on '
                  + ' or '.join(dict.fromkeys(places)))
    covered = [mount_table.covering(table, place) for place in places]
    return exceptions.ShareNotMounted(
        reason=reason, volume=spec.label, export=spec.export_shown,
        mount_point=there[0].mount_point if there else places[0] if places else None,
        is_automounted=any(mount is not None and mount.fstype == 'autofs' for mount in covered))


def _raise_if_unmounted(spec: VolumeSpec, settings: Settings, table: tuple[mount_table.Mount, ...],
                        mount: mount_table.Mount) -> None:
    """Raise where a missing file may be missing since its file system is not mounted."""
    assert spec.path is not None
    is_automounted = mount.fstype == 'autofs'
    if is_automounted or (checks.is_on_root(table, mount)
                          and not checks.is_trusted(spec.path, settings)):
        raise exceptions.ShareNotMounted(
            reason=f'{spec.path} does not exist, and no file system that would hold it is mounted '
                   f'below {mount.mount_point}', volume=spec.label, path=spec.path,
            mount_point=mount.mount_point, is_automounted=is_automounted)


def _share(table: tuple[mount_table.Mount, ...], path: str) -> mount_table.Mount | None:
    """Return the mount that a path seems to lie on; None where symlinks must lead elsewhere."""
    mount = mount_table.covering(table, os.path.normpath(path))
    return None if mount is None or checks.is_on_root(table, mount) else mount


def _request(mount: mount_table.Mount, path: str, spec: VolumeSpec, settings: Settings,
             ) -> probe.FileProbe:
    return probe.FileProbe(mount.mount_point, path, mount.id,
                           settings.qcow2_backing if spec.format == 'qcow2' else None)


def _is_answer(answer: probe.Answer[Any]) -> bool:
    return not answer.is_hung and not answer.failure and answer.errno not in (
        mount_table.STALE_ERRORS | mount_table.HUNG_ERRORS)
