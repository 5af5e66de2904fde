# SPDX-License-Identifier: Apache-2.0
"""The host's mount table: what is mounted where. It is read without touching any share."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping

from oslo_log import log as logging

from powervm_fileio_connector.host import table_watch
from powervm_fileio_connector.host.mount import Mount
from powervm_fileio_connector.host.mount import unescape

LOG = logging.getLogger(__name__)

_MOST_LINES = 1 << 14   # that are kept parsed: most of a table that changed are as they were


class MountTable:
    """The mounts that can be reached, in the kernel's order, found by place or id.

    A mount that another one covers, at its own mount point or further up, is left out: a path never
    leads there. A root directory that is no mount point, as after ``chroot``, has no entry.

    :ivar with_covered: all mounts: one that is covered goes on using its device
    """

    def __init__(self, mounts: Iterable[Mount] = ()) -> None:
        mounts = list(mounts)
        self.with_covered = tuple(mounts)
        self._mounts = _reachable(mounts)
        self._autofs = frozenset(mount.id for mount in mounts if mount.fstype == 'autofs')
        self._by_place = {mount.mount_point: mount for mount in self._mounts}
        self._by_id = {mount.id: mount for mount in self._mounts}
        # Those that are covered as well: by what covers them.
        self._with_mounts_below = frozenset(mount.parent_id for mount in mounts)

    def __iter__(self) -> Iterator[Mount]:
        return iter(self._mounts)

    def __len__(self) -> int:
        return len(self._mounts)

    @property
    def root(self) -> Mount | None:
        """The mount of the root directory."""
        return self._by_place.get('/')

    def at(self, mount_point: str) -> Mount | None:
        """Return what is mounted at that very place."""
        return self._by_place.get(mount_point)

    def by_id(self, mount_id: int | None) -> Mount | None:
        """Return the mount with an id, as of this table: the kernel reuses ids."""
        return None if mount_id is None else self._by_id.get(mount_id)

    def covering(self, path: str) -> Mount | None:
        """Return the mount that an absolute path without symlinks lies on."""
        path = '/' + path.strip('/')
        while path:
            mount = self._by_place.get(path)
            if mount is not None:
                return mount
            path = path.rpartition('/')[0]
        return self._by_place.get('/')

    def is_automounted(self, mount: Mount) -> bool:
        """Whether autofs made a mount, and so may take it away and make it anew at any time."""
        return mount.parent_id in self._autofs

    def has_mounts_below(self, mount: Mount) -> bool:
        """Whether another mount lies on this one."""
        return mount.id in self._with_mounts_below


def table() -> MountTable:
    """Return the mount table of this thread.

    :raises MountNotResponding: this process has no descriptor or memory left to read it
    :raises ShareNotMounted: ``/proc`` is not mounted
    """
    return table_watch.current(parse)


@functools.lru_cache(maxsize=2)
def parse(text: bytes) -> MountTable:
    """Return a whole table, as in ``/proc/self/mountinfo``; a line that is none is left out."""
    mounts = []
    # The kernel's bytes are those of paths; NovaLink is sent text in UTF-8, whatever the locale.
    for line in text.decode('utf-8', 'surrogateescape').split('\n'):
        try:
            if line:
                mounts.append(_parse_line(line))
        except ValueError:
            LOG.warning('A line of the mount table is left out, since it has not the form that '
                        'proc(5) describes: %.60r', line)
    return MountTable(mounts)


@functools.lru_cache(maxsize=_MOST_LINES)
def _parse_line(line: str) -> Mount:
    """Take a line apart.

    :raises ValueError: it has not the form that proc_pid_mountinfo(5) describes
    """
    # The optional fields before the hyphen vary in number.
    fields, separator, rest = line.partition(' - ')
    mount_id, parent_id, device, root, mount_point, options, *_ = fields.split(' ')
    fstype, source, super_options, *_ = [*rest.split(' '), '', '']
    if not (separator and fstype and ':' in device and mount_point.startswith('/')):
        raise ValueError(line)
    return Mount(
        id=int(mount_id), parent_id=int(parent_id), device=device, root=unescape(root),
        mount_point=unescape(mount_point), fstype=unescape(fstype), source=unescape(source),
        options=f'{options},{super_options}')


def _reachable(mounts: list[Mount]) -> tuple[Mount, ...]:
    ids = {mount.id for mount in mounts}
    # By where they are attached; the later of two at the same place is what a path meets.
    attached = {(mount.parent_id if mount.parent_id in ids and mount.parent_id != mount.id else 0,
                 mount.mount_point): mount for mount in mounts}
    known: dict[str, Mount | None] = {}
    return tuple(mount for mount in mounts
                 if _reached(attached, mount.mount_point, known) is mount)


def _reached(attached: Mapping[tuple[int, str], Mount], path: str,
             known: dict[str, Mount | None]) -> Mount | None:
    """Return the mount that a path ends on, going from mount to mount as the kernel does.

    :param known: what was found out of other paths
    """
    todo = []
    while path not in known:
        todo.append(path)
        if path == '/':
            break
        path = path.rpartition('/')[0] or '/'
    current = known.get(path)
    for path in reversed(todo):
        for _ in attached:      # at most: a table may name a circle of parents
            upper = attached.get((current.id if current else 0, path))
            if upper is None:
                break
            current = upper
        known[path] = current
    return current
