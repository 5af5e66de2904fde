# SPDX-License-Identifier: Apache-2.0
"""A path followed by hand, so that no symlink is followed unseen.

Runs in the process that looks at shares, hence imports as little as that.
"""

from __future__ import annotations

import errno
import os
import stat

_MOST_LINKS = 40        # as the kernel's own limit

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
    """A path followed by hand, one component at a time, so that no symlink is followed unseen.

    Each component is opened relative to the one before and without following links, so a component
    that is swapped meanwhile is met as what it then is, never followed. (openat2's RESOLVE_BENEATH
    does as much, but not before Linux 5.6, and does not tell the canonical path.)

    :param start: the directory that it starts from
    :param is_confined: whether a link that leads out of ``start`` is refused, rather than taken as
        starting at the root directory; an absolute link that names a place below ``start`` stays
    :ivar links: descriptors of the symlinks that were followed
    """

    def __init__(self, start: str, is_confined: bool) -> None:
        self.names: list[str] = []
        self.rest: list[str] = []
        self.links: list[int] = []
        self._start = start
        self._is_confined = is_confined
        self._opened = [os.open(start, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
        self._passed = self._opened[:]

    def __enter__(self) -> PathWalk:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for fd in self._opened:
            os.close(fd)

    @property
    def end(self) -> int:
        """Descriptor of the last component."""
        return self._passed[-1]

    @property
    def directory(self) -> int:
        """Descriptor of the directory that holds the last component."""
        return self._passed[-2]

    def follow(self, path: str, to_directory: bool = False) -> None:
        """Go on along ``path``; ``names`` then is the way without symlinks.

        After an error, ``rest`` is what could not be passed, as far as its links were readable.

        :raises Refused: a link leads out of where the trail is confined to
        :raises OSError: what the file system said
        """
        links = 0
        todo = path.split('/')[::-1]
        while todo:
            name = todo.pop()
            self.rest = [name, *todo[::-1]]
            if name == '..':
                self._climb()
            elif name not in ('', '.'):
                target = self._step(name, is_directory=bool(todo) or to_directory)
                if target is not None:
                    links += 1
                    if links > _MOST_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                    if target.startswith('/'):
                        target = self._restart(target)
                    todo.extend(target.split('/')[::-1])

    def _step(self, name: str, is_directory: bool) -> str | None:
        """Pass one component; where it is a symlink, return its target instead."""
        if is_directory:
            # O_DIRECTORY also makes autofs mount what belongs here.
            try:
                self._pass(name, self._open(name, _DIRECTORY))
                return None
            except NotADirectoryError:
                pass        # a symlink, or really no directory
        fd = self._open(name, _ANYTHING)
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            self.links.append(fd)
            return os.readlink('', dir_fd=fd)
        if is_directory:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        self._pass(name, fd)
        return None

    def _open(self, name: str, flags: int) -> int:
        fd = os.open(name, flags, dir_fd=self.end)
        self._opened.append(fd)
        return fd

    def _pass(self, name: str, fd: int) -> None:
        self.names.append(name)
        self._passed.append(fd)

    def _climb(self) -> None:
        if self.names:
            self.names.pop()
            self._passed.pop()
        elif self._is_confined:
            raise Refused('path', "a symlink leads out of the mount with '..'")

    def _restart(self, target: str) -> str:
        """Go back to the start, and return the rest of an absolute target from there."""
        if self._is_confined:
            inside = self._start.rstrip('/') + '/'
            if not target.startswith(inside):
                raise Refused('path', f'a symlink leads out of the mount, to {target!r}')
            target = target[len(inside):]
        self.names.clear()
        del self._passed[1:]
        return target
