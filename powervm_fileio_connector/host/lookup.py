# SPDX-License-Identifier: Apache-2.0
"""The probes that find a volume's file: by its export, or by its path.

Each ends with one probe of the file from the root of its mount, and with the mount table as it was
when the mount was chosen. Whether the file may be attached is decided elsewhere.
"""

from __future__ import annotations

import dataclasses
import os
import re
from typing import Any

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import export as export_module
from powervm_fileio_connector.conf import Settings
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host import checks
from powervm_fileio_connector.host import exports
from powervm_fileio_connector.host import failures
from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.host import same_file
from powervm_fileio_connector.host.failures import ErrorContext
from powervm_fileio_connector.host.mount import Mount
from powervm_fileio_connector.host.mount_table import MountTable
from powervm_fileio_connector.volume import VolumeSpec

_LOOP_MAJOR, _PARTITION_MAJOR = '7:', '259:'
_LOOP = re.compile(r'/dev/loop([0-9]+)(?:p[0-9]+)?')


@dataclasses.dataclass(frozen=True)
class Lookup:
    """The answer to a probe of a file, and on which mount of which table.

    :ivar below: the file's path below the mount, as the probe was asked for it
    """

    table: MountTable
    mount: Mount
    below: str
    answer: probe.Answer[probe.FileFacts]


class TableChanged(Exception):
    """What is mounted changed between reading the mount table and probing."""


def by_export(spec: VolumeSpec, settings: Settings, prober: probe.Prober,
              deadline: Deadline) -> Lookup:
    """Probe a name on the mounts of an export, and take the first that answers.

    :raises ShareNotMounted: there is no such mount, also after autofs was asked for one
    :raises MountNotResponding: the place where it should be does not answer
    """
    assert spec.export is not None
    assert spec.name is not None
    table = mount_table.table()
    places, last_places = places_of(spec, settings)
    found = exports.of_export(table, spec.export, places, last_places)
    if not found:
        table, found = _probe_places(spec, places, last_places, prober, deadline)
    # One that is read-only does no harm while there is another.
    found = tuple(mount for mount in found if not mount.is_read_only) or found
    index, answer = prober.probe_any(
        [request(table, mount, spec.name, spec, settings) for mount in found],
        lambda answer: not answer.is_hung and not answer.failure and (
            answer.errno is None or failures.is_of_path(answer.errno)), deadline)
    if answer.refusal is not None:
        _raise_if_mounted_over(spec, table, os.path.join(found[index].mount_point, spec.name))
    return Lookup(table, found[index], spec.name, answer)


def by_path(spec: VolumeSpec, settings: Settings, prober: probe.Prober,
            deadline: Deadline) -> Lookup:
    """Find out where a path leads and on which mount, and then probe the file on that mount.

    :raises ShareNotMounted: nothing is mounted that could hold the path
    :raises UnsafeVolumePath: a symlink leads out of a share, or the path is a mount of one file
    :raises TableChanged: the mount went away meanwhile
    """
    assert spec.path is not None
    if os.path.basename(spec.path) in ('', '.', '..'):
        raise exceptions.UnsafeVolumePath(
            reason=f'{spec.path} names a directory', path=spec.path, volume=spec.label)
    is_device = spec.path.startswith('/dev/')
    # Udev's links stay as they were given: what they lead to has another name after a reboot.
    asked = os.path.dirname(spec.path) if is_device else spec.path
    answer = prober.probe(probe.PathProbe(asked, is_directory=is_device), deadline)
    # Only now: the probe may have made autofs mount what belongs here.
    table = mount_table.table()
    mount = table.by_id(answer.mount_id)
    if mount is not None and answer.facts is not None and answer.facts.links:
        checks.require_links_stay(table, answer.facts, context(spec, spec.path, mount))
    if answer.errno is not None or answer.facts is None or mount is None:
        _raise_for_path(spec, table, mount, answer, checks.trust(settings, prober, deadline))
        raise TableChanged
    path = answer.facts.path
    if is_device:
        path = os.path.join(path, os.path.basename(spec.path))
    below = mount.below(path)
    if below is None:
        _raise_if_mounted_over(spec, table, path)
        raise TableChanged
    return Lookup(table, mount, below,
                  prober.probe(request(table, mount, below, spec, settings), deadline))


def places_of(spec: VolumeSpec, settings: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return where the export is mounted by convention, in two parts.

    The second is the base that comes with the volume: Cinder's own, often another host's.
    """
    export_hash = spec.export_hash or ''
    own = exports.conventional_places(export_hash, settings.mount_point_base)
    others = exports.conventional_places(export_hash, (spec.mount_point_base,))
    return own, tuple(place for place in others if place not in own)


def context(spec: VolumeSpec, path: str, mount: Mount | None) -> ErrorContext:
    """Return what an error about a volume's file says of it."""
    return ErrorContext(path, mount, {
        'volume': spec.label, 'path': path, 'export': spec.export_shown,
        'mount_point': mount.mount_point if mount is not None else None})


def request(table: MountTable, mount: Mount, below: str, spec: VolumeSpec,
            settings: Settings) -> probe.FileProbe:
    """Return the probe that tells all about a file of a mount."""
    return probe.FileProbe(
        mount.mount_point, below, mount.id, mounted_loops=mounted_loops(table), share=mount.share,
        finds_loops=settings.allow_block_devices,
        qcow2_backing=settings.qcow2_backing if spec.format == 'qcow2' else None)


def mounted_loops(table: MountTable) -> tuple[str, ...]:
    """Return the numbers of loop devices, or of partitions that may be one's, which are mounted."""
    def make() -> tuple[str, ...]:
        numbers = {number for mount in table.with_covered
                   for number in checks.devices_of(mount)
                   if number.startswith((_LOOP_MAJOR, _PARTITION_MAJOR))}
        # Btrfs has a device number of its own.
        named = (_LOOP.fullmatch(mount.source) for mount in table.with_covered)
        return tuple(sorted(
            numbers | {_LOOP_MAJOR + match[1] for match in named if match}))

    return same_file.index(table).remember('mounted loops', make)


def _probe_places(spec: VolumeSpec, places: tuple[str, ...], last_places: tuple[str, ...],
                  prober: probe.Prober, deadline: Deadline,
                  ) -> tuple[MountTable, tuple[Mount, ...]]:
    """Probe where the export should be, which makes autofs mount it, and search the table again.

    This also finds places whose base is a symlink: the table names them without it.
    """
    assert spec.export is not None
    asked = (*places, *last_places)
    before = mount_table.table()
    shares = [None if mount is None else mount.share for mount in map(before.covering, asked)]
    # Where one hangs, the file is probed in the other half of the time.
    answers = prober.probe_all([probe.PathProbe(place, share=share)
                                for place, share in zip(asked, shares, strict=True)],
                               deadline.half())
    table = mount_table.table()
    real = [answer.facts.path if answer.facts is not None and answer.errno is None else place
            for place, answer in zip(asked, answers, strict=True)]
    own = tuple(dict.fromkeys(real[:len(places)]))
    found = exports.of_export(table, spec.export, own, tuple(real[len(places):]))
    if found:
        return table, found
    for place, answer in zip(asked, answers, strict=True):
        mount = table.covering(place)
        if answer.is_hung or answer.failure or (
                answer.errno is not None and not failures.is_of_path(answer.errno)):
            failures.raise_for(answer, context(spec, place, mount))
    raise _not_mounted(spec, tuple(dict.fromkeys((*real, *asked))), table)


def _not_mounted(spec: VolumeSpec, places: tuple[str, ...],
                 table: MountTable) -> exceptions.ShareNotMounted:
    assert spec.export is not None
    location = export_module.server_and_directory(spec.export)
    there = next((mount for place in places if (mount := table.at(place)) is not None
                  and mount.fstype != 'autofs'), None)
    parts = [] if location is None else [mount for mount in table if mount.root != '/' and (
        export_module.server_and_directory(mount.source) == location)]
    other = exports.under_other_name(table, spec.export)
    remedy = None
    if there is not None:
        reason = f'{there} is mounted where {spec.export_shown} should be'
    elif parts:
        reason = (f'only directory {parts[0].root} of {spec.export_shown} is mounted, on '
                  f'{parts[0].mount_point}; the whole of it should be')
    else:
        reason = (f'{spec.export_shown} is not in the mount table, and nothing is mounted on '
                  + ' or '.join(dict.fromkeys(places)))
    if other is not None:
        reason += (f'. {other} shows the same directory; its server may be the same under another '
                   'name, since the kernel shows the name that it was first mounted by')
        remedy = (f'Mount {spec.export_shown} at {places[0]}, or use the name that the mount table '
                  'shows, then retry.')
    covered = [table.covering(place) for place in places]
    is_automounted = any(mount is not None and mount.fstype == 'autofs' for mount in covered)
    if is_automounted:
        reason += f'. {failures.REMEMBERED_BY_AUTOFS}'
    return exceptions.ShareNotMounted(
        reason=reason, remedy=remedy, volume=spec.label, export=spec.export_shown,
        mount_point=there.mount_point if there is not None else places[0] if places else None,
        is_automounted=is_automounted)


def _raise_for_path(spec: VolumeSpec, table: MountTable, mount: Mount | None,
                    answer: probe.Answer[Any], is_trusted: checks.IsTrusted) -> None:
    """Raise for a path that could not be followed to its end; return where it may be a race."""
    assert spec.path is not None
    if mount is None and answer.facts is not None and table.covering(answer.facts.path) is None:
        _raise_on_unnamed_root(spec, answer)
    if mount is None:
        # By the table alone, which is right unless symlinks lead elsewhere.
        mount = table.covering(spec.path)
        if mount is not None and (mount.fstype == 'autofs'
                                  or not checks.is_on_root(table, mount, spec.path)):
            failures.raise_for(answer, context(spec, spec.path, mount))
        failures.raise_for(answer, context(spec, spec.path, None))
        return
    reached = answer.facts.path if answer.facts is not None else spec.path
    if failures.is_of_path(answer.errno) and checks.is_unmounted(
            table, mount, os.path.join(reached, '.'), lambda _: is_trusted(spec.path or '')):
        is_automounted = mount.fstype == 'autofs'
        reason = (f'{spec.path} does not exist, and no file system that would hold it is mounted '
                  f'below {mount.mount_point}')
        raise exceptions.ShareNotMounted(
            reason=f'{reason}. {failures.REMEMBERED_BY_AUTOFS}' if is_automounted else reason,
            volume=spec.label, path=spec.path, mount_point=mount.mount_point,
            is_automounted=is_automounted)
    failures.raise_for(answer, context(spec, spec.path, mount))


def _raise_on_unnamed_root(spec: VolumeSpec, answer: probe.Answer[Any]) -> None:
    """Raise for a path on the root directory where that is no mount point, as after chroot."""
    where = context(spec, spec.path or '', None)
    if answer.errno is None:
        where.refuse('lies on the file system of the root directory, which is no mount point here, '
                     'as after chroot, so that the mount table does not name it',
                     remedy='Mount the file system that should hold it.')
    if failures.is_of_path(answer.errno):
        raise exceptions.ShareNotMounted(
            reason=f'{spec.path} does not exist, and no file system that would hold it is mounted',
            **where.fields)


def _raise_if_mounted_over(spec: VolumeSpec, table: MountTable, path: str) -> None:
    """Raise where a path is itself a mount point, as a file that is bound there is.

    What is told to NovaLink has to stay the same file when such a mount goes away.
    """
    mount = table.at(path)
    if mount is None:
        return
    if mount.root == '/':
        raise exceptions.UnsafeVolumePath(
            reason=f'{path} is the root of a file system, not a file on it ({mount})',
            volume=spec.label, path=path, mount_point=path)
    others = same_file.index(table).by_mounts_of_their_own(path)
    raise exceptions.UnsafeVolumePath(
        reason=f'{path} is a mount point itself, of a single file or directory ({mount})',
        remedy=f'Attach the file as {others[0]}.' if others else
        'Attach the file by its path on the mount that it lies on.',
        volume=spec.label, path=path, mount_point=path)
