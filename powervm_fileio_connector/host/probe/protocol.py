# SPDX-License-Identifier: Apache-2.0
"""What a share can be probed for, and what an answer tells."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from typing import Any
from typing import ClassVar
from typing import Generic
from typing import TypeVar

Facts = TypeVar('Facts')
FactsT_co = TypeVar('FactsT_co', covariant=True)


@dataclasses.dataclass(frozen=True)
class FileFacts:
    """A file on a mount.

    :ivar path: below the mount point, symlinks resolved
    :ivar root_dev: device number of the root directory's file system
    :ivar hard_links: how many names it has on its file system
    :ivar ignores_case: whether its name in another case leads to it too
    :ivar size: as the server knows it now; of a qcow2 image that was inspected, the virtual size
    :ivar access_errno: the error that opening it for reading and writing would end in; None: no
        error, or the probe did not run as root, so that its rights tell nothing
    :ivar is_append_only: whether it can only be appended to, which the file system tells
    :ivar is_read_only: of a block device: whether it cannot be written to
    :ivar used_as: what this host itself uses it for, such as swap space; None: nothing
    :ivar devices: of a block device: ``major:minor`` of it, and of its partitions, its disk, and
        what these are over as loop devices
    :ivar same_as: what has the same bytes: of a block device, itself and what it is over as a loop
        device; of a regular file, the loop devices over it, if they were asked for. Devices by
        ``major:minor``, a file as :attr:`identity`, or by its path where that is all that is told
    :ivar part_of: of a partition: the disk, and what that is over as a loop device
    :ivar chain: of a qcow2 image that was inspected: of each backing file, device and inode number,
        name, and how many names it has
    :ivar handles: the file's handle, and those of ``chain``; None for one that the file system
        does not tell. Unlike an inode number, it is not used again for a file that is made later.
        Of a block device, the sequence number that the kernel gave its disk
    """

    path: str
    mode: int
    dev: int
    ino: int
    root_dev: int
    hard_links: int
    size: int
    ignores_case: bool = False
    access_errno: int | None = None
    is_append_only: bool = False
    is_read_only: bool = False
    used_as: str | None = None
    devices: tuple[str, ...] = ()
    same_as: tuple[str, ...] = ()
    part_of: tuple[str, ...] = ()
    chain: tuple[tuple[int, int, str, int], ...] = ()
    handles: tuple[str | None, ...] = ()

    @property
    def identity(self) -> str:
        """Device and inode number, as ``same_as`` has them."""
        return f'{self.dev}/{self.ino}'


@dataclasses.dataclass(frozen=True)
class PathFacts:
    """Where a path leads.

    :ivar path: absolute, symlinks resolved, as far as it exists
    :ivar rest: the components that do not exist, or could not be passed
    :ivar links: for each symlink that was followed, the ids of the mount that it lies on and of the
        mount that its target lies on; 0 for one that could not be reached
    """

    path: str
    rest: tuple[str, ...] = ()
    links: tuple[tuple[int, int], ...] = ()

    @property
    def whole_path(self) -> str:
        """The path with what does not exist of it."""
        return '/'.join([self.path.rstrip('/'), *self.rest]) or '/'


@dataclasses.dataclass(frozen=True)
class Listing:
    """The regular files directly in a directory, but for hidden ones."""

    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class HandleFacts:
    """What a file's file system knows it by.

    :ivar handle: None where it tells none that is the server's, as Linux does for NFS 4.0
    :ivar directory: inode number and time of the last change, in nanoseconds, of the directory that
        it is in, as the server knows them now; None where there is a handle
    :ivar names_cluster: whether no file of another server has that handle
    """

    handle: str | None
    ino: int
    directory: tuple[int, int] | None = None
    names_cluster: bool = False


@dataclasses.dataclass(frozen=True)
class Request(Generic[FactsT_co]):
    """One bounded question to a share.

    :ivar share: requests of one call with an equal ``share`` are made one after the other, so that
        a share that is mounted many times holds one probe; None: it depends on no other request
    """

    KIND: ClassVar[str]
    FACTS: ClassVar[type]

    share: Hashable = dataclasses.field(default=None, kw_only=True)

    def to_message(self) -> dict[str, Any]:
        """Return it as the share probe process reads it."""
        message = {'op': self.KIND, **vars(self)}
        del message['share']        # it may be of any type
        return message


@dataclasses.dataclass(frozen=True)
class FileProbe(Request[FileFacts]):
    """Probe a file of a mount. A symlink may not lead out of the mount.

    :ivar path: below the mount point
    :ivar mount_id: of the mount that is expected there; on another mount, nothing but its id is
        told. None: any mount
    :ivar qcow2_backing: a qcow2 image is inspected, and backing files are allowed (the option
        ``qcow2_backing``); None: it is not inspected
    :ivar mounted_loops: ``major:minor`` of the loop devices, and partitions of such, that are
        mounted on this host
    :ivar finds_loops: the loop devices over a regular file are told
    """

    KIND: ClassVar[str] = 'file'
    FACTS: ClassVar[type] = FileFacts

    mount_point: str
    path: str
    mount_id: int | None = None
    qcow2_backing: str | None = None
    mounted_loops: tuple[str, ...] = ()
    finds_loops: bool = False


@dataclasses.dataclass(frozen=True)
class PathProbe(Request[PathFacts]):
    """Probe where an absolute path leads, symlinks resolved. Autofs mounts what is below it.

    Its facts are there also with an error, for the part of the path that exists.

    :ivar is_directory: it has to lead to a directory; else, a symlink in /dev to a block device is
        not followed
    """

    KIND: ClassVar[str] = 'path'
    FACTS: ClassVar[type] = PathFacts

    path: str
    is_directory: bool = True


@dataclasses.dataclass(frozen=True)
class ListFiles(Request[Listing]):
    """List a directory."""

    KIND: ClassVar[str] = 'list'
    FACTS: ClassVar[type] = Listing

    path: str


@dataclasses.dataclass(frozen=True)
class HandleProbe(Request[HandleFacts]):
    """Probe for the handle of a file of a mount; see :class:`FileProbe`.

    :ivar has_handles: False where the handles of the file system are not the server's
    :ivar is_ceph: whether the file system is CephFS, of whichever client
    """

    KIND: ClassVar[str] = 'handle'
    FACTS: ClassVar[type] = HandleFacts

    mount_point: str
    path: str
    has_handles: bool = True
    is_ceph: bool = False


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why what was found may not be handed to an LPAR.

    :ivar kind: ``path``, ``format`` or ``encrypted``
    """

    kind: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Answer(Generic[FactsT_co]):
    """The answer to a request.

    :ivar facts: None where an error, or something else, stands in its place
    :ivar took_s: until the answer came; where none did, the seconds that it was given
    :ivar is_hung: the deadline passed without an answer
    :ivar errno: the file system's error
    :ivar mount_id: of the mount that the path leads to; one without facts is not the one expected
    :ivar failure: why the share could not be probed, which is no fault of the share: this host or
        process is short of something
    :ivar root_helper_failure: why the root helper did not probe it either, where it was denied to
        this process and there is a root helper
    :ivar is_from_root_helper: the root helper was asked, and this is its answer
    """

    facts: FactsT_co | None = None
    took_s: float = 0.0
    is_hung: bool = False
    errno: int | None = None
    refusal: Refusal | None = None
    mount_id: int | None = None
    failure: str | None = None
    root_helper_failure: str | None = None
    is_from_root_helper: bool = False


def answer_of(request: Request[Facts], message: dict[str, Any],
              took_s: float) -> Answer[Facts]:
    """Return the answer that the share probe process wrote.

    It may be of another version, where the package was replaced while this process runs.
    """
    # The worker's answer, which nobody else refers to.
    errno, mount_id = message.pop('errno', None), message.pop('mount_id', None)
    failure, refusal = message.pop('failure', None), message.pop('refusal', None)
    for name, value in message.items():
        if isinstance(value, list):
            message[name] = _frozen(value)
    try:
        return Answer(request.FACTS(**message) if message else None, took_s, errno=errno,
                      mount_id=mount_id, failure=failure, refusal=refusal and Refusal(*refusal))
    except TypeError as err:
        return Answer(failure='the share probe process is of another version of this package than '
                              f'its caller, which has to be started again ({err})')


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
