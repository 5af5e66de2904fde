# SPDX-License-Identifier: Apache-2.0
"""The files that lie on the mounts of a volume's export, or below the conventional bases."""

from __future__ import annotations

import os
from typing import Any

from oslo_log import log as logging

from powervm_fileio_connector.conf import Settings
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host import checks
from powervm_fileio_connector.host import exports
from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.host.mount import Mount
from powervm_fileio_connector.volume import VolumeSpec

LOG = logging.getLogger(__name__)


def list_files(spec: VolumeSpec | None, settings: Settings, *, prober: probe.Prober) -> list[str]:
    """Return the files directly in the known mounts; mounts that don't answer are left out.

    So is what lies on the root file system, unless the deployer trusts its directory.

    However many do not answer, those of the others are returned by the deadline of ``prober``.

    :param spec: whose export or directory is meant; None means all mounts below the bases
    """
    deadline = prober.deadline()
    directories = _directories(spec, settings, prober, deadline)
    # One probe tells of all mounts of the same directory of a file system.
    asked = {key: places[0] for key, places in directories.items()}
    answers = prober.probe_all([probe.ListFiles(path) for path in asked.values()], deadline)
    files: set[str] = set()
    for key, answer in zip(asked, answers, strict=True):
        if answer.facts is None:
            _leave_out(directories[key], answer)
            continue
        files.update(os.path.join(place, name) for place in directories[key]
                     for name in answer.facts.names)
    return sorted(files)


def _directories(spec: VolumeSpec | None, settings: Settings, prober: probe.Prober,
                 deadline: Deadline) -> dict[object, list[str]]:
    """Return the directories to list, those together that are known to be the same one.

    None of them lies where nothing is mounted for volumes, unless the deployer trusts it.
    """
    is_trusted = checks.trust(settings, prober, deadline)
    if spec is not None and spec.path is not None:
        directory = os.path.dirname(spec.path)
        answer = prober.probe(probe.PathProbe(directory), deadline)
        if answer.errno is not None or answer.facts is None:
            _leave_out([directory], answer)
            return {}
        # Only now: the probe may have made autofs mount what belongs here.
        table = mount_table.table()
        mount = table.by_id(answer.mount_id)
        if mount is None or not _may_hold_volumes(table, mount, answer.facts.path, is_trusted):
            LOG.warning('The files in %s are left out: no file system for volumes is mounted '
                        'there, and trusted_directories does not name it', directory)
            return {}
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
        mounts = tuple(mount for mount in table if os.path.dirname(mount.mount_point) in bases)
    found: dict[object, list[str]] = {}
    for mount in mounts:
        if _may_hold_volumes(table, mount, mount.mount_point, is_trusted):
            found.setdefault(mount.share, []).append(mount.mount_point)
    return found


def _may_hold_volumes(table: mount_table.MountTable, mount: Mount, directory: str,
                      is_trusted: checks.IsTrusted) -> bool:
    """Whether a file directly in a directory of a mount may be a volume, by where it lies."""
    return (mount.fstype not in checks.PSEUDO_FILE_SYSTEMS
            and not checks.is_unmounted(table, mount, os.path.join(directory, '.'), is_trusted))


def _leave_out(directories: list[str], answer: probe.Answer[Any]) -> None:
    why = answer.failure or ('no answer' if answer.is_hung else os.strerror(answer.errno or 0))
    LOG.warning('The files in %s are left out: %s', ', '.join(directories), why)


def _without_symlinks(bases: list[str], prober: probe.Prober, deadline: Deadline) -> list[str]:
    """Return directories as the mount table names what is below them.

    One that does not answer costs a quarter of the time, and is taken as it is.
    """
    answers = prober.probe_all([probe.PathProbe(base) for base in bases],
                               Deadline(deadline.left() / 4))
    return [os.path.normpath(base) if answer.facts is None or answer.errno is not None
            else answer.facts.path for base, answer in zip(bases, answers, strict=True)]
