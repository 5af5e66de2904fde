# SPDX-License-Identifier: Apache-2.0
"""What a probe's answer means where it is no file: the error to raise, by errno and by mount."""

from __future__ import annotations

import dataclasses
import errno
import os
from typing import Any
from typing import NoReturn

from oslo_log import log as logging

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.host.mount import Mount

LOG = logging.getLogger(__name__)

_MISSING = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG))
_ABSENT = _MISSING | {errno.ELOOP}
_OF_PATH = _ABSENT | {*probe.NO_ACCESS}

# How a file system says that it is cut off from its server, and EIO, which a soft mount also
# answers while its server is down.
_STALE = frozenset((errno.ESTALE, errno.ENOTCONN, errno.ESHUTDOWN, errno.ENODEV, errno.ENXIO))

_REFUSALS: dict[str, type[exceptions.FileIOConnectorError]] = {
    'path': exceptions.UnsafeVolumePath,
    'format': exceptions.UnsafeVolumeFormat,
    'encrypted': exceptions.UnsupportedVolume,
}

REMEMBERED_BY_AUTOFS = (
    'autofs remembers a mount that failed, for a minute unless told otherwise, and answers so '
    'without trying again')
"""What an operator should know who has mended what autofs could not mount."""


@dataclasses.dataclass(frozen=True)
class ErrorContext:
    """The file that an error is about.

    :ivar fields: of the errors: ``volume``, ``path``, ``export``, ``mount_point``
    """

    path: str
    mount: Mount | None
    fields: dict[str, Any]

    @property
    def share(self) -> Mount | str:
        """What the file lies on, as messages call it."""
        return self.mount or self.path

    def refuse(self, why: str, remedy: str | None = None) -> NoReturn:
        """Raise that the path is unsafe."""
        raise exceptions.UnsafeVolumePath(
            reason=f'{self.path} {why}', remedy=remedy, **self.fields)


def is_of_path(number: int | None) -> bool:
    """Whether an error says something about the path, and that its file system answers."""
    return number in _OF_PATH


def is_stale(number: int | None, mount: Mount | None) -> bool:
    """Whether an error says that the mount is cut off from its server."""
    return number in _STALE or (
        number == errno.EIO and not (mount is not None and mount.is_soft))


def shortage(answer: probe.Answer[Any]) -> str | None:
    """Return why nothing could be probed, for a want of this host's; None: that is not so."""
    if answer.failure:
        return answer.failure
    return os.strerror(answer.errno) if answer.errno in exceptions.SHORTAGES else None


def is_denied_to_us_alone(answer: probe.Answer[Any]) -> bool:
    """Whether a probe was denied to this user, and not made as root, as NovaLink is."""
    return (answer.errno in probe.NO_ACCESS and not answer.is_from_root_helper
            and os.geteuid() != 0)


def is_silent(answer: probe.Answer[Any], mount: Mount | None) -> bool:
    """Whether a probe found out nothing, since the mount did not or could not answer."""
    return answer.is_hung or bool(answer.failure) or (
        answer.errno is not None and answer.errno != errno.EROFS
        and not is_of_path(answer.errno) and not is_stale(answer.errno, mount))


def require_told(answer: probe.Answer[Any], path: str, mount: Mount, file: str, *,
                 is_own_share: bool) -> None:
    """Check that a probe told whether a path leads to a file, be it by an error about the path.

    Another share that hangs or is cut off tells nothing either, and neither does a path that is
    denied to root, which NovaLink is. These are warned of: they may hold up no attach.

    :param mount: that the path lies on
    :param is_own_share: the file lies there, too
    :raises MountNotResponding: this host, the root helper, or the file's own share, failed to tell
    """
    if answer.facts is not None or answer.refusal is not None or answer.errno in _ABSENT:
        return
    try:
        raise_for(answer, ErrorContext(path, mount, {}))
        why = 'another file system has been mounted there'
    except exceptions.FileIOConnectorError as err:
        why = err.kwargs['reason']
    if (shortage(answer) or is_denied_to_us_alone(answer) or answer.root_helper_failure
            or (is_own_share and answer.errno not in probe.NO_ACCESS)):
        raise exceptions.MountNotResponding(
            reason=f'whether {path} is {file} by another name is not known: {why}',
            remedy='Mend that, then retry.', path=file)
    LOG.warning('Whether %s is %s by another name is not known: %s', path, file, why)


def raise_for(answer: probe.Answer[Any], context: ErrorContext) -> None:
    """Raise the error that an answer stands for; return where it holds what was asked."""
    if answer.failure:
        raise exceptions.MountNotResponding(reason=answer.failure, **context.fields)
    if answer.is_hung:
        asked = (' to the root helper, unless that is what hangs'
                 if answer.is_from_root_helper else '')
        raise exceptions.MountNotResponding(
            reason=f'{context.share} did not answer within {answer.took_s:.3g} s{asked}',
            **context.fields)
    if answer.refusal is not None:
        raise _REFUSALS[answer.refusal.kind](
            reason=f'{context.path}: {answer.refusal.reason}', **context.fields)
    if answer.errno is not None:
        _raise_for_errno(answer.errno, text_of(answer.errno, answer), context)


def require_access(answer: probe.Answer[probe.FileFacts], context: ErrorContext) -> None:
    """Raise the error that root would get who opens a file that was found, if any."""
    if answer.facts is not None and answer.facts.access_errno is not None:
        number = answer.facts.access_errno
        _raise_for_errno(
            number, f'{text_of(number, answer)} (to read and write it as root)', context)


def text_of(number: int, answer: probe.Answer[Any]) -> str:
    """Return the text of an errno, and what became of the probe at the root helper."""
    text = os.strerror(number)
    if answer.is_from_root_helper:
        return f'{text}, also through the root helper'
    if answer.root_helper_failure:
        return f'{text}, and the root helper failed: {answer.root_helper_failure}'
    return text


def _raise_for_errno(number: int, text: str, context: ErrorContext) -> NoReturn:
    """Raise the error that the errno of a file system stands for."""
    share, fields = context.share, context.fields
    if number in exceptions.SHORTAGES:
        raise exceptions.MountNotResponding(
            reason=f'{context.path} could not be probed: {text}. This is a shortage of this host, '
                   'not of the share', remedy=exceptions.REMEDY_SHORTAGE, **fields)
    if number in _MISSING:
        reason = f'{share} is mounted and answers, but {context.path} does not exist there ({text})'
        raise exceptions.VolumeFileNotFound(reason=_with_autofs(reason, context), **fields)
    if number in probe.NO_ACCESS:
        context.refuse(f'cannot be probed: {text}', remedy='Let root search the directories above '
                       'it, and read and write the file (for NFS, export it rw, and see '
                       'root_squash).')
    if number == errno.ELOOP:
        context.refuse(f'cannot be followed: {text}')
    if number == errno.EROFS:
        raise exceptions.UnsupportedVolume(
            reason=f'{share} is read-only, and NovaLink needs to write',
            remedy='Export and mount it read-write, then retry.', **fields)
    reason = _with_autofs(f'{share} answers "{text}" for {context.path}', context)
    if is_stale(number, context.mount):
        raise exceptions.StaleMount(reason=reason, **fields)
    raise exceptions.MountNotResponding(reason=reason, **fields)


def _with_autofs(reason: str, context: ErrorContext) -> str:
    is_autofs = context.mount is not None and context.mount.fstype == 'autofs'
    return f'{reason}. {REMEMBERED_BY_AUTOFS}' if is_autofs else reason
