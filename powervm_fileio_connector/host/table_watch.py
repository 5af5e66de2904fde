# SPDX-License-Identifier: Apache-2.0
"""The kernel's mount table, kept open, and read again only after it has changed.

Reading it takes the kernel some milliseconds for thousands of mounts; ``poll`` on it tells in a
microsecond whether it has changed.
"""

from __future__ import annotations

import collections
import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Callable
from typing import Any
from typing import Generic
from typing import TypeVar

from powervm_fileio_connector import exceptions

# Of this thread, not of the process: threads may have mount namespaces of their own.
_TABLE = '/proc/thread-self/mountinfo'
_NAMESPACE = '/proc/thread-self/ns/mnt'

_MOST_READS = 5         # of a table that changes each time
_POLLPRI = 2            # poll(2)

_libc = ctypes.CDLL(None)

_Table = TypeVar('_Table')


class _Watch(Generic[_Table]):
    """The kernel's table, kept open; it tells whether it has changed since it was last read."""

    def __init__(self, parse: Callable[[bytes], _Table]) -> None:
        self.owner = _owner()
        self._parse = parse
        self._table: _Table | None = None
        self._file = open(_open_above_stdio(_TABLE), 'rb', buffering=0)  # noqa: SIM115

    def __del__(self) -> None:
        if hasattr(self, '_file'):
            self._file.close()

    def table(self) -> _Table:
        for _ in range(_MOST_READS):
            # The kernel tells each change once, hence the table is dropped before it is read.
            # Through ctypes, since eventlet takes poll() away from the module select.
            request = ctypes.create_string_buffer(
                struct.pack('ihh', self._file.fileno(), _POLLPRI, 0))
            has_changed = _libc.poll(request, 1, 0) != 0
            if not has_changed and self._table is not None:
                return self._table
            self._table = None
            self._file.seek(0)
            self._table = self._parse(self._file.read())
        assert self._table is not None
        return self._table


# At most one: a thread that finds none opens the table for itself, so that none waits for another.
# Taking and putting back are single operations, which need no lock.
_idle: collections.deque[_Watch[Any]] = collections.deque()


def current(parse: Callable[[bytes], _Table]) -> _Table:
    """Return the mount table of this thread, parsed.

    :param parse: the same each time
    :raises MountNotResponding: this process has no descriptor or memory left to read it
    :raises ShareNotMounted: ``/proc`` is not mounted
    """
    try:
        watch = _idle.pop()
    except IndexError:
        watch = None
    try:
        if watch is None or watch.owner != _owner():
            watch = _Watch(parse)
        table: _Table = watch.table()
    except OSError as err:
        raise _unreadable(err) from err
    if not _idle:
        _idle.append(watch)
    return table


def close() -> None:
    """Close the mount table; the next :func:`current` opens it again."""
    _idle.clear()


def _owner() -> tuple[int, ...]:
    """Return what a table belongs to: the process, its mount namespace and its root directory."""
    namespace, root = os.stat(_NAMESPACE), os.stat('/')
    return os.getpid(), namespace.st_ino, root.st_dev, root.st_ino


def _open_above_stdio(path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    if descriptor > 2:
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(descriptor)


def _unreadable(err: OSError) -> exceptions.FileIOConnectorError:
    reason = f'the mount table {_TABLE} cannot be read: {err.strerror}'
    if err.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM):
        return exceptions.ShareNotMounted(
            reason=reason, remedy='Mount /proc where this process runs, then retry.')
    return exceptions.MountNotResponding(
        reason=f'{reason}. This is a shortage of this host or process, not of the share',
        remedy=exceptions.REMEDY_SHORTAGE)
