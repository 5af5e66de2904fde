# SPDX-License-Identifier: Apache-2.0
"""The host's mount table: what is mounted where. It is read without touching any share."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping

from oslo_log import log as logging

from powervm_fileio_connector import export as export_module
from powervm_fileio_connector.host import table_watch

LOG = logging.getLogger(__name__)

DELETED = '//deleted'
"""Ends the root of a bind mount whose file or directory has been deleted."""

_NFS_PORT = '2049'
_MOST_LINES = 1 << 14   # that are kept parsed: most of a table that changed are as they were


@dataclasses.dataclass(frozen=True)
class Mount:
    """One line of the mount table.

    :ivar root: what of the file system is mounted here; ``/`` is all of it
    :ivar device: ``major:minor`` of the file system
    :ivar options: of the mount, then of the file system; escaped, as the kernel writes them
    """

    id: int
    parent_id: int
    device: str
    root: str
    mount_point: str
    fstype: str
    # Either may carry a password, hence no repr; see __str__.
    source: str = dataclasses.field(repr=False)
    options: str = dataclasses.field(repr=False)

    @property
    def share(self) -> tuple[str, str, str]:
        """What a probe of the mount tells about: mounts of one are probed once, or in turn."""
        return self.device, self.root, self.source

    @property
    def is_read_only(self) -> bool:
        """Whether the mount, or the file system behind it, is mounted read-only."""
        return ',ro,' in f',{self.options},'

    @property
    def is_fuse(self) -> bool:
        """Whether a process serves it; new versions of libfuse name no subtype."""
        return self.fstype == 'fuse' or self.fstype.startswith('fuse.')

    @property
    def is_ceph(self) -> bool:
        """Whether it is CephFS, by whichever client.

        ceph-fuse shows neither a server nor which directory is mounted; its source and subtype are
        so unless told otherwise.
        """
        return self.fstype in ('ceph', 'fuse.ceph', 'fuse.ceph-fuse') or (
            self.is_fuse and self.source == 'ceph-fuse')

    @property
    def may_change_handles(self) -> bool:
        """Whether a file may get another handle while it stays the same.

        FUSE's kernel makes one of a number that the file system gives a file only for as long as
        the file is in the kernel's cache.
        """
        return self.is_fuse or self.fstype in ('fuseblk', 'virtiofs')

    @property
    def is_soft(self) -> bool:
        """Whether it gives up on its server, with EIO, rather than wait for it."""
        options = f',{self.options},'
        return ',soft,' in options or ',softerr,' in options

    @property
    def makes_up_inodes(self) -> bool:
        """Whether inode numbers are this host's own, and not those of the server.

        That is CIFS with ``noserverino``, which Linux also sets by itself, and does not show.
        """
        return self.fstype in ('cifs', 'smb3') and ',serverino,' not in f',{self.options},'

    @functools.cached_property
    def location(self) -> tuple[str | None, str]:
        """The name of the server, if the source has one, and the directory of it that is mounted.

        Without a server, it is the directory of the file system.
        """
        named = export_module.server_and_directory(self.source)
        if named is None or self.root.endswith(DELETED):
            return None, self.root
        server, directory = named
        if self.root == '/':
            return named
        if self.starts_at_share:
            return self.location_in_share
        return server, export_module.single_slashes(directory + self.root)

    @functools.cached_property
    def starts_at_share(self) -> bool:
        """Whether the root of a CIFS mount repeats the directory that its source names.

        Then the file system is the whole share, and the roots of all its mounts are counted from
        there, although each shows the source of the first one.
        """
        if not self.source.startswith('//') or self.root == '/':
            return False
        named = export_module.server_and_directory(self.source)
        below = '' if named is None else named[1].lstrip('/').partition('/')[2]
        return bool(below) and f'{self.root}/'.startswith(f'/{below}/')

    @property
    def location_in_share(self) -> tuple[str | None, str]:
        """The server of a CIFS mount, and the share with the root counted from there."""
        server, directory = export_module.server_and_directory(self.source) or (None, '/')
        share = directory.lstrip('/').partition('/')[0]
        return server, export_module.single_slashes(f'/{share}{self.root}')

    @functools.cached_property
    def address(self) -> str | None:
        """The address of the server."""
        return self.option('addr')

    @functools.cached_property
    def port(self) -> str | None:
        """The port of the server; None is the usual one."""
        port = self.option('port')
        return None if port == _NFS_PORT else port

    @functools.cached_property
    def file_system(self) -> str | None:
        """Which one of a Ceph cluster, where ``host:/dir`` names the cluster only; None: its own.

        As Linux 6.1 shows it, also where mount.ceph was given ``fs``. Numbers of files begin anew
        in each file system.
        """
        return self.option('mds_namespace')

    def option(self, name: str) -> str | None:
        """Return the value of the option ``name=value``; None where it is not there."""
        _, found, rest = f',{self.options}'.partition(f',{name}=')
        return _unescape(rest.partition(',')[0]) if found else None

    def below(self, path: str) -> str | None:
        """Return ``path`` relative to the mount point; None unless it is strictly below."""
        return relative(path, self.mount_point)

    def is_same_as(self, other: Mount) -> bool:
        """Whether two tables name the same file system, mounted in the same way and place."""
        return (self.mount_point, self.fstype, self.source, self.root) == (
            other.mount_point, other.fstype, other.source, other.root)

    def __str__(self) -> str:
        return f'{export_module.redact(self.source)} ({self.fstype}) on {self.mount_point}'


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


def relative(path: str, directory: str) -> str | None:
    """Return ``path`` relative to ``directory``; None unless it is strictly below."""
    prefix = directory.rstrip('/') + '/'
    return path[len(prefix):] if path.startswith(prefix) and path != prefix else None


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
        id=int(mount_id), parent_id=int(parent_id), device=device, root=_unescape(root),
        mount_point=_unescape(mount_point), fstype=_unescape(fstype), source=_unescape(source),
        options=f'{options},{super_options}')


def _unescape(field: str) -> str:
    """Undo the kernel's octal escapes, of blank, tab, newline, backslash and hash."""
    if '\\' not in field:
        return field
    return re.sub(rb'\\([0-3][0-7]{2})', lambda match: bytes((int(match[1], 8),)),
                  field.encode('utf-8', 'surrogateescape')).decode('utf-8', 'surrogateescape')


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
