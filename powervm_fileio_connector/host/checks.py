# SPDX-License-Identifier: Apache-2.0
"""The safety rules: whether a file that was found may be handed to an LPAR."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import re
import stat
from collections.abc import Callable
from collections.abc import Sequence

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import volume
from powervm_fileio_connector.conf import Settings
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host import failures
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.host.failures import ErrorContext
from powervm_fileio_connector.host.mount import Mount
from powervm_fileio_connector.host.mount import relative
from powervm_fileio_connector.host.mount_table import MountTable
from powervm_fileio_connector.volume import Kind
from powervm_fileio_connector.volume import VolumeSpec

_SECTOR = 512

# What LIO keeps of a path (target_core_file.h, FD_MAX_DEV_NAME), and tcmu-runner of its
# configuration string (target_core_user.h, TCMU_CONFIG_LEN, less "qcow/").
_MOST_BYTES = {'fileio': 255, volume.QCOW: 250}
# Ends the path in LIO's list of parameters, and in tcmu-runner's configuration.
_ENDS_PATH = {'fileio': ',\n', volume.QCOW: ',:\n'}

_TYPES = {stat.S_IFDIR: 'a directory (such as a Virtuozzo ploop image)', stat.S_IFIFO: 'a pipe',
          stat.S_IFCHR: 'a character device', stat.S_IFBLK: 'a block device',
          stat.S_IFSOCK: 'a socket', stat.S_IFLNK: 'a symlink'}

# File systems that the kernel makes up. A file there is no volume, whatever it looks like. tmpfs
# and ramfs hold real data and are not among them.
PSEUDO_FILE_SYSTEMS = frozenset((
    'apparmorfs', 'autofs', 'binder', 'binfmt_misc', 'bpf', 'cgroup', 'cgroup2', 'configfs',
    'cpuset', 'debugfs', 'devpts', 'devtmpfs', 'dlmfs', 'efivarfs', 'functionfs', 'fusectl',
    'hugetlbfs', 'ibmasmfs', 'mqueue', 'nfsd', 'nsfs', 'oprofilefs', 'pipefs', 'proc', 'pstore',
    'pvfs2_dev', 'resctrl', 'rpc_pipefs', 'securityfs', 'selinuxfs', 'smackfs', 'sockfs', 'spufs',
    'sysfs', 'tracefs', 'usbfs', 'xenfs'))

# File systems of this host's own disks, on which no file server or cluster keeps a volume.
LOCAL_FILE_SYSTEMS = frozenset((
    'ext2', 'ext3', 'ext4', 'xfs', 'btrfs', 'f2fs', 'jfs', 'reiserfs', 'bcachefs', 'zfs', 'overlay',
    'aufs', 'squashfs', 'erofs', 'iso9660', 'vfat', 'exfat', 'ntfs3'))

_EXPORT_HASH = re.compile('[0-9A-Fa-f]{32}')

IsTrusted = Callable[[str], bool]


@dataclasses.dataclass(frozen=True)
class Subject:
    """A file that was found, and all that decides whether it may be attached.

    :ivar may_be_block_device: whether the volume is of a kind that may be one; the options too
        have to allow it
    :ivar is_trusted: whether the deployer trusts the directory of a path; asked where it matters
    """

    table: MountTable
    mount: Mount
    context: ErrorContext
    settings: Settings
    kind: Kind
    backstore: str | None
    may_be_block_device: bool
    is_trusted: IsTrusted


def require_attachable(answer: probe.Answer[probe.FileFacts], subject: Subject) -> None:
    """Raise unless the file may be handed to an LPAR.

    :param answer: of the probe that found it
    """
    facts, context = answer.facts, subject.context
    assert facts is not None
    _check_text(context, subject.backstore)
    if stat.S_ISBLK(facts.mode):
        _check_block_device(facts, subject)
        return
    if not stat.S_ISREG(facts.mode):
        context.refuse(f'is {_TYPES.get(stat.S_IFMT(facts.mode), "of an unknown type")}, '
                       'not a regular file')
    _check_place(facts, subject)
    if subject.mount.is_read_only:
        raise exceptions.UnsupportedVolume(
            reason=f'{subject.mount} is mounted read-only, and NovaLink needs to write',
            remedy='Mount it read-write, then retry.', **context.fields)
    failures.require_access(answer, context)
    if facts.is_append_only:
        context.refuse('is append-only, so that not even root can open it to write to it',
                       remedy='Remove the attribute with chattr -a.')
    if facts.size < _SECTOR:
        context.refuse(f'has {facts.size} bytes, less than one sector ({_SECTOR} bytes)'
                       if facts.size else 'is empty')
    if facts.used_as:
        context.refuse(f'is used by this host itself, as {facts.used_as}')


def is_on_root(table: MountTable, mount: Mount, path: str) -> bool:
    """Whether a path on a mount lies on the root file system, be it bound elsewhere.

    Subvolumes of one btrfs share its device; those beside the root directory's are others.
    """
    root = table.root
    if root is None or mount.device != root.device:
        return False
    if mount.fstype != 'btrfs':
        return True
    inside = os.path.join(mount.root, mount.below(path) or '')
    return relative(inside.rstrip('/') + '/.', root.root) is not None


def is_unmounted(table: MountTable, mount: Mount, path: str,
                 is_trusted: IsTrusted) -> bool:
    """Whether a path leads to where nothing is mounted for volumes, and nobody trusts it."""
    return mount.fstype == 'autofs' or (
        is_on_root(table, mount, path) and not is_trusted(path))


def trust(settings: Settings, prober: probe.Prober,
          deadline: Deadline) -> IsTrusted:
    """Return a function that tells whether a path is below a trusted directory, links resolved.

    Directories are probed only for a path that is not below one of them as they are written.
    """
    given = [directory for directory in settings.trusted_directories if directory.startswith('/')]
    # Behind a symlink, '..' leads elsewhere than its text says.
    directories = [os.path.normpath(one) for one in given if '..' not in one.split('/')]

    resolved = functools.cache(lambda: _resolved(given, prober, deadline))

    def is_below(path: str, those: list[str]) -> bool:
        return any(relative(path, directory) is not None for directory in those)

    return lambda path: is_below(path, directories) or is_below(path, resolved())


def _resolved(directories: Sequence[str], prober: probe.Prober, deadline: Deadline) -> list[str]:
    """Return directories without symlinks, but for those that are not there or do not answer."""
    answers = prober.probe_all([probe.PathProbe(directory) for directory in directories],
                               deadline.half())
    return [answer.facts.path for answer in answers
            if answer.facts is not None and answer.errno is None]


def require_links_stay(table: MountTable, facts: probe.PathFacts, context: ErrorContext) -> None:
    """Raise where a symlink on a share leads out of it: any writer of the share may have made it.

    A link on a local disk is the deployer's, and may lead anywhere.
    """
    end = table.covering(facts.path)
    for on, target in facts.links:
        mount = table.by_id(on)
        # A target that was not reached leads at least as far as the path did.
        reached = target or (end.id if end is not None else 0)
        if mount is None or on == reached:
            continue
        is_deployers = (mount.fstype in LOCAL_FILE_SYSTEMS
                        or (table.root is not None and mount.device == table.root.device))
        if not is_deployers:
            context.refuse(f'passes a symlink that leads out of the mount {mount}')


def devices_of(mount: Mount) -> set[str]:
    """Return the numbers of the block devices that a mount uses, as far as the table tells.

    A bcachefs has a number of its own, and names all its devices; an XFS names those of its log and
    of its realtime data.
    """
    devices = {mount.device}
    parts: list[str | None] = []
    if mount.fstype == 'bcachefs':
        parts += mount.source.split(':')
    elif mount.fstype == 'xfs':
        parts += mount.option('logdev'), mount.option('rtdev')
    for part in parts:
        if part and part.startswith('/dev/'):
            name = os.path.basename(os.path.realpath(part))
            with contextlib.suppress(OSError), open(
                    f'/sys/class/block/{name}/dev', encoding='ascii') as number:
                devices.add(number.read().strip())
    return devices


def _check_text(context: ErrorContext, backstore: str | None) -> None:
    path = context.path
    if volume.UNSENDABLE.search(path):
        raise exceptions.UnsafeVolumePath(
            reason=f'path {path!r} cannot be sent to NovaLink', **context.fields)
    if path != path.rstrip():
        # By a symlink; what is given is checked on entry.
        raise exceptions.UnsafeVolumePath(
            reason=f'path {path!r} ends with a blank, which no NovaLink request keeps, so that it '
            'would serve another file', **context.fields)
    size = len(path.encode('utf-8', 'surrogateescape'))
    most = _MOST_BYTES.get(backstore or '')
    if most is not None and size > most:
        context.refuse(f'has {size} bytes; backstore {backstore} would cut it at {most}, and serve '
                       'another file', remedy='Use a shorter path, or backstore loop.')
    for character in _ENDS_PATH.get(backstore or '', ''):
        if character in path:
            context.refuse(f'contains {character!r}, at which backstore {backstore} would cut it, '
                           'and serve another file', remedy='Use another path, or backstore loop.')


def _check_place(facts: probe.FileFacts, subject: Subject) -> None:
    """Raise unless the file lies on a file system that is mounted for volumes like it."""
    mount, context = subject.mount, subject.context
    path = context.path
    if mount.fstype in PSEUDO_FILE_SYSTEMS:
        context.refuse(f'lies on {mount}, which holds no volumes')
    if (is_on_root(subject.table, mount, path) or facts.dev == facts.root_dev) and not (
            subject.is_trusted(path)):
        context.refuse('lies on the root file system, not on one mounted for volumes',
                       remedy='Mount the file system that should hold it, or list its directory in '
                              'the option trusted_directories.')
    if (subject.kind is not Kind.LOCAL and mount.fstype in LOCAL_FILE_SYSTEMS
            and not subject.is_trusted(path)):
        _raise_not_mounted(subject, f'{os.path.dirname(path)} lies on {mount}, a file system of a '
                           f'local disk, but the volume is kept by {subject.kind.value}')


def require_own_mount(spec: VolumeSpec, path: str, subject: Subject, prober: probe.Prober,
                      deadline: Deadline) -> None:
    """Raise where the conventional place of a cluster's export is no mount point.

    Drivers name ``<base>/<32 hex digits>/<name>`` where the export is mounted at that directory; a
    file system that merely holds the base was never meant. Bases are probed for symlinks only for a
    path of that form that none of them leads to as it is written.

    :param path: the file's, with symlinks resolved
    """
    if spec.kind is not Kind.CLUSTER or spec.path is None:
        return
    bases = [os.path.join('/', base) for base in (
        *subject.settings.mount_point_base, spec.mount_point_base or '/')]
    resolved = functools.cache(lambda: _resolved(bases, prober, deadline))
    directories = [os.path.dirname(os.path.normpath(one)) for one in (spec.path, path)]
    for directory in directories:
        base, name = os.path.split(directory)
        if (_EXPORT_HASH.fullmatch(name)
                and subject.mount.mount_point not in (directory, directories[-1])
                and not subject.is_trusted(path)
                and (os.path.basename(base) == 'mnt' or base in map(os.path.normpath, bases)
                     or base in resolved())):
            _raise_not_mounted(subject, f'nothing is mounted at {directory}; the file there lies '
                               f'on {subject.mount}')


def _raise_not_mounted(subject: Subject, reason: str) -> None:
    raise exceptions.ShareNotMounted(
        reason=reason, **subject.context.fields,
        remedy=f'Mount the file system that belongs at '
               f'{os.path.dirname(subject.context.path)}, or list the directory in the option '
               'trusted_directories, then retry.')


def _check_block_device(facts: probe.FileFacts, subject: Subject) -> None:
    context = subject.context
    if not (subject.settings.allow_block_devices and subject.may_be_block_device):
        context.refuse('is a block device, not a regular file',
                       remedy='The option allow_block_devices would allow it for a device_path.')
    if not context.path.startswith('/dev/'):
        # A writer of the share could make a node there for any of this host's disks.
        context.refuse('is a block device outside of /dev')
    if facts.size < _SECTOR:
        context.refuse('is a block device without a size')
    if facts.is_read_only:
        raise exceptions.UnsupportedVolume(
            reason=f'{context.path} is a read-only block device, and NovaLink needs to write',
            remedy='Make the device writable, then retry.', **context.fields)
    require_unused_device(facts, subject.table, context)


def require_unused_device(facts: probe.FileFacts, table: MountTable, context: ErrorContext) -> None:
    """Raise where this host uses a block device itself."""
    for mount in table.with_covered:
        if not devices_of(mount).isdisjoint(facts.devices):
            context.refuse(f'is a block device that this host uses itself: {mount}')
    if facts.used_as:
        context.refuse(f'is a block device that this host uses itself, as {facts.used_as}')
