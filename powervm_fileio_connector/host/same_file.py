# SPDX-License-Identifier: Apache-2.0
"""Which mounts show the same file: by the mount table alone, without touching any share.

Where the source of a mount carries a directory (``host:/dir``, ``//host/share/dir``,
``user@fsid.fs=/dir``), server and directory tell what is mounted. Kernel NFS shows the root ``/``
for every mount, so ``nas1:/vols`` and ``nas1:/vols/cinder`` nest by their sources alone. The same
device number means the same server, whatever its names. Every other file system is told by its
device number, and by which directory of it is mounted.
"""

from __future__ import annotations

import collections
import contextlib
import functools
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Hashable
from collections.abc import Iterable
from typing import Any
from typing import TypeVar

from powervm_fileio_connector.host.mount import DELETED
from powervm_fileio_connector.host.mount import Mount
from powervm_fileio_connector.host.mount_table import MountTable
from powervm_fileio_connector.volume import UNSENDABLE

# Their kernel shows the source of the first mount for each further one of the same server.
_WITH_SHARED_NAMES = frozenset(('nfs', 'nfs4', 'cifs', 'smb3'))
# Its inode numbers are made of random UUIDs, so that they are of the whole volume.
_GLUSTER = 'fuse.glusterfs'
# Those whose files have a handle, or at least an inode number, which comes from the server.
_WITH_SERVER_FACTS = frozenset(('nfs', 'nfs4', 'cifs', 'smb3', 'ceph', 'lustre', _GLUSTER))

_MOST_REMEMBERED = 4096

_T = TypeVar('_T')


class SameFiles:
    """An index of a mount table by what is mounted; made in one pass over it.

    Servers are told by groups: mounts of one group are of the same server, whatever its names.
    """

    def __init__(self, table: MountTable) -> None:
        self._table = table
        self._at: dict[tuple[str, str], list[Mount]] = collections.defaultdict(list)
        # Those without, and those with further mounts on them, which may cover what is asked for.
        self._plain: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
        self._carrying: dict[tuple[str, str], list[Mount]] = collections.defaultdict(list)
        self._with_facts: dict[str, dict[str, Mount]] = collections.defaultdict(dict)
        self._devices = collections.Counter(mount.device for mount in table)
        self._ceph_clients = {mount.device: mount.is_fuse for mount in table if mount.is_ceph}
        self._leaders: dict[str, str] = {}
        self._groups: dict[str, set[str]] = collections.defaultdict(set)
        self._remembered: dict[Hashable, Any] = {}
        self._probed: set[str] = set()
        whole_shares = {mount.device for mount in table if mount.starts_at_share}
        self._locations = {mount.id: mount.location_in_share if mount.device in whole_shares
                           else mount.location for mount in table}
        for mount in table:
            name, _ = self._locations[mount.id]
            if name is not None:
                self._join(mount.device, f'{name} {mount.port} {mount.file_system}')
        self._group = {device: self._leader(device) for device in self._devices}
        for mount in table:
            self._add(mount, self._group[mount.device], *self._locations[mount.id])

    def remember(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """Return what depends on the table and a key alone, made once for each key."""
        # Another thread may empty it at any time.
        with contextlib.suppress(KeyError):
            return self._remembered[key]
        made = make()
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = made
        return made

    def probed(self, *paths: str) -> Collection[str]:
        """Add paths at which a probe found a file; return all of them since the table changed.

        What is mounted has not changed since then, so that none of them has lost its mount.
        """
        if len(self._probed) >= _MOST_REMEMBERED:
            self._probed = set()
        self._probed.update(paths)
        return self._probed

    def of(self, location: tuple[str, str]) -> list[Mount]:
        """Return the mounts that show exactly a directory of a server, in the table's order.

        :param location: as :func:`export.server_and_directory` returns it
        """
        server, directory = location
        return [mount for group in sorted(self._groups.get(server, ()))
                for mount in self._at.get((group, directory), ())]

    def location(self, mount: Mount, path: str) -> tuple[str, str] | None:
        """Return the group of the server and the path there of what is at a path on a mount."""
        _, root = self._locations[mount.id]
        if path == mount.mount_point:
            inside = root
        else:
            below = mount.below(path)
            if below is None:
                return None
            inside = f'{root.rstrip("/")}/{below}'
        return self._group[mount.device], inside

    def spellings(self, mount: Mount, path: str) -> tuple[str, ...]:
        """Return all paths of what is at ``path`` on ``mount``, that one first."""
        found = [path]
        location = self.location(mount, path)
        if location is None:
            return (path,)
        group, inside = location
        for directory, rest in _splits(inside):
            key = group, directory
            found += [place + rest for place in self._plain.get(key, ())]
            found += [spelling for other in self._carrying.get(key, ())
                      if self._table.covering(
                          spelling := other.mount_point.rstrip('/') + rest) is other]
        return tuple(dict.fromkeys(found))

    def by_mounts_of_their_own(self, path: str) -> list[str]:
        """Return the paths of what is mounted at a path, a bound file, where nothing is mounted."""
        mount = self._table.at(path)
        return [] if mount is None else [
            one for one in self.spellings(mount, path) if self._table.at(one) is None]

    def under_other_names(self, mount: Mount, path: str) -> list[tuple[Mount, str]]:
        """Return where the same path of what may be the same server can be reached.

        One mount for each device; only where facts of the server can tell whether it is one file.
        """
        location = None
        if mount.fstype in _WITH_SERVER_FACTS:
            location = self.location(mount, path)
        if location is None:
            return []
        group, inside = location
        found = {}
        for directory, rest in _splits(inside):
            for device, other in self._with_facts.get(directory, {}).items():
                spelling = other.mount_point.rstrip('/') + rest
                if (self._group[device] != group and device not in found
                        and self._table.covering(spelling) is other):
                    found[device] = other, spelling
        return list(found.values())

    def shows(self, mount: Mount, location: tuple[str, str]) -> bool:
        """Whether a mount shows exactly a directory of a server; see :meth:`of`."""
        server, directory = location
        return (self._locations[mount.id][1] == directory
                and self._group[mount.device] in self._groups.get(server, ()))

    def are_of_one_server(self, one: Mount, other: Mount) -> bool:
        """Whether two mounts are of one server, by name or address, that tells of its files."""
        return (one.fstype in _WITH_SERVER_FACTS and other.fstype in _WITH_SERVER_FACTS
                and (self._group[one.device] == self._group[other.device]
                     or agree_on_server(one, other)))

    def may_be_of_one_server(self, one: Mount, other: Mount) -> bool:
        """Whether the facts of two files may show that they are one, on these two mounts."""
        return self.are_of_one_server(one, other) or (one.is_ceph and other.is_ceph)

    def may_be_on_others(self, mount: Mount) -> bool:
        """Whether another mount may show its files at paths that the table does not tell.

        The directory that ceph-fuse has mounted is not known.
        """
        return (mount.is_ceph and len(self._ceph_clients) > 1
                and any(self._ceph_clients.values()))

    def may_share_inode(self, one: tuple[Mount, str], other: tuple[Mount, str]) -> bool:
        """Whether equal inode numbers mean one file, at two paths of one server without handles.

        The paths have to show that both lie on one file system there: case makes no difference.
        """
        places = [self.location(*one), self.location(*other)]
        insides = [place[1].casefold() for place in places if place is not None]
        if one[0].fstype == other[0].fstype == _GLUSTER:
            insides = [inside.split('/')[1] for inside in insides]
        return len(insides) == 2 and insides[0] == insides[1]

    def may_have_another_name(self, mount: Mount) -> bool:
        """Whether the kernel may show another name of the server than was given to mount it."""
        return mount.fstype in _WITH_SHARED_NAMES and self._devices[mount.device] > 1

    def is_directory(self, mount: Mount, directory: str) -> bool:
        """Whether a mount shows a directory of its server, whatever the server's name."""
        server, shown = self._locations[mount.id]
        return server is not None and shown == directory

    def _add(self, mount: Mount, group: str, name: str | None, directory: str) -> None:
        if mount.fstype != 'autofs':        # which names what it will mount, some day
            self._at[group, directory].append(mount)
        if self._table.has_mounts_below(mount):
            self._carrying[group, directory].append(mount)
        else:
            self._plain[group, directory].append(mount.mount_point.rstrip('/'))
        if name is None:
            return
        self._groups[name].add(group)
        if mount.fstype in _WITH_SERVER_FACTS:
            self._with_facts[directory].setdefault(mount.device, mount)
            if mount.address:
                as_smb = '//' if name.startswith('//') else ''      # as its servers are named here
                self._groups[as_smb + mount.address].add(group)

    def _leader(self, name: str) -> str:
        """Return the name that stands for all names of the same server."""
        leaders = self._leaders
        while (upper := leaders.setdefault(name, name)) != name:
            leaders[name] = leaders[upper]      # the way becomes shorter each time that it is gone
            name = upper
        return name

    def _join(self, device: str, name: str) -> None:
        # Below the name, so that a server with thousands of devices makes no chain of them.
        self._leaders[self._leader(device)] = self._leader(name)


@functools.lru_cache(maxsize=2)
def index(table: MountTable) -> SameFiles:
    """Return the index of a table, which is made once."""
    return SameFiles(table)


def distinct(mounts: Iterable[Mount]) -> list[Mount]:
    """Return one mount for each device, root and source: a probe of one tells of all.

    One that is writable is preferred to a read-only one, and then one whose path can be sent to
    NovaLink.
    """
    def drawbacks(mount: Mount) -> tuple[bool, bool]:
        return mount.is_read_only, UNSENDABLE.search(mount.mount_point) is not None

    found: dict[tuple[str, str, str], Mount] = {}
    for mount in mounts:
        key = mount.share
        if key not in found or drawbacks(mount) < drawbacks(found[key]):
            found[key] = mount
    return list(found.values())


def agree_on_server(one: Mount, other: Mount) -> bool:
    """Whether two mounts name the same address of a server."""
    return one.address is not None and (one.address, one.port) == (other.address, other.port)


def _splits(path: str) -> list[tuple[str, str]]:
    """Return each directory of a path, innermost first, with the rest of the path after it."""
    splits = [(path, '')]
    end = -1 if path.endswith(DELETED) else path.rfind('/')
    while end >= 0:
        splits.append((path[:end] or '/', path[end:]))
        end = path.rfind('/', 0, end)
    return splits
