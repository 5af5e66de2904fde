# SPDX-License-Identifier: Apache-2.0
"""What the file system of this machine says of a path; asked outside of every lock."""

from __future__ import annotations

import os
import stat

from .model import FileFact


def file_fact(path: str) -> FileFact:
    """Whether a path can be mapped, and its size."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return FileFact(False)
    if stat.S_ISREG(found.st_mode):
        return FileFact(True, True, found.st_size, 'regular file')
    if stat.S_ISBLK(found.st_mode):
        size = size_of(path)
        return FileFact(True, size is not None, size or 0, 'block device')
    what = 'directory' if stat.S_ISDIR(found.st_mode) else 'special file'
    return FileFact(True, False, 0, what)


def size_of(path: str) -> int | None:
    """The size of a file or block device in bytes; None if it cannot be opened."""
    try:
        with open(path, 'rb') as file:
            return file.seek(0, os.SEEK_END)
    except (OSError, ValueError):
        return None
