# SPDX-License-Identifier: Apache-2.0
"""All paths that reach one file: by the mount table alone, or by file handles and inodes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection
from collections.abc import Hashable
from collections.abc import Iterable

from oslo_log import log as logging

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import export as export_module
from powervm_fileio_connector.conf import Settings
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host import exports
from powervm_fileio_connector.host import failures
from powervm_fileio_connector.host import lookup
from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.host import same_file
from powervm_fileio_connector.host.mount import Mount
from powervm_fileio_connector.host.mount_table import MountTable
from powervm_fileio_connector.volume import VolumeSpec

LOG = logging.getLogger(__name__)

_HandleAnswer = probe.Answer[probe.HandleFacts]

_MOST_HANDLES = 16      # probes for file handles that one call makes, the file's own included


def spellings_of(path: str) -> tuple[str, ...]:
    """Return a path and all others that the mount table shows to be the same file."""
    table = _table()
    mount = table.covering(path)
    return (path,) if mount is None else same_file.index(table).spellings(mount, path)


def probed_paths() -> Collection[str]:
    """Return the paths of all files that were probed since the mount table changed."""
    return same_file.index(_table()).probed()


def unbound(spec: VolumeSpec) -> VolumeSpec:
    """Return a volume by its file's path on a mount, where the path given is a mount of that file.

    Such a path is a spelling of what is attached, but none to attach by.
    """
    others = same_file.index(_table()).by_mounts_of_their_own(spec.path) if spec.path else []
    return dataclasses.replace(spec, path=others[0]) if others else spec


def candidate_paths(spec: VolumeSpec, settings: Settings) -> tuple[str, ...]:
    """Return every path that the file can have been attached by; no share is touched.

    For detaching a volume whose share hangs or is gone: by the mount table and the bases alone.
    """
    table = _table()
    paths = list(given(spec, settings, table))
    if spec.path is None and spec.export is not None and spec.name is not None:
        paths += [os.path.join(mount.mount_point, spec.name) for mount in exports.of_export(
            table, spec.export, *lookup.places_of(spec, settings))]
    found = list(paths)
    for path in paths:
        mount = table.covering(path)
        if mount is not None:
            found += same_file.index(table).spellings(mount, path)
    return tuple(dict.fromkeys(found))


def given(spec: VolumeSpec, settings: Settings, table: MountTable) -> tuple[str, ...]:
    """Return the paths that a volume's own properties name.

    Those are its path, or its name below the conventional places of its export, but for places
    where something else is mounted.
    """
    if spec.path is not None:
        # Behind a symlink, '..' leads elsewhere than its text says.
        return () if '..' in spec.path.split('/') else (
            os.path.normpath('/' + spec.path.lstrip('/')),)
    if spec.export is None or spec.name is None:
        return ()
    places = lookup.places_of(spec, settings)
    shown = {mount.id for mount in exports.of_export(table, spec.export, *places)}
    location = export_module.server_and_directory(spec.export)
    return tuple(os.path.join(place, spec.name) for some in places for place in some
                 if (mount := table.at(place)) is None or mount.fstype == 'autofs'
                 or mount.id in shown
                 or (location is not None and same_file.index(table).shows(mount, location)))


def of_other_servers(table: MountTable, mount: Mount, path: str, prober: probe.Prober,
                     deadline: Deadline) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return other paths whose file handle is that of ``path``, in two parts.

    Replicas may have equal handles as well. So the first are those where the address of the server
    is equal too, or the handle names the cluster, which are the same file for certain; the second
    are all others. Where neither has a handle, one inode number at one address is one file; at
    other addresses it is the second kind if the directory agrees as well, which two servers have
    changed in the same nanosecond only if one is a copy of the other. Where inode numbers are made
    up, a file at the same path of one address is of the second kind.

    :raises MountNotResponding: a path may be the same file, which could not be found out; what the
        probe of ``path`` itself fails with is raised likewise
    """
    others = same_file.index(table).under_other_names(mount, path)
    if not others:
        return (), ()
    if len(others) >= _MOST_HANDLES:
        LOG.warning('%s may be reachable under %d more names of servers, of which %d are checked.',
                    path, len(others), _MOST_HANDLES - 1)
    others = others[:_MOST_HANDLES - 1]
    deadline = deadline.half()
    own, *answers = _facts([(mount, path), *others], prober, deadline)
    before = own
    if any(_differ_in_time(own, answer) for answer in answers):
        # Perhaps a file was made or removed between two probes.
        own, *answers = _facts([(mount, path), *others], prober, deadline)
    failures.raise_for(own, failures.ErrorContext(path, mount, {'path': path}))
    is_changing = own.facts != before.facts
    certain: list[str] = []
    lookalikes: list[str] = []
    for (other, other_path), answer in zip(others, answers, strict=True):
        failures.require_told(answer, other_path, other, path, is_own_share=False)
        is_one_server = same_file.agree_on_server(mount, other) or (
            own.facts is not None and own.facts.names_cluster)
        has_own_inodes = not (mount.makes_up_inodes or other.makes_up_inodes)
        is_alike = (_are_equal(own, answer, is_one_server)
                    or (is_changing and _differ_in_time(own, answer)) if has_own_inodes
                    else is_one_server and answer.facts is not None)
        if is_alike:
            same = same_file.index(table).spellings(other, other_path)
            (certain if is_one_server and has_own_inodes else lookalikes).extend(same)
    return tuple(certain), tuple(lookalikes)


def handle_probe(mount: Mount, path: str) -> probe.HandleProbe:
    """Return the probe for what the server knows a file by."""
    return probe.HandleProbe(mount.mount_point, mount.below(path) or '', share=mount.share,
                             has_handles=not mount.may_change_handles, is_ceph=mount.is_ceph)


def _facts(files: list[tuple[Mount, str]], prober: probe.Prober,
           deadline: Deadline) -> list[_HandleAnswer]:
    return prober.probe_all([handle_probe(mount, path) for mount, path in files], deadline)


def _are_equal(one: _HandleAnswer, other: _HandleAnswer, is_one_server: bool) -> bool:
    if one.facts is None or other.facts is None:
        return False
    if one.facts.handle is not None:
        return one.facts.handle == other.facts.handle
    if is_one_server:
        return other.facts.handle is None and one.facts.ino == other.facts.ino
    return one.facts.directory is not None and one.facts == other.facts


def _differ_in_time(one: _HandleAnswer, other: _HandleAnswer) -> bool:
    """Whether nothing but the time of the directory's last change is different."""
    if one.facts is None or other.facts is None:
        return False
    directory, other_directory = one.facts.directory, other.facts.directory
    if directory is None or other_directory is None or one.facts.ino != other.facts.ino:
        return False
    return directory[0] == other_directory[0] and directory != other_directory


def resolved_paths(paths: Iterable[str], *, prober: probe.Prober,
                   deadline: Deadline | None = None) -> tuple[str, ...]:
    """Return where paths lead without symlinks, also where nothing is there any more.

    For detaching a volume whose file is gone, or none that may be attached any more; it may have
    been at the end of a path, or at what is a symlink there now. Paths on shares that do not answer
    are left out. Of paths that the mount table shows to be one file, one is probed.
    """
    table = _table()
    index = same_file.index(table)
    probes: dict[object, tuple[str, Hashable]] = {}
    for path in paths:
        mount = table.covering(path)
        location = None if mount is None else index.location(mount, path)
        probes.setdefault(location or path, (path, None if mount is None else mount.share))
    asked = [(probe.PathProbe(part, share=share), rest) for path, share in probes.values()
             for part, rest in ((path, ''), os.path.split(path))]
    answers = prober.probe_all([request for request, _ in asked], deadline)
    found = [os.path.normpath(os.path.join(answer.facts.whole_path, rest) if rest
                              else answer.facts.whole_path)
             for (_, rest), answer in zip(asked, answers, strict=True)
             if answer.facts is not None and '..' not in answer.facts.rest]
    return tuple(dict.fromkeys(one for path in found for one in spellings_of(path)))


def _table() -> MountTable:
    """Return the mount table, empty where it cannot be read: the paths that are known remain."""
    try:
        return mount_table.table()
    except exceptions.FileIOConnectorError as err:
        LOG.warning('Other paths of the same file are not known: %s', err)
        return MountTable()
