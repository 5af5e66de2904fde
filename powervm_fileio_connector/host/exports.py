# SPDX-License-Identifier: Apache-2.0
"""Which mounts show an export, and which show the same place: by the mount table alone."""

from __future__ import annotations

import os
from collections.abc import Iterable

from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host.mount_table import Mount


def conventional_places(export_hash: str, bases: Iterable[str | None]) -> tuple[str, ...]:
    """Return where Nova and Cinder mount an export, below each of their bases."""
    return tuple(dict.fromkeys(os.path.normpath(os.path.join('/', base, export_hash))
                               for base in bases if base))


def of_export(table: Iterable[Mount], export: str, places: Iterable[str]) -> list[Mount]:
    """Return the mounts of a whole export, those at its conventional places first.

    There alone, FUSE file systems count whatever their source: they show one of their own.
    """
    order = {place: number for number, place in enumerate(places)}
    found = [mount for mount in table if mount.is_whole and (
        mount.shows(export)
        or (mount.mount_point in order and mount.fstype.startswith('fuse.')))]
    return sorted(found, key=lambda mount: order.get(mount.mount_point, len(order)))


def same_place(table: Iterable[Mount], mount: Mount, path: str) -> tuple[str, ...]:
    """Return the other paths of what is at ``path`` on ``mount``, as the table alone tells.

    Bind mounts show the same place of the same file system, and so does every further mount of a
    network export.
    """
    below = mount.below(path)
    if below is None:
        return ()
    table = tuple(table)
    inside = os.path.join(mount.root, below)
    spellings = []
    for other in table:
        relative = mount_table.relative(inside, other.root)
        if relative is not None and _is_same_file_system(mount, other):
            spelling = os.path.join(other.mount_point, relative)
            if spelling != path and mount_table.covering(table, spelling) is other:
                spellings.append(spelling)
    return tuple(spellings)


def _is_same_file_system(one: Mount, other: Mount) -> bool:
    # NFS shares one superblock, and so one device, between exports of a server, and shows root '/'
    # for each: there the source decides. Local disks have several names, but one device.
    if one.shows(other.source):
        return one.device == other.device or _is_remote(one.source)
    return one.device == other.device and not (_is_remote(one.source) or _is_remote(other.source))


def _is_remote(source: str) -> bool:
    return ':/' in source or source.startswith('//')
