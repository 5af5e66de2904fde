# SPDX-License-Identifier: Apache-2.0
"""One mount of the host: what its line in the mount table tells."""

from __future__ import annotations

import dataclasses
import functools
import re

from powervm_fileio_connector import export as export_module

DELETED = '//deleted'
"""Ends the root of a bind mount whose file or directory has been deleted."""

_NFS_PORT = '2049'


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
        return unescape(rest.partition(',')[0]) if found else None

    def below(self, path: str) -> str | None:
        """Return ``path`` relative to the mount point; None unless it is strictly below."""
        return relative(path, self.mount_point)

    def is_same_as(self, other: Mount) -> bool:
        """Whether two tables name the same file system, mounted in the same way and place."""
        return (self.mount_point, self.fstype, self.source, self.root) == (
            other.mount_point, other.fstype, other.source, other.root)

    def __str__(self) -> str:
        return f'{export_module.redact(self.source)} ({self.fstype}) on {self.mount_point}'


def relative(path: str, directory: str) -> str | None:
    """Return ``path`` relative to ``directory``; None unless it is strictly below."""
    prefix = directory.rstrip('/') + '/'
    return path[len(prefix):] if path.startswith(prefix) and path != prefix else None


def unescape(field: str) -> str:
    """Undo the kernel's octal escapes, of blank, tab, newline, backslash and hash."""
    if '\\' not in field:
        return field
    return re.sub(rb'\\([0-3][0-7]{2})', lambda match: bytes((int(match[1], 8),)),
                  field.encode('utf-8', 'surrogateescape')).decode('utf-8', 'surrogateescape')
