# SPDX-License-Identifier: Apache-2.0
"""Whether a declared qcow2 image is safe to serve; runs in the share probe process.

oslo.utils' inspector judges each image. tcmu-runner, which serves it, knows less than QEMU: it
ignores feature bits and the format that is named for a backing file, probes each link of a chain by
itself, and opens the links with the size of the first (its qcow.c, read). So no feature bit may be
set, a link that is named raw may not look like a qcow image, and all links have one size. A backing
file may be allowed, if every link of the chain stays in the directory.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import struct

from powervm_fileio_connector.host.probe import system_calls
from powervm_fileio_connector.host.probe.path_walk import Refused

SAME_DIRECTORY = 'same-directory'

_LONGEST_CHAIN = 64
_LONGEST_NAME = 1023                # by the qcow2 specification

# Header extensions (docs/interop/qcow2.txt of QEMU).
_BACKING_FORMAT = 0xE2792ACA
_DATA_FILE = 0x44415441

# What tcmu-runner takes for a qcow image, whatever the version says.
_MAGIC = b'QFI\xfb'

_CLUSTER_BITS = range(9, 17)         # of tcmu-runner
_FEATURES = {0: 'dirty', 1: 'corrupt', 2: 'external data file', 3: 'compression type',
             4: 'extended L2 entries'}

# Headers and the backing file's name lie in the first cluster, which is 2 MiB at most.
_MOST_HEADER = 2 * 1024 * 1024


Link = tuple[int, int, str, int]


def inspect_chain(image: int, directory: int,
                  backing: str) -> tuple[int, list[Link], list[str | None]]:
    """Return the size that a guest sees of an image, its backing files, and their file handles.

    Each is told by device and inode number, its name, and how many names it has.

    :param image: ``O_PATH`` descriptor of the image
    :param directory: ``O_PATH`` descriptor of the directory that it is in
    :param backing: ``same-directory``, or anything else to refuse backing files
    :raises Refused: it is not safe, or encrypted
    :raises OSError: what the file system said, also where the caller may not read the image
    """
    size, link = _inspect(image, backing, 'the image')
    seen = [_identity(image)]
    chain: list[Link] = []
    handles: list[str | None] = []
    with contextlib.ExitStack() as opened:
        while link is not None:
            name, image_format = link
            what = f'backing file {name!r}'
            image = _open_backing(name, directory)
            opened.callback(os.close, image)
            if _identity(image) in seen or len(seen) > _LONGEST_CHAIN:
                raise Refused('format', f'the chain of backing files loops at {name!r}, or is '
                                        f'longer than {_LONGEST_CHAIN}')
            seen.append(_identity(image))
            chain.append((*seen[-1], name, os.fstat(image).st_nlink))
            handles.append(system_calls.handle_where_told(image))
            link_size, link = (_inspect(image, backing, what) if image_format == 'qcow2'
                               else (_raw_size(image, what), None))
            if link_size != size:
                raise Refused('format', f'{what} has {link_size} bytes, but the image has {size}; '
                                        'both have to be the same')
    return size, chain, handles


def _raw_size(image: int, what: str) -> int:
    """Return the size of a backing file that is named raw.

    :raises Refused: it begins like a qcow image, as a guest may have written it
    """
    with open(f'/proc/self/fd/{image}', 'rb') as file:
        if file.read(len(_MAGIC)) == _MAGIC:
            raise Refused('format', f'{what} is named raw, but begins like a qcow image, and would '
                                    'be read as one')
    size, *_ = system_calls.status(image)
    return os.fstat(image).st_size if size is None else size


def _inspect(image: int, backing: str, what: str) -> tuple[int, tuple[str, str] | None]:
    """Return an image's virtual size, and name and format of its backing file if it has one."""
    from oslo_utils.imageutils import format_inspector
    path = f'/proc/self/fd/{image}'         # the very file that was looked at, whatever its name
    try:
        inspector = format_inspector.get_inspector('qcow2').from_file(path)
    except (format_inspector.ImageFormatError, struct.error) as err:
        raise Refused('format', f'{what} is declared qcow2 but is none: {err}') from err
    with open(path, 'rb') as file:
        header = _Header(file)
    if header.is_encrypted:
        raise Refused('encrypted', f'{what} is encrypted')
    if header.has_data_file:
        raise Refused('format', f'{what} has an external data file')
    header.refuse_features(what)
    failures: dict[str, Exception] = {}
    try:
        inspector.safety_check()
    except format_inspector.SafetyCheckFailed as err:
        failures = dict(err.failures)
    if header.version == 2:
        # The inspector reads version 3's feature bits in version 2 too, where the header's
        # extensions are: the length 5 of the format name "qcow2" looks like a data file there.
        failures.pop('data_file', None)
    if header.backing_offset and backing == SAME_DIRECTORY:
        failures.pop('backing_file', None)
    if failures:
        raise Refused('format', f'{what} is not safe: '
                      + ', '.join(str(failure) for failure in failures.values()))
    if not header.backing_offset:
        return inspector.virtual_size, None
    name, image_format = header.backing()
    if image_format not in ('raw', 'qcow2'):
        raise Refused('format', f'{what} names {image_format!r} as the format of its backing file; '
                                'it has to name raw or qcow2, since a format is never guessed')
    if not _is_plain(name):
        raise Refused('format', f'backing file {name!r} of {what} is no plain name in the same '
                                'directory')
    return inspector.virtual_size, (name, image_format)


class _Header:
    """The parts of a qcow2 header that the inspector does not tell."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._data = file.read(64 * 1024)
        self.version, self.backing_offset, self._name_length = struct.unpack_from(
            '>IQI', self._data, 4)
        self.is_encrypted = struct.unpack_from('>I', self._data, 32)[0] != 0
        if self.backing_offset + self._name_length > len(self._data) < _MOST_HEADER:
            self._data += file.read(_MOST_HEADER - len(self._data))
        self._extensions = self._read_extensions()
        self.has_data_file = _DATA_FILE in self._extensions

    def refuse_features(self, what: str) -> None:
        """Refuse what tcmu-runner does not know, and so would misread.

        :raises Refused: with what it is
        """
        cluster_bits, = struct.unpack_from('>I', self._data, 20)
        if cluster_bits not in _CLUSTER_BITS:
            raise Refused('format', f'{what} has clusters of {1 << min(cluster_bits, 62)} bytes; '
                                    f'{1 << _CLUSTER_BITS[0]} to {1 << _CLUSTER_BITS[-1]} can be '
                                    'served')
        # Version 2 has no feature bits: what is there belongs to the extensions.
        bits, = struct.unpack_from('>Q', self._data, 72) if self.version > 2 else (0,)
        names = [_FEATURES.get(bit, f'number {bit}') for bit in range(64) if bits >> bit & 1]
        if names:
            raise Refused('format', f'{what} has features that cannot be served: '
                                    + ', '.join(names))

    def backing(self) -> tuple[str, str | None]:
        """Return name and format of the backing file, the format None where none is named."""
        start, length = self.backing_offset, self._name_length
        name = self._data[start:start + length]
        if not 0 < length <= _LONGEST_NAME or len(name) != length:
            name = b''
        named = self._extensions.get(_BACKING_FORMAT)
        return os.fsdecode(name), None if named is None else named.decode('latin-1')

    def _read_extensions(self) -> dict[int, bytes]:
        extensions: dict[int, bytes] = {}
        offset = 72 if self.version == 2 else struct.unpack_from('>I', self._data, 100)[0]
        while offset + 8 <= len(self._data):
            kind, length = struct.unpack_from('>II', self._data, offset)
            if kind == 0 or (self.backing_offset and offset >= self.backing_offset):
                break
            extensions[kind] = self._data[offset + 8:offset + 8 + length]
            offset += 8 + (length + 7) // 8 * 8
        return extensions


def _open_backing(name: str, directory: int) -> int:
    try:
        image = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError as err:
        if err.errno not in (errno.ENOENT, errno.ENAMETOOLONG):
            raise
        raise Refused('format', f'backing file {name!r} does not exist') from err
    seen = os.fstat(image)
    if not stat.S_ISREG(seen.st_mode) or seen.st_dev != os.fstat(directory).st_dev:
        os.close(image)
        raise Refused('format', f'backing file {name!r} is no regular file of the same directory')
    return image


def _is_plain(name: str) -> bool:
    # QEMU takes what stands before a colon for a protocol, as in nbd:host:port or json:{...}.
    return bool(name) and name not in ('.', '..') and not set(name) & set('/:\0')


def _identity(image: int) -> tuple[int, int]:
    seen = os.fstat(image)
    return seen.st_dev, seen.st_ino
