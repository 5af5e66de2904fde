# SPDX-License-Identifier: Apache-2.0
"""The files that lie on the mounts of a volume's export, or below the conventional bases."""

from __future__ import annotations

import os

from oslo_log import log as logging

from powervm_fileio_connector.conf import Settings
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host import exports
from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.volume import VolumeSpec

LOG = logging.getLogger(__name__)


def list_files(spec: VolumeSpec | None, settings: Settings, *, prober: probe.Prober,
               deadline: Deadline | None = None) -> list[str]:
    """Return the files directly in the known mounts; mounts that don't answer are left out.

    However many do not answer, those of the others are returned by the deadline.

    :param spec: whose export or directory is meant; None means all mounts below the bases
    """
    deadline = prober.deadline() if deadline is None else deadline
    directories = _directories(spec, settings, prober, deadline)
    # One probe tells of all mounts of the same directory of a file system.
    asked = {key: places[0] for key, places in directories.items()}
    answers = prober.probe_all([probe.ListFiles(path) for path in asked.values()], deadline)
    files: set[str] = set()
    for key, answer in zip(asked, answers, strict=True):
        if answer.facts is None:
            why = answer.failure or (
                'no answer' if answer.is_hung else os.strerror(answer.errno or 0))
            LOG.warning('The files in %s are left out: %s', ', '.join(directories[key]), why)
            continue
        files.update(os.path.join(place, name) for place in directories[key]
                     for name in answer.facts.names)
    return sorted(files)


def _directories(spec: VolumeSpec | None, settings: Settings, prober: probe.Prober,
                 deadline: Deadline) -> dict[object, list[str]]:
    """Return the directories to list, those together that are known to be the same one."""
    if spec is not None and spec.path is not None:
        directory = os.path.dirname(spec.path)
        return {directory: [directory]}
    bases = list(settings.mount_point_base)
    if spec is not None and spec.mount_point_base is not None:
        bases.append(spec.mount_point_base)
    bases = _without_symlinks(bases, prober, deadline)
    table = mount_table.table()
    if spec is not None and spec.export is not None:
        mounts = exports.of_export(table, spec.export, exports.conventional_places(
            spec.export_hash or '', bases))
    else:
        mounts = tuple(mount for mount in table if mount.fstype != 'autofs'
                       and os.path.dirname(mount.mount_point) in bases)
    found: dict[object, list[str]] = {}
    for mount in mounts:
        found.setdefault(mount.share, []).append(mount.mount_point)
    return found


def _without_symlinks(bases: list[str], prober: probe.Prober, deadline: Deadline) -> list[str]:
    """Return directories as the mount table names what is below them.

    One that does not answer costs a quarter of the time, and is taken as it is.
    """
    answers = prober.probe_all([probe.PathProbe(base) for base in bases],
                               Deadline(deadline.left() / 4))
    return [os.path.normpath(base) if answer.facts is None or answer.errno is not None
            else answer.facts.path for base, answer in zip(bases, answers, strict=True)]
