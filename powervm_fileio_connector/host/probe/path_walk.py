# SPDX-License-Identifier: Apache-2.0
"""A path followed component by component, so that each symlink on it is seen.

Runs in the share probe process, hence imports as little as that.
"""

from __future__ import annotations

import errno
import os
import stat

_MOST_LINKS = 40                # as the kernel's own limit

_START = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_DIRECTORY = _START | os.O_NOFOLLOW
_ANYTHING = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

_DELETED = ' (deleted)'         # what /proc adds to the path of a file without a name


class Refused(Exception):
    """What was found may not be handed to an LPAR.

    :param kind: ``path``, ``format`` or ``encrypted``
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class PathWalk:
    """A path, opened one component after the other, each relative to the one before.

    The kernel would follow symlinks as well, but does not tell on which mounts they lie. No
    component is opened twice by its name, which may be another file's by then.

    :param start: the directory that it starts from, symlinks followed
    :ivar links: for each symlink that was followed, the mount that it lies on and the mount that
        its target lies on, 0 where that cannot be reached
    :ivar rest: after an error, the components that were not passed, links resolved as far as they
        were read
    """

    def __init__(self, start: str) -> None:
        self.links: list[tuple[int, int]] = []
        self.rest: list[str] = []
        # Of each link whose target is not reached yet: its index in ``links``, and how many
        # components follow the target.
        self._open_links: list[tuple[int, int]] = []
        self._passed = [os.open(start, _START)]

    def __enter__(self) -> PathWalk:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for descriptor in self._passed:
            os.close(descriptor)

    @property
    def end(self) -> int:
        """Descriptor of the last component."""
        return self._passed[-1]

    @property
    def directory(self) -> int:
        """Descriptor of the directory that holds the last component, where that is a file."""
        return self._passed[-2]

    @property
    def path(self) -> str:
        """The path of the last component, without symlinks.

        :raises FileNotFoundError: it has been deleted
        """
        path = os.readlink(f'/proc/self/fd/{self.end}')
        if path.endswith(_DELETED) and not os.path.samestat(os.fstat(self.end), os.lstat(path)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return path

    def follow(self, path: str, keeps_devices: bool = False) -> None:
        """Go on along ``path`` from here; a trailing slash insists on a directory.

        :param keeps_devices: end at a symlink in /dev that leads to a block device: it is the
            device's stable name
        :raises OSError: the file system's error
        """
        from powervm_fileio_connector.host.probe import system_calls
        self.rest = path.split('/')
        while self.rest:
            name = self.rest[0] or '.'
            # A network file system remembers what a name was, or that there was none, until it is
            # told that the directory has changed.
            system_calls.status(self.end)
            try:
                # Also makes autofs mount what belongs here.
                self._passed.append(os.open(name, _DIRECTORY, dir_fd=self.end))
            except NotADirectoryError:
                self._passed.append(os.open(name, _ANYTHING, dir_fd=self.end))
                if stat.S_ISLNK(os.fstat(self.end).st_mode) and not (
                        keeps_devices and len(self.rest) == 1 and self._is_device_name(name)):
                    self._follow_link()
                    continue
            del self.rest[0]
            while self._open_links and len(self.rest) <= self._open_links[-1][1]:
                place, _ = self._open_links.pop()
                self.links[place] = self.links[place][0], mount_id(self.end)
            while len(self._passed) > 2:
                os.close(self._passed.pop(0))

    def _follow_link(self) -> None:
        """Put the target of a symlink, which is the last component, in its place."""
        link = self._passed.pop()
        try:
            target, lies_on = os.readlink('', dir_fd=link), mount_id(link)
        finally:
            os.close(link)
        if len(self.links) == _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        self._open_links.append((len(self.links), len(self.rest) - 1))
        self.links.append((lies_on, 0))
        self.rest[:1] = target.split('/')
        if target.startswith('/'):
            self._passed.append(os.open('/', _START))

    def _is_device_name(self, name: str) -> bool:
        """Whether the last component, a symlink, is in /dev and leads to a block device."""
        return self.path.startswith('/dev/') and stat.S_ISBLK(
            os.stat(name, dir_fd=self.directory).st_mode)


def mount_id(descriptor: int) -> int:
    """Return the id that the mount table gives the mount that a descriptor lies on."""
    with open(f'/proc/self/fdinfo/{descriptor}', 'rb', buffering=0) as info:
        text = info.read(4096)
    return int(text.partition(b'mnt_id:')[2].split(None, 1)[0])
