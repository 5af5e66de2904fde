# SPDX-License-Identifier: Apache-2.0
"""The file of a volume: found on its mount, confined to it, identified and judged; never written.

Everything here goes by two sources: the mount table, and looks that a prober takes. A path is only
believed as far as it leads, without a symlink out, from the root of a mount that the table names.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Iterable

import retrying
from oslo_log import log as logging

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.conf import Settings
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host import checks
from powervm_fileio_connector.host import exports
from powervm_fileio_connector.host import lookup
from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.volume import VolumeSpec

LOG = logging.getLogger(__name__)

# A device_path of these may be a block device, where the options allow it.
_DEVICE_PROTOCOLS = ('local', 'gpfs', 'file')

_MOST_CHANGES = 5           # of the mount table while we look; each makes us begin again
_MOST_PAUSE_S = 1.0         # between two looks for a file that may yet appear


@dataclasses.dataclass(frozen=True)
class VolumeFile:
    """A file that is fit to be handed to an LPAR.

    :ivar path: with all symlinks resolved; what NovaLink is told
    :ivar spellings: every path by which the same file can be reached, ``path`` first
    :ivar lookalikes: paths of what may be the same file, under another name of its server
    :ivar size: in bytes, as the guest will see it: for qcow2 the virtual size
    :ivar identity: device and inode number
    """

    path: str
    spellings: tuple[str, ...]
    size: int
    format: str
    identity: tuple[int, int]
    is_block_device: bool
    mount: mount_table.Mount
    lookalikes: tuple[str, ...] = ()


def find(spec: VolumeSpec, settings: Settings, *, prober: probe.Prober,
         deadline: Deadline | None = None, attempts: int = 1) -> VolumeFile:
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
    deadline = prober.deadline() if deadline is None else deadline
    # Half of the time stays for the last look, so that it is not taken for a hung one.
    patience_s = deadline.left() / 2
    pause_s = min(_MOST_PAUSE_S, patience_s / max(1, attempts))
    patience = retrying.Retrying(
        stop_max_attempt_number=max(1, attempts), stop_max_delay=patience_s * 1000,
        wait_fixed=pause_s * 1000, retry_on_exception=_may_yet_appear)
    return patience.call(_find_once, spec, settings, prober, deadline)


def recheck(volume_file: VolumeFile, settings: Settings, *, prober: probe.Prober,
            deadline: Deadline | None = None) -> None:
    """Take one more look, and raise unless the path still leads to the same file.

    :raises UnsafeVolumePath: another file is there now
    :raises VolumeFileNotFound: it is gone
    :raises MountNotResponding: the mount does not answer any more
    :raises StaleMount: it is cut off from its server
    """
    mount = volume_file.mount
    # The identity tells whether the mount is another one, so its number may have changed.
    answer = prober.probe(probe.FileProbe(
        mount.mount_point, mount.below(volume_file.path) or ''), deadline)
    subject = checks.Subject(volume_file.path, mount, {
        'path': volume_file.path, 'mount_point': mount.mount_point})
    checks.raise_for(answer, subject)
    facts = answer.facts
    assert facts is not None
    if (os.path.join(mount.mount_point, facts.path) != volume_file.path
            or (facts.dev, facts.ino) != volume_file.identity
            or stat.S_ISBLK(facts.mode) != volume_file.is_block_device
            or not (stat.S_ISREG(facts.mode) or volume_file.is_block_device)):
        raise exceptions.UnsafeVolumePath(
            reason=f'{volume_file.path} was replaced by another file while it was being attached',
            **subject.fields)


def candidate_paths(spec: VolumeSpec, settings: Settings) -> tuple[str, ...]:
    """Return every path that the file can have been attached by; no share is touched.

    For taking off a volume whose share hangs or is gone: by the mount table and the bases alone.
    """
    table = mount_table.table()
    if spec.path is not None:
        paths = [os.path.normpath(spec.path)]
    elif spec.export is not None and spec.name is not None:
        places = lookup.places_of(spec, settings)
        found = exports.of_export(table, spec.export, places)
        paths = [os.path.join(place, spec.name)
                 for place in (*places, *(mount.mount_point for mount in found))]
    else:
        return ()
    covered = [(path, mount_table.covering(table, path)) for path in paths]
    aliases = [alias for path, mount in covered if mount is not None
               for alias in exports.same_place(table, mount, path)]
    return tuple(dict.fromkeys(paths + aliases))


def resolved_paths(paths: Iterable[str], *, prober: probe.Prober,
                   deadline: Deadline | None = None) -> tuple[str, ...]:
    """Return where paths lead without symlinks, also where nothing is there any more.

    For taking off a volume whose file is gone, or none that may be attached any more; it may have
    been at the end of a path, or at what is a symlink there now. Paths on shares that do not answer
    are left out.
    """
    probed = [(start, rest) for path in paths
              for start, rest in ((path, ''), os.path.split(path))]
    answers = prober.probe_all([probe.PathProbe(start) for start, _ in probed], deadline)
    return tuple(dict.fromkeys(
        os.path.normpath('/'.join([answer.facts.path, *answer.facts.rest, rest]))
        for (_, rest), answer in zip(probed, answers, strict=True) if answer.facts is not None))


def spellings_of(path: str) -> tuple[str, ...]:
    """Return a path and all others that the mount table shows to be the same place."""
    table = mount_table.table()
    mount = mount_table.covering(table, path)
    others = exports.same_place(table, mount, path) if mount is not None else ()
    return tuple(dict.fromkeys((path, *others)))


def list_files(spec: VolumeSpec | None, settings: Settings, *, prober: probe.Prober,
               deadline: Deadline | None = None) -> list[str]:
    """Return the files directly in the known mounts; mounts that don't answer are left out.

    :param spec: whose export or directory is meant; None means all mounts below the bases
    """
    directories = _known_directories(spec, settings)
    answers = prober.probe_all([probe.ListFiles(path) for path in directories], deadline)
    files: set[str] = set()
    for directory, answer in zip(directories, answers, strict=True):
        if answer.facts is None:
            why = answer.failure or (
                'no answer' if answer.is_hung else os.strerror(answer.errno or 0))
            LOG.warning('The files in %s are left out: %s', directory, why)
            continue
        files.update(os.path.join(directory, name) for name in answer.facts.names)
    return sorted(files)


def _find_once(spec: VolumeSpec, settings: Settings, prober: probe.Prober,
               deadline: Deadline) -> VolumeFile:
    look = lookup.by_export if spec.path is None else lookup.by_path
    for _ in range(_MOST_CHANGES):
        try:
            seen = look(spec, settings, prober, deadline)
        except lookup.TableChanged:
            continue
        found_as = seen.answer.facts and seen.answer.facts.path
        path = (os.path.join(seen.mount.mount_point, found_as or spec.name or '')
                if found_as or spec.path is None else spec.path)
        subject = lookup.subject(spec, path, seen.mount)
        checks.raise_for(seen.answer, subject)
        if seen.answer.facts is not None:
            checks.raise_unless_fit(
                seen.answer.facts, seen.table, seen.mount, subject, settings,
                spec.path is not None and spec.protocol in _DEVICE_PROTOCOLS)
            return _volume_file(spec, settings, seen, path)
    raise exceptions.MountNotResponding(
        reason='what is mounted changed each time it was looked at', volume=spec.label,
        export=spec.export_shown, path=spec.path)


def _volume_file(spec: VolumeSpec, settings: Settings, seen: lookup.Sighting,
                 path: str) -> VolumeFile:
    facts = seen.answer.facts
    assert facts is not None
    is_block_device = stat.S_ISBLK(facts.mode)
    if is_block_device and spec.format != 'raw':
        raise exceptions.UnsupportedVolume(
            reason=f'{path} is a block device, which can only be served as raw, not as '
                   f'{spec.format}', path=path, volume=spec.label)
    # A mapping that somebody else made may have the spelling that was given.
    spellings = tuple(dict.fromkeys((path, *exports.same_place(seen.table, seen.mount, path),
                                     *candidate_paths(spec, settings))))
    return VolumeFile(
        path=path, spellings=spellings, size=facts.size, format=spec.format,
        identity=(facts.dev, facts.ino),
        is_block_device=is_block_device, mount=seen.mount)


def _known_directories(spec: VolumeSpec | None, settings: Settings) -> list[str]:
    table = mount_table.table()
    if spec is not None and spec.path is not None:
        return [os.path.dirname(spec.path)]
    if spec is not None and spec.export is not None:
        places = lookup.places_of(spec, settings)
        return [mount.mount_point for mount in exports.of_export(table, spec.export, places)]
    bases = {os.path.normpath(base) for base in settings.mount_point_base}
    return [mount.mount_point for mount in table
            if os.path.dirname(mount.mount_point) in bases and mount.fstype != 'autofs']


def _may_yet_appear(error: Exception) -> bool:
    return isinstance(error, exceptions.VolumeFileNotFound) or (
        isinstance(error, exceptions.ShareNotMounted) and bool(error.kwargs.get('is_automounted')))
