# SPDX-License-Identifier: Apache-2.0
"""What a look's answer means: an error with what was seen and expected, or a file fit to serve."""

from __future__ import annotations

import dataclasses
import errno
import os
import stat
from collections.abc import Sequence
from typing import Any
from typing import NoReturn

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import volume
from powervm_fileio_connector.conf import Settings
from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host import probe

# Errors that say that there is no such file: it is missing, or its name can't exist there.
_MISSING = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG))
_REFUSALS: dict[str, type[exceptions.FileIOConnectorError]] = {
    'path': exceptions.UnsafeVolumePath,
    'format': exceptions.UnsafeVolumeFormat,
    'encrypted': exceptions.UnsupportedVolume,
}
_TYPES = {stat.S_IFDIR: 'a directory (such as a Virtuozzo ploop image)', stat.S_IFIFO: 'a pipe',
          stat.S_IFCHR: 'a character device', stat.S_IFBLK: 'a block device',
          stat.S_IFSOCK: 'a socket', stat.S_IFLNK: 'a symlink'}


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is being judged, for messages.

    :ivar fields: of the errors: ``volume``, ``path``, ``export``, ``mount_point``
    """

    path: str
    mount: mount_table.Mount | None
    fields: dict[str, Any]


def raise_for(answer: probe.Answer[Any], subject: Subject) -> None:
    """Raise the error that an answer stands for; return where it holds what was asked."""
    share = subject.mount or subject.path
    if answer.failure:
        raise exceptions.MountNotResponding(reason=answer.failure, **subject.fields)
    if answer.is_hung or answer.errno in mount_table.HUNG_ERRORS:
        raise exceptions.MountNotResponding(
            reason=f'{share} did not answer within {answer.took_s:.3g} s', **subject.fields)
    if answer.refusal is not None:
        raise _REFUSALS[answer.refusal.kind](
            reason=f'{subject.path}: {answer.refusal.reason}', **subject.fields)
    if answer.errno is not None:
        _raise_for_errno(answer, answer.errno, share, subject)


def raise_unless_fit(facts: probe.FileFacts, table: Sequence[mount_table.Mount],
                     mount: mount_table.Mount, subject: Subject, settings: Settings,
                     may_be_block_device: bool) -> None:
    """Raise unless the file that was found is one that may be handed to an LPAR.

    :param may_be_block_device: whether the volume is of a kind that may be one; the options too
        have to allow it
    """
    if not volume.can_be_sent(subject.path):
        raise exceptions.UnsafeVolumePath(
            reason=f'path {subject.path!r} cannot be sent to NovaLink', **subject.fields)
    if stat.S_ISBLK(facts.mode):
        _check_block_device(facts, table, subject, settings.allow_block_devices
                            and may_be_block_device)
        return
    if not stat.S_ISREG(facts.mode):
        _refuse(subject, f'is {_TYPES.get(stat.S_IFMT(facts.mode), "of an unknown type")}, '
                         'not a regular file')
    if mount.fstype in mount_table.PSEUDO_FILE_SYSTEMS:
        _refuse(subject, f'lies on {mount}, which holds no volumes')
    if (is_on_root(table, mount) or facts.dev == facts.root_dev) and not is_trusted(
            subject.path, settings):
        _refuse(subject, 'lies on the root file system, not on one mounted for volumes',
                remedy='Mount the file system that should hold it, or list its directory in the '
                       'option trusted_directories.')
    if mount.is_read_only:
        raise exceptions.UnsupportedVolume(
            reason=f'{mount} is mounted read-only, and NovaLink needs to write',
            remedy='Mount it read-write, then retry.', **subject.fields)
    if not facts.size:
        _refuse(subject, 'is empty')


def is_on_root(table: Sequence[mount_table.Mount], mount: mount_table.Mount) -> bool:
    """Whether a mount shows the root file system, be it bound elsewhere."""
    root = mount_table.root(table)
    return root is not None and mount.device == root.device


def is_trusted(path: str, settings: Settings) -> bool:
    """Whether files there may be attached although they lie on the root file system."""
    return any(path.startswith(os.path.normpath(directory).rstrip('/') + '/')
               for directory in settings.trusted_directories if directory.startswith('/'))


def _raise_for_errno(answer: probe.Answer[Any], number: int, share: mount_table.Mount | str,
                     subject: Subject) -> NoReturn:
    text = os.strerror(number)
    if number in mount_table.STALE_ERRORS:
        raise exceptions.StaleMount(
            reason=f'{share} answers "{text}" for {subject.path}', **subject.fields)
    if number in _MISSING:
        raise exceptions.VolumeFileNotFound(
            reason=f'{share} is mounted and answers, but {subject.path} does not exist there '
                   f'({text})', **subject.fields)
    if number in probe.NO_ACCESS:
        through = ''
        if answer.is_from_root_helper:
            through = ', also through the root helper'
        elif answer.root_helper_failure:
            through = f', and the root helper failed: {answer.root_helper_failure}'
        _refuse(subject, f'cannot be probed: {text}{through}',
                remedy='Let root search the directories above it (for NFS, see root_squash).')
    _refuse(subject, f'cannot be judged: {text}')


def _check_block_device(facts: probe.FileFacts, table: Sequence[mount_table.Mount],
                        subject: Subject, is_allowed: bool) -> None:
    if not is_allowed:
        _refuse(subject, 'is a block device, not a regular file',
                remedy='The option allow_block_devices would allow it for a device_path.')
    if not subject.path.startswith('/dev/'):
        # Whoever may write to a share could make a node there for any of this host's disks.
        _refuse(subject, 'is a block device outside of /dev')
    if not facts.size:
        _refuse(subject, 'is a block device without a size')
    for mount in table:
        if mount.device in facts.devices:
            _refuse(subject, f'is a block device that this host uses itself: {mount}')


def _refuse(subject: Subject, why: str, remedy: str | None = None) -> NoReturn:
    raise exceptions.UnsafeVolumePath(
        reason=f'{subject.path} {why}', remedy=remedy, **subject.fields)
