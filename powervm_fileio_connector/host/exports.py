# SPDX-License-Identifier: Apache-2.0
"""Which mounts show a whole export: by the mount table alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from powervm_fileio_connector import export as export_module
from powervm_fileio_connector.host import same_file
from powervm_fileio_connector.host.mount import Mount
from powervm_fileio_connector.host.mount_table import MountTable

# A list of them, with or without ports; as the server of a source is written.
_ADDRESSES = re.compile(r'[0-9a-f.:,\[\]]+')


def conventional_places(export_hash: str, bases: Iterable[str | None]) -> tuple[str, ...]:
    """Return where Nova and Cinder mount an export, below each of their bases."""
    return tuple(dict.fromkeys(os.path.normpath(os.path.join('/', base, export_hash))
                               for base in bases if base))


def of_export(table: MountTable, export: str, places: Iterable[str],
              last_places: Iterable[str] = ()) -> tuple[Mount, ...]:
    """Return the mounts of a whole export: at its places, then elsewhere, then at ``last_places``.

    At a place of it alone, whole FUSE file systems count whatever their source, which is of their
    own making, if root or the caller has mounted them. An export that names no directory of a
    server is found at its places only. Of several mounts of the same device, root and source one
    is returned, since a probe of it tells of all.
    """
    places, last_places, caller = tuple(places), tuple(last_places), str(os.geteuid())
    return same_file.index(table).remember(
        (export, places, last_places, caller),
        lambda: tuple(_of_export(table, export, places, last_places, caller)))


def under_other_name(table: MountTable, export: str) -> Mount | None:
    """Return a mount of the export's directory, of a server whose name is another one."""
    location = export_module.server_and_directory(export)
    if location is None:
        return None
    index = same_file.index(table)
    return next((mount for mount in table if index.is_directory(mount, location[1])
                 and index.may_have_another_name(mount)), None)


def _of_export(table: MountTable, export: str, places: tuple[str, ...],
               last_places: tuple[str, ...], caller: str) -> list[Mount]:
    if export_module.names_nothing(export):
        return []
    location = export_module.server_and_directory(export)
    by_source = [] if location is None else [
        mount for mount in same_file.index(table).of(location) if _is_trusted(mount, caller)]

    def at(some: tuple[str, ...]) -> list[Mount]:
        mounts = [table.at(place) for place in some]
        return [mount for mount in mounts if mount is not None and mount.fstype != 'autofs'
                and _is_at_its_place(table, mount, export, location, caller)]

    elsewhere = [mount for mount in by_source if mount.mount_point not in last_places]
    return same_file.distinct([*at(places), *elsewhere, *at(last_places)])


def _is_trusted(mount: Mount, caller: str) -> bool:
    """Whether root or the caller has mounted it: anybody may mount a FUSE, and say what it is."""
    return not mount.is_fuse or mount.option('user_id') in (None, '0', caller)


def _is_at_its_place(table: MountTable, mount: Mount, export: str,
                     location: tuple[str, str] | None, caller: str) -> bool:
    if not _is_trusted(mount, caller):
        return False
    if mount.is_fuse and mount.root == '/':
        return True
    if location is None:
        return mount.root == '/' and export_module.are_same(mount.source, export)
    # The first mount of a server names it for all further ones: the place is all that tells.
    index = same_file.index(table)
    return index.shows(mount, location) or (
        index.is_directory(mount, location[1])
        and (index.may_have_another_name(mount) or _is_resolved(mount, location[0])))


def _is_resolved(mount: Mount, server: str) -> bool:
    """Whether a mount shows addresses where the server's name was given.

    mount.ceph (seen with 16.2) resolves the names of monitors, or finds their addresses.
    """
    shown, _ = mount.location
    return (mount.fstype == 'ceph' and shown is not None
            and _ADDRESSES.fullmatch(shown) is not None and _ADDRESSES.fullmatch(server) is None)
