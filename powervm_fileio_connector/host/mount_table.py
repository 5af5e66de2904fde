# SPDX-License-Identifier: Apache-2.0
"""The host's mount table: what is mounted where, and whether it answers.

The table is the kernel's own and is read without touching any share. Only :func:`state` looks at a
mount, through a prober.
"""

from __future__ import annotations

import dataclasses
import enum
import errno
import functools
import os
import re
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from powervm_fileio_connector import export as export_module
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host import probe

# Of this thread, not of the process: threads may have mount namespaces of their own.
_TABLE = '/proc/thread-self/mountinfo'

# File systems that the kernel makes up. A file there is no volume, whatever it looks like. tmpfs
# and ramfs hold real data and are not among them.
PSEUDO_FILE_SYSTEMS = frozenset((
    'apparmorfs', 'autofs', 'binder', 'binfmt_misc', 'bpf', 'cgroup', 'cgroup2', 'configfs',
    'cpuset', 'debugfs', 'devpts', 'devtmpfs', 'dlmfs', 'efivarfs', 'functionfs', 'fusectl',
    'hugetlbfs', 'ibmasmfs', 'mqueue', 'nfsd', 'nsfs', 'oprofilefs', 'pipefs', 'proc', 'pstore',
    'pvfs2_dev', 'resctrl', 'rpc_pipefs', 'securityfs', 'selinuxfs', 'smackfs', 'sockfs', 'spufs',
    'sysfs', 'tracefs', 'usbfs', 'xenfs'))

# How a file system says that it is cut off from its server: NFS and GPFS (ESTALE), FUSE without its
# daemon (ENOTCONN, ECONNABORTED), CIFS (EHOSTDOWN), and any of them after an I/O error.
STALE_ERRORS = frozenset((
    errno.ESTALE, errno.ENOTCONN, errno.ECONNABORTED, errno.ESHUTDOWN, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.EIO, errno.EREMOTEIO, errno.ENXIO, errno.ENODEV))

# A soft NFS mount gives up by itself before our deadline.
HUNG_ERRORS = frozenset((errno.ETIMEDOUT,))


@dataclasses.dataclass(frozen=True)
class Mount:
    """One line of the mount table.

    :ivar root: what of the file system is mounted here; ``/`` is all of it
    :ivar device: ``major:minor`` of the file system
    """

    id: int
    parent_id: int
    device: str
    root: str
    mount_point: str
    fstype: str
    # Either may carry a password, hence no repr; see source_shown.
    source: str = dataclasses.field(repr=False)
    options: frozenset[str] = dataclasses.field(repr=False)

    @property
    def source_shown(self) -> str:
        """The source without any password, for messages and logs."""
        return export_module.redact(self.source)

    @property
    def is_read_only(self) -> bool:
        """Whether the mount, or the file system behind it, is mounted read-only."""
        return 'ro' in self.options

    @property
    def is_whole(self) -> bool:
        """Whether this is all of what the source names, not a directory of it bound here."""
        return self.root == '/'

    def shows(self, export: str) -> bool:
        """Whether its source is the export, however that is spelled."""
        return export_module.normal(self.source) == export_module.normal(export)

    def below(self, path: str) -> str | None:
        """Return ``path`` relative to the mount point; None unless it is strictly below."""
        return relative(path, self.mount_point)

    def __str__(self) -> str:
        return f'{self.source_shown} ({self.fstype}) on {self.mount_point}'


class MountState(enum.Enum):
    """What a look at a mount found."""

    HEALTHY = 'healthy'
    HUNG = 'hung'
    STALE = 'stale'
    ABSENT = 'absent'
    READ_ONLY = 'read-only'
    WRONG = 'wrong'


@dataclasses.dataclass(frozen=True)
class Health:
    """The state of an export or directory, and how long it took to find out."""

    state: MountState
    mount: Mount | None
    took_s: float


def table() -> tuple[Mount, ...]:
    """Return the mounts that can be reached, in the kernel's order.

    A mount that another one covers, at its own mount point or further up, is left out: a path never
    leads there.
    """
    with open(_TABLE, 'rb') as file:
        return parse(file.read())


@functools.lru_cache(maxsize=2)
def parse(text: bytes) -> tuple[Mount, ...]:
    """Return the mounts that can be reached of a whole table, as in ``/proc/self/mountinfo``."""
    mounts = [_parse_line(line) for line in text.split(b'\n') if line]
    ids = {mount.id for mount in mounts}
    # By where they are attached; the later of two at the same place is what a path meets.
    attached = {(mount.parent_id if mount.parent_id in ids and mount.parent_id != mount.id else 0,
                 mount.mount_point): mount for mount in mounts}
    return tuple(mount for mount in mounts if _reached(attached, mount.mount_point) is mount)


def covering(mounts: Iterable[Mount], path: str) -> Mount | None:
    """Return the mount that an absolute path without symlinks lies on, by the table alone."""
    return max((mount for mount in mounts
                if mount.mount_point == path or mount.below(path) is not None),
               key=lambda mount: len(mount.mount_point), default=None)


def root(mounts: Iterable[Mount]) -> Mount | None:
    """Return the mount of the root file system."""
    return covering(mounts, '/')


def state(prober: probe.Prober, mount: Mount | None, export: str | None = None,
          deadline: Deadline | None = None) -> Health:
    """Look at a mount and say how it is, within the deadline.

    :param mount: as found in the table, or None where nothing is mounted
    :param export: what should be mounted there, if that is known
    """
    if mount is None:
        return Health(MountState.ABSENT, None, 0.0)
    answer = prober.probe(probe.PathProbe(mount.mount_point), deadline)
    return Health(_judge(answer, mount, export), mount, answer.took_s)


def _judge(answer: probe.Answer[Any], mount: Mount, export: str | None) -> MountState:
    if answer.is_hung or answer.failure or answer.errno in HUNG_ERRORS:
        return MountState.HUNG
    if answer.errno in STALE_ERRORS:
        return MountState.STALE
    if mount.fstype == 'autofs':
        return MountState.ABSENT
    if answer.mount_id != mount.id or not (
            export is None or mount.fstype.startswith('fuse.')
            or mount.shows(export)):
        return MountState.WRONG
    return MountState.READ_ONLY if mount.is_read_only else MountState.HEALTHY


def _parse_line(line: bytes) -> Mount:
    # proc_pid_mountinfo(5); the optional fields before the hyphen vary in number.
    fields, _, rest = line.partition(b' - ')
    mount_id, parent_id, device, root_, mount_point, options, *_ = fields.split(b' ')
    fstype, source, super_options, *_ = [*rest.split(b' '), b'', b'']
    return Mount(
        id=int(mount_id), parent_id=int(parent_id), device=device.decode(), root=_unescape(root_),
        mount_point=_unescape(mount_point), fstype=_unescape(fstype), source=_unescape(source),
        options=frozenset(_unescape(options + b',' + super_options).split(',')))


def _unescape(field: bytes) -> str:
    """Undo the kernel's octal escapes, of blank, tab, newline, backslash and hash."""
    return os.fsdecode(re.sub(rb'\\([0-7]{3})', lambda match: bytes((int(match[1], 8),)), field))


def _reached(attached: Mapping[tuple[int, str], Mount], path: str) -> Mount | None:
    """Return the mount that a path ends on, going from mount to mount as the kernel does."""
    current = None
    parts = path.rstrip('/').split('/')
    for end in range(1, len(parts) + 1):
        prefix = '/'.join(parts[:end]) or '/'
        while upper := attached.get((current.id if current else 0, prefix)):
            current = upper
    return current


def relative(path: str, directory: str) -> str | None:
    """Return ``path`` relative to ``directory``; None unless it is strictly below."""
    prefix = directory.rstrip('/') + '/'
    return path[len(prefix):] if path.startswith(prefix) and path != prefix else None
