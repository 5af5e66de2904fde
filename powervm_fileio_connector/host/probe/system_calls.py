# SPDX-License-Identifier: Apache-2.0
"""System calls that Python has no function for; runs in the share probe process.

Where the kernel or a seccomp filter does not allow one (ENOSYS, EPERM), it is "not available".
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

_LIBC = ctypes.CDLL(None, use_errno=True)

_AT_FDCWD = -100                # linux/fcntl.h
_AT_SYMLINK_NOFOLLOW = 0x100
_AT_EMPTY_PATH = 0x1000
_AT_STATX_FORCE_SYNC = 0x2000
_BASIC_STATS = 0x7FF            # linux/stat.h
_MNT_ID = 0x1000
_ATTR_APPEND = 0x20
_MASK_AT, _ATTRIBUTES_AT, _SIZE_AT, _MNT_ID_AT = 0, 8, 40, 144      # of struct statx
_LONGEST_HANDLE = 128           # MAX_HANDLE_SZ
_CEPH_INODE = '1'               # FILEID_INO32_GEN, of which fs/ceph/export.c makes an inode number

_NOT_AVAILABLE = frozenset((errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP))


def status(descriptor: int, is_fresh: bool = True) -> tuple[int | None, int | None, bool]:
    """Return the size of a file, the id of its mount, and whether it is append-only.

    What is not available is None, or False.

    :param is_fresh: as its server knows it now. A network file system answers from its attribute
        cache otherwise, for seconds after a change, and also while its server is down

    :raises OSError: the file system's error
    """
    if not hasattr(_LIBC, 'statx'):
        return None, None, False
    buffer = ctypes.create_string_buffer(256)
    flags = _AT_EMPTY_PATH | _AT_STATX_FORCE_SYNC if is_fresh else _AT_EMPTY_PATH
    if _LIBC.statx(descriptor, b'', flags, _BASIC_STATS | _MNT_ID, buffer):
        _raise_unless_unavailable()
        return None, None, False
    mask, = struct.unpack_from('=I', buffer, _MASK_AT)
    attributes, = struct.unpack_from('=Q', buffer, _ATTRIBUTES_AT)
    size, = struct.unpack_from('=Q', buffer, _SIZE_AT)
    mount_id, = struct.unpack_from('=Q', buffer, _MNT_ID_AT)
    # Told since Linux 5.8. qemu's user mode (7.2) says that it is told, and leaves it 0, which no
    # mount has.
    return (size, (mount_id or None) if mask & _MNT_ID else None,
            bool(attributes & _ATTR_APPEND))


def look_up_afresh(path: str) -> None:
    """Have a network file system forget what it remembers of a path and does not hold any more.

    Where the server no longer knows what is remembered, the kernel asks it for each component of
    the path anew; it does so only where it is given the path as a whole.
    """
    if hasattr(_LIBC, 'statx'):
        _LIBC.statx(_AT_FDCWD, os.fsencode(path), _AT_SYMLINK_NOFOLLOW | _AT_STATX_FORCE_SYNC,
                    _BASIC_STATS, ctypes.create_string_buffer(256))


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


def ceph_handle(descriptor: int, handle: str | None, ino: int) -> str | None:
    """Return what tells a file from those of all Ceph clusters, by whichever client; None: nothing.

    That is the cluster, the pool of it that has the file's data, and the file's number: numbers
    begin anew in each file system, and no two have one pool. Linux 6.1 and ceph-fuse 16.2 tell it,
    to those who may read the file.

    :param handle: as :func:`file_handle` returns it for the kernel's client, where that of a
        snapshot is of another kind, though the inode number is the file's; None for ceph-fuse
    :raises OSError: the file system's error
    """
    kind, _, number = (handle or '').partition(':')
    if handle is not None and kind != _CEPH_INODE:
        return None
    path = f'/proc/self/fd/{descriptor}'        # since it may be an O_PATH one
    try:
        cluster, pool = (os.fsdecode(os.getxattr(path, f'ceph.{name}'))
                         for name in ('cluster_fsid', 'file.layout.pool'))
    except OSError as err:
        if err.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
        return None
    # With the mount option ino32, the inode number is not the file's.
    own = ino if handle is None else int.from_bytes(bytes.fromhex(number), sys.byteorder)
    return f'{cluster}:{pool}:{own:x}'


def handle_where_told(descriptor: int) -> str | None:
    """Return :func:`file_handle`, and None also where the file system ends it in an error.

    It makes no request to a server.
    """
    try:
        return file_handle(descriptor)
    except OSError:
        return None


def access_error(descriptor: int) -> int | None:
    """Return the error that opening a file for reading and writing would end in; None: none.

    Nothing is opened.
    """
    if not _LIBC.faccessat(descriptor, b'', os.R_OK | os.W_OK, _AT_EMPTY_PATH):
        return None
    if ctypes.get_errno() not in _NOT_AVAILABLE:
        return ctypes.get_errno()
    # Before Linux 5.8, or where this very call is not allowed; EPERM may also be the file's.
    path = f'/proc/self/fd/{descriptor}'.encode()
    return ctypes.get_errno() if _LIBC.access(path, os.R_OK | os.W_OK) else None


def _raise_unless_unavailable() -> None:
    number = ctypes.get_errno()
    if number not in _NOT_AVAILABLE:
        raise OSError(number, os.strerror(number))
