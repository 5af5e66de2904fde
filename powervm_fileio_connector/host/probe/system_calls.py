# SPDX-License-Identifier: Apache-2.0
"""System calls that Python has no function for; runs in the share probe process.

Where the kernel or a seccomp filter does not allow one (ENOSYS, EPERM), it is "not available".
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

_LIBC = ctypes.CDLL(None, use_errno=True)

_AT_EMPTY_PATH = 0x1000         # linux/fcntl.h
_AT_STATX_FORCE_SYNC = 0x2000
_BASIC_STATS = 0x7FF            # linux/stat.h
_STATX_SIZE_AT = 40             # of struct statx
_LONGEST_HANDLE = 128           # MAX_HANDLE_SZ

_NOT_AVAILABLE = frozenset((errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP))


def synchronised_size(descriptor: int) -> int | None:
    """Return the size of a file as its server knows it now; None: not available.

    A network file system answers from its attribute cache otherwise, for seconds after a change,
    and also while its server is down.

    :raises OSError: the file system's error
    """
    if not hasattr(_LIBC, 'statx'):
        return None
    buffer = ctypes.create_string_buffer(256)
    if _LIBC.statx(descriptor, b'', _AT_EMPTY_PATH | _AT_STATX_FORCE_SYNC, _BASIC_STATS, buffer):
        _raise_unless_unavailable()
        return None
    return struct.unpack_from('=Q', buffer, _STATX_SIZE_AT)[0]


def file_handle(descriptor: int) -> str | None:
    """Return the handle by which the file system knows a file, in hex; None: it tells none.

    Two names of one file have one handle; two servers may use the same for two files.

    :raises OSError: the file system's error
    """
    buffer = ctypes.create_string_buffer(struct.pack('=I', _LONGEST_HANDLE), 8 + _LONGEST_HANDLE)
    mount_id = ctypes.c_int()
    if _LIBC.name_to_handle_at(descriptor, b'', buffer, ctypes.byref(mount_id), _AT_EMPTY_PATH):
        if ctypes.get_errno() != errno.EOVERFLOW:
            _raise_unless_unavailable()
        return None
    size, kind = struct.unpack_from('=Ii', buffer)
    return f'{kind}:{buffer.raw[8:8 + size].hex()}'


def access_error(descriptor: int) -> int | None:
    """Return the error that opening a file for reading and writing would end in; None: none.

    Nothing is opened.
    """
    path = f'/proc/self/fd/{descriptor}'.encode()
    return ctypes.get_errno() if _LIBC.access(path, os.R_OK | os.W_OK) else None


def _raise_unless_unavailable() -> None:
    number = ctypes.get_errno()
    if number not in _NOT_AVAILABLE:
        raise OSError(number, os.strerror(number))
