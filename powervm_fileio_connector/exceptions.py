# SPDX-License-Identifier: Apache-2.0
"""Every error this library raises, with what the caller does next.

A message always says what could not be done, why (seen and expected) and what to do about it.
Code that meets a problem raises with ``reason`` and the fields it knows (``path``, ``export``,
``mount_point``, ``vios``...); the connector, which knows what is being done to which volume of
which LPAR, adds that with :meth:`FileIOConnectorError.add_context`. All fields stay in
``exc.kwargs``.
"""

from __future__ import annotations

import errno
from typing import Any

from os_brick import exception

SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))
"""Errors of the operating system that say that this host or process has run out of something."""

REMEDY_SHORTAGE = 'Raise the limit that was met (descriptors, processes or memory), then retry.'


class FileIOConnectorError(exception.BrickException):
    """Base of all errors of this library.

    :param message: the whole text; normally left out and made from the fields
    :param reason: why it failed: what was seen and what was expected, no full stop at the end
    :param remedy: what to do; the class has a default
    :param doing: what was being done, to follow "Cannot": ``attach volume X to LPAR Y``
    :param kwargs: further fields, kept in ``exc.kwargs``
    """

    message = 'Cannot %(doing)s: %(reason)s. %(remedy)s'
    doing = 'serve the volume'
    reason = 'the operation failed'
    remedy = 'See the log for details.'

    def __init__(self, message: str | None = None, **kwargs: Any) -> None:
        fields = {'doing': self.doing, 'reason': self.reason, 'remedy': self.remedy}
        fields.update((name, value) for name, value in kwargs.items() if value is not None)
        super().__init__(message, **fields)
        self._is_verbatim = message is not None

    def add_context(self, **fields: Any) -> FileIOConnectorError:
        """Add fields that the raiser did not know, and render the message again.

        Fields that are already there win, but for ``doing``, whose default is only a stopgap.

        :returns: self, so that it can be raised in the same line
        """
        for name, value in fields.items():
            if value is not None and (name not in self.kwargs or self.kwargs[name] == getattr(
                    type(self), name, None)):
                self.kwargs[name] = value
        if not self._is_verbatim:
            self.msg = self.message % self.kwargs
            self.args = (self.msg,)
        return self

    def copy(self) -> FileIOConnectorError:
        """Return an equal error, without the traceback, which keeps what its callers had."""
        return type(self)(self.msg if self._is_verbatim else None, **self.kwargs)

    def note_left_mapped(self, path: str | None, why: FileIOConnectorError) -> None:
        """Say that a mapping which was to be removed over this error remains, and why."""
        self.kwargs['reason'] += (f'; and {path} remains mapped, since it could not be removed: '
                                  f'{why.kwargs["reason"]}')
        self.kwargs['remedy'] = 'Detach the volume.'
        self.add_context()


class Retryable:
    """Marks transient errors: the same call, made again, may succeed."""


class InvalidConnectionProperties(FileIOConnectorError):
    """A key of ``connection_properties`` is missing, empty or of the wrong type.

    Recovery: none by retrying; the caller or the Cinder driver has to send what ``key`` names.
    """

    code = 400
    reason = 'the connection properties are not those of a volume that is a file'
    remedy = 'Correct the connection properties; nothing was changed.'


class UnsupportedVolume(FileIOConnectorError):
    """The volume is encrypted, read-only, or has a format that NovaLink cannot serve.

    Recovery: none for this volume as it is; attaching it would hand the guest something else than
    was promised.
    """

    code = 400
    reason = 'NovaLink cannot serve a volume with these properties'
    remedy = 'Use an unencrypted, writable volume in raw (or safe qcow2) format.'


class ShareNotMounted(FileIOConnectorError):
    """The export, or the file system of the path, is not mounted on the NovaLink partition.

    Recovery: mount it (fstab or autofs), then retry. The connector never mounts.
    """

    reason = 'the file system that holds the volume is not mounted here'
    remedy = 'Mount it on the NovaLink partition, then retry.'


class MountNotResponding(Retryable, FileIOConnectorError):
    """The mount did not answer within ``probe_timeout_s``, or with an error that may pass.

    Or this host is short of memory, descriptors or processes, and could not ask it.

    Recovery: retry once the file server answers again, or what the message names is mended.
    """

    code = 503
    reason = 'the mount does not answer'
    remedy = 'Check the file server and the network, then retry.'


class StaleMount(FileIOConnectorError):
    """The mount answers with ESTALE or is cut off from its server.

    Recovery: the deployer unmounts it, once no LPAR uses a file below it, and mounts it again.
    """

    reason = 'the mount is stale'
    remedy = 'Unmount it once no LPAR uses a file below it, mount it again, then retry.'


class VolumeFileNotFound(FileIOConnectorError):
    """The file system is mounted and answers, but the volume's file is not there.

    Recovery: check that the volume still exists in Cinder and that the right export is mounted.
    """

    code = 404
    reason = 'the file does not exist'
    remedy = 'Check that the volume exists and that the right export is mounted.'


class UnsafeVolumePath(FileIOConnectorError):
    """The path leads out of its mount, or to what may not be attached.

    That is a file of less than 512 bytes, what is no file, what this host uses itself, and what
    lies on the root file system; or the backstore would cut the path.

    Recovery: none by retrying; someone has to find out why the path looks like this.
    """

    code = 400
    reason = 'the path is not one that may be handed to an LPAR'
    remedy = 'Find out who made the path what it is; nothing was changed.'


class UnsafeVolumeFormat(FileIOConnectorError):
    """A qcow2 image cannot be served safely.

    It has a backing file that is not allowed, an incompatible feature or clusters over 64 KiB, or
    the links of its chain do not fit each other.

    Recovery: flatten the image to one without these, or see the option ``qcow2_backing``.
    """

    code = 400
    reason = 'the qcow2 image is not safe to serve'
    remedy = 'Flatten the image (qemu-img convert), or see the option qcow2_backing.'


class NovaLinkUnavailable(Retryable, FileIOConnectorError):
    """The NovaLink REST server cannot be reached, or the session cannot be renewed.

    Recovery: check pvm-rest and the credentials, then retry. What the call was about may or may not
    have been carried out; repeating the call finds out and goes on from there.
    """

    code = 503
    reason = 'the NovaLink REST server cannot be reached'
    remedy = 'Check the pvm-rest service and the credentials, then retry.'


class NovaLinkNotIOServer(FileIOConnectorError):
    """The management partition is not an I/O server, so it cannot serve files.

    Recovery: none on this host; file volumes need software-defined I/O on NovaLink.
    """

    reason = 'the management partition is not an I/O server'
    remedy = 'File volumes need a NovaLink partition installed with software-defined I/O.'


class NotOnNovaLink(FileIOConnectorError):
    """This code runs on another partition than the management partition it talks to.

    Recovery: run it on the management partition; what is mounted elsewhere proves nothing.
    """

    reason = 'this host is not the management partition'
    remedy = 'Run it on the NovaLink management partition.'


class LPARNotFound(FileIOConnectorError):
    """NovaLink knows no LPAR with this UUID.

    Recovery: check the UUID; the LPAR may have been deleted or migrated.
    """

    code = 404
    reason = 'NovaLink knows no such LPAR'
    remedy = 'Check the LPAR UUID; the LPAR may have been deleted or migrated.'


class LPARNotReady(Retryable, FileIOConnectorError):
    """The LPAR cannot change its I/O now (its state, or its RMC connection).

    Recovery: wait until it is shut down, or running with an active RMC connection, then retry.
    """

    code = 409
    reason = 'the LPAR cannot change its I/O now'
    remedy = 'Wait until its RMC connection is active or it is shut down, then retry.'


class NovaLinkBusy(Retryable, FileIOConnectorError):
    """NovaLink was busy, or others kept changing the same document, until the deadline.

    Recovery: retry; what the call was about was not carried out.
    """

    code = 503
    reason = 'NovaLink stayed busy until the deadline'
    remedy = 'Retry; raise rest_timeout_s if this host is always this busy.'


class VolumeInUse(FileIOConnectorError):
    """The file is mapped to another LPAR, or to an adapter that any LPAR may connect to.

    Or something else is mapped that shares data with it.

    Recovery: detach it there first, or pass ``multiattach`` if both are meant to have the file.
    """

    code = 409
    reason = 'the file is mapped to another LPAR'
    remedy = 'Detach it there first, or attach it as multiattach.'


class SlotOrLUAConflict(FileIOConnectorError):
    """The slot or LUA asked for is taken, or the volume has or was given another one.

    Or NovaLink refused the mapping, which may be over them: its words, in the message, tell.

    Recovery: leave slot and LUA out, or free them first.
    """

    code = 409
    reason = 'the slot or LUA asked for cannot be had'
    remedy = 'Leave slot and LUA out to get free ones, or free them first.'


class MappingFailed(FileIOConnectorError):
    """NovaLink refused the change or does not show it, or it cannot be told what to change.

    Recovery: act on NovaLink's words, which the message carries.
    """

    reason = 'NovaLink did not carry out the change'
    remedy = "Act on NovaLink's words above, then retry."


class ExtendFailed(FileIOConnectorError):
    """The new size could not be made known to the LPAR, or the file is smaller than before.

    Recovery: the call is safe to repeat; a disk served through ``user:qcow`` must be detached and
    attached again to be seen in its new size.
    """

    reason = 'the new size could not be made known to the LPAR'
    remedy = 'Retry, or detach and attach the volume to see its new size.'
