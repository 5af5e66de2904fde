# SPDX-License-Identifier: Apache-2.0
"""A path followed by hand, so that no symlink is followed unseen.

Runs in the share probe process, hence imports as little as that.
"""

from __future__ import annotations

import errno
import os
import stat

_MOST_LINKS = 40        # as the kernel's own limits
_MOST_BYTES = 4096

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ANYTHING = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Refused(Exception):
    """What was found may not be handed to an LPAR.

    :param kind: ``path``, ``format`` or ``encrypted``
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class PathWalk:
    """A path, opened one component after the other.

    Each component is opened relative to the one before and without following links, so a component
    that is swapped meanwhile is met as what it then is, never followed. (openat2's RESOLVE_BENEATH
    does as much, but not before Linux 5.6, and tells neither the links nor the resolved path.)

    :param start: the directory that it starts from
    :param is_confined: whether a link that leads out of ``start`` is refused, rather than taken as
        starting at the root directory; an absolute link that names a place below ``start`` stays
    :ivar names: the components that were passed, symlinks resolved
    :ivar links: for each symlink that was followed, the mount that it lies on and the mount that
        its target lies on, 0 where that was not reached
    """

    def __init__(self, start: str, is_confined: bool) -> None:
        self.names: list[str] = []
        self.links: list[list[int]] = []
        self._todo: list[str | list[int]] = []
        self._start = start
        self._is_confined = is_confined
        self._passed = [os.open(start, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]

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
        """Descriptor of the directory that holds the last component."""
        return self._passed[-2]

    @property
    def rest(self) -> list[str]:
        """What could not be passed after an error, with links resolved as far as they were read."""
        return [name for name in reversed(self._todo) if isinstance(name, str)]

    def follow(self, path: str, to_directory: bool = False) -> None:
        """Go on along ``path``.

        :raises Refused: a link leads out of where the walk is confined to
        :raises OSError: the file system's error
        """
        self._add(path)
        while self._todo:
            name = self._todo[-1]
            if isinstance(name, list):          # all of a link's target has been passed
                name[1] = mount_id(self.end)
            elif name == '..':
                self._climb()
            elif name not in ('', '.') and self._pass(name, to_directory or self._goes_on()):
                continue
            self._todo.pop()

    def _add(self, path: str) -> None:
        if len(os.fsencode(path)) >= _MOST_BYTES:
            raise _error(errno.ENAMETOOLONG)
        self._todo.extend(reversed(path.split('/')))

    def _goes_on(self) -> bool:
        return any(isinstance(name, str) for name in self._todo[-2::-1])

    def _pass(self, name: str, is_directory: bool) -> bool:
        """Pass one component; where it is a symlink, put its target in its place and say so."""
        if is_directory:
            # O_DIRECTORY also makes autofs mount what belongs here.
            try:
                self._passed.append(os.open(name, _DIRECTORY, dir_fd=self.end))
                self.names.append(name)
                return False
            except NotADirectoryError:
                pass        # a symlink, or really no directory
        descriptor = os.open(name, _ANYTHING, dir_fd=self.end)
        try:
            is_link = stat.S_ISLNK(os.fstat(descriptor).st_mode)
            if is_link:
                self._follow_link(descriptor)
            elif is_directory:
                raise _error(errno.ENOTDIR)
        except BaseException:
            os.close(descriptor)
            raise
        if is_link:
            os.close(descriptor)
        else:
            self._passed.append(descriptor)
            self.names.append(name)
        return is_link

    def _follow_link(self, descriptor: int) -> None:
        target = os.readlink('', dir_fd=descriptor)
        if len(self.links) == _MOST_LINKS:
            raise _error(errno.ELOOP)
        link = [mount_id(descriptor), 0]
        if target.startswith('/'):
            target = self._restart(target)
        self._todo[-1] = link
        self.links.append(link)
        self._add(target)

    def _climb(self) -> None:
        if self.names:
            self.names.pop()
            os.close(self._passed.pop())
        elif self._is_confined:
            raise Refused('path', "a symlink leads out of the mount with '..'")

    def _restart(self, target: str) -> str:
        """Go back to the start, and return the rest of an absolute target from there."""
        if self._is_confined:
            inside = self._start.rstrip('/') + '/'
            if not target.startswith(inside):
                raise Refused('path', f'a symlink leads out of the mount, to {target!r}')
            target = target[len(inside):]
        while self.names:
            self._climb()
        return target


def mount_id(descriptor: int) -> int:
    """Return the id that the mount table gives the mount that a descriptor lies on."""
    info = os.open(f'/proc/self/fdinfo/{descriptor}', os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(info, 4096)
    finally:
        os.close(info)
    return int(text.partition(b'mnt_id:')[2].split(None, 1)[0])


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
