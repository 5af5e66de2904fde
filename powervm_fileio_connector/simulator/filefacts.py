# SPDX-License-Identifier: Apache-2.0
"""What the file system of this machine says of a path; asked outside of every lock."""

from __future__ import annotations

import os
import stat

from powervm_fileio_connector.simulator.model import FileFact


def look_at(path: str) -> FileFact:
    """What the file system says of a path."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return FileFact(False)
    if stat.S_ISREG(found.st_mode):
        return FileFact(True, True, found.st_size, 'regular file')
    if stat.S_ISBLK(found.st_mode):
        with open(path, 'rb') as device:
            return FileFact(True, True, device.seek(0, os.SEEK_END), 'block device')
    what = 'directory' if stat.S_ISDIR(found.st_mode) else 'special file'
    return FileFact(True, False, 0, what)
