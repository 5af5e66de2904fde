# SPDX-License-Identifier: Apache-2.0
"""Whether two hosts see the same file: what the source tells the destination, and the comparison.

A name is not enough: on another host the same path may be another export, an older copy, or a file
that somebody made where nothing is mounted. What a file is, is told by its number, where it comes
from a server, or a cluster, that the hosts share.
"""

from __future__ import annotations

import dataclasses
import json

from powervm_fileio_connector.host import finder
from powervm_fileio_connector.host.checks import LOCAL_FILE_SYSTEMS

# The inode number is the file server's own, or the cluster's: the same on every host.
_NUMBERED_BY_SERVER = frozenset(('nfs', 'nfs4', 'gpfs', 'ceph', 'lustre', 'gfs2', 'ocfs2'))

# No second host can have these mounted while the first one uses them.
_LOCAL = LOCAL_FILE_SYSTEMS | {'tmpfs', 'ramfs'}


@dataclasses.dataclass(frozen=True)
class FileIdentity:
    """What one host sees of a volume's file, as plain data.

    :ivar size: in bytes, as the guest sees it
    :ivar udid: as that host's NovaLink issues it, None where the file is not mapped
    :ivar kernel: which running kernel gave ``device`` and ``inode``
    """

    path: str
    size: int
    format: str
    fstype: str
    device: int
    inode: int
    kernel: str
    is_block_device: bool = False
    udid: str | None = None

    @classmethod
    def of(cls, found: finder.VolumeFile, udid: str | None = None) -> FileIdentity:
        """Describe a file that was found and judged."""
        device, inode = found.identity
        return cls(path=found.path, size=found.size, format=found.format, udid=udid,
                   fstype=found.mount.fstype, device=device, inode=inode, kernel=_kernel(),
                   is_block_device=found.is_block_device)

    def to_text(self) -> str:
        """Return it as text, which is all that Nova's migration data can carry."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_text(cls, text: str) -> FileIdentity:
        """Read what :meth:`to_text` wrote, also a later version of it."""
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in json.loads(text).items() if name in known})


def difference(source: FileIdentity, destination: FileIdentity,
               aliases: tuple[str, ...] = ()) -> str | None:
    """Say why the destination's file is not the source's; None: nothing tells them apart.

    :param aliases: other paths of the destination's file on its host
    """
    if source.path not in (destination.path, *aliases):
        # The platform carries the mapping over as it is, and finds the disk by its path.
        return (f'the source serves it as {source.path}, but here it is {destination.path}; it has '
                'to be mounted at the same place')
    if source.is_block_device != destination.is_block_device:
        return f'{source.path} is a file on one host and a block device on the other'
    if not source.is_block_device:
        reason = _other_file(source, destination)
        if reason is not None:
            return reason
    if source.format != destination.format:
        return f'{source.path} is {source.format} at the source, but {destination.format} here'
    if source.size != destination.size:
        return (f'{source.path} has {source.size} bytes at the source, but {destination.size} '
                'bytes here')
    return None


def _other_file(source: FileIdentity, destination: FileIdentity) -> str | None:
    path, types = source.path, {source.fstype, destination.fstype}
    if types <= _NUMBERED_BY_SERVER:
        if source.inode != destination.inode:
            return (f'{path} is file number {source.inode} of its file system at the source, but '
                    f'number {destination.inode} here: another file of the same name')
    elif source.kernel == destination.kernel:
        if (source.device, source.inode) != (destination.device, destination.inode):
            return f'{path} was replaced by another file since the source looked at it'
    elif types & _LOCAL:
        return (f'{path} lies on {source.fstype} at the source and on {destination.fstype} here, '
                'which hosts do not share')
    return None


def _kernel() -> str:
    with open('/proc/sys/kernel/random/boot_id', encoding='ascii') as boot_id:
        return boot_id.read().strip()
