# SPDX-License-Identifier: Apache-2.0
"""What the kernel is asked of a descriptor."""

import errno
import os
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


CLUSTER = 'b7f5cd4e-1111-4000-8000-000000000001'


@pytest.mark.parametrize(('handle', 'ino', 'expected'), [
    ('1:0200000000010000', 0x10000000002, f'{CLUSTER}:data:10000000002'),
    ('1:0200000000010000', 0x102, f'{CLUSTER}:data:10000000002'),         # mounted with ino32
    (None, 0x10000000002, f'{CLUSTER}:data:10000000002'),                 # ceph-fuse
    (None, 0x2010000000002, f'{CLUSTER}:data:2010000000002'),             # of a snapshot, by it
    # A snapshot has the inode number of the file.
    ('78:020000000001000002000000000000000000000000010000d950f005', 0x10000000002, None),
])
def test_a_file_of_ceph_is_told_by_cluster_pool_and_number(monkeypatch, handle, ino, expected):
    """As Linux 6.1 and ceph-fuse 16.2.15 show one."""
    told = {'/proc/self/fd/5': {'ceph.cluster_fsid': CLUSTER.encode(),
                                'ceph.file.layout.pool': b'data'}}
    monkeypatch.setattr(os, 'getxattr', lambda path, name: told[path][name])
    assert system_calls.ceph_handle(5, handle, ino) == expected


@pytest.mark.parametrize('number', [errno.ENODATA, errno.EOPNOTSUPP])
def test_a_client_of_ceph_that_does_not_know_the_cluster_tells_nothing(monkeypatch, number):
    monkeypatch.setattr(os, 'getxattr', mock.Mock(side_effect=OSError(number, '')))
    assert system_calls.ceph_handle(5, None, 7) is None


def test_a_client_of_ceph_that_is_cut_off_is_an_error(monkeypatch):
    monkeypatch.setattr(os, 'getxattr', mock.Mock(side_effect=OSError(errno.ENOTCONN, '')))
    with pytest.raises(OSError):
        system_calls.ceph_handle(5, None, 7)
