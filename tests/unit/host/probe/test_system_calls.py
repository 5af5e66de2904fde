# SPDX-License-Identifier: Apache-2.0
"""What the kernel is asked of a descriptor."""

import pathlib
import struct
from unittest import mock

import pytest

from powervm_fileio_connector.host.probe import system_calls

MNT_ID = 0x1000


def answering(mask, size, mount_id, attributes=0):
    """A C library whose statx gives this answer."""
    def statx(_descriptor, _path, _flags, _mask, buffer):
        struct.pack_into('=I', buffer, 0, mask)
        struct.pack_into('=Q', buffer, 8, attributes)
        struct.pack_into('=Q', buffer, 40, size)
        struct.pack_into('=Q', buffer, 144, mount_id)
        return 0
    return mock.Mock(statx=statx)


@pytest.mark.parametrize(('mask', 'mount_id', 'expected'), [
    (MNT_ID, 30, 30),
    (0, 30, None),      # Linux before 5.8
    (MNT_ID, 0, None),  # qemu's user mode
])
def test_mount_id_is_known_where_it_is_told(monkeypatch, mask, mount_id, expected):
    monkeypatch.setattr(system_calls, '_LIBC', answering(mask, 4096, mount_id))
    assert system_calls.status(0) == (4096, expected, False)


@pytest.mark.parametrize(('attributes', 'expected'), [(0x20, True), (0x10, False)])
def test_a_file_that_is_append_only_is_known_by_its_attribute(monkeypatch, attributes, expected):
    monkeypatch.setattr(system_calls, '_LIBC', answering(MNT_ID, 4096, 30, attributes))
    assert system_calls.status(0) == (4096, 30, expected)


def test_mount_id_is_that_of_the_mount_table(tmp_path):
    (tmp_path / 'file').write_bytes(b'1234')
    with (tmp_path / 'file').open('rb') as file:
        size, mount_id, is_append_only = system_calls.status(file.fileno())
        lines = pathlib.Path(f'/proc/self/fdinfo/{file.fileno()}').read_text().splitlines()
    told = dict(line.split(':\t') for line in lines)
    assert (size, is_append_only) == (4, False)
    assert mount_id in (None, int(told['mnt_id']))
