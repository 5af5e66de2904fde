# SPDX-License-Identifier: Apache-2.0
"""What the mount table tells of an export, and of other paths to the same place."""

from powervm_fileio_connector.host import exports
from powervm_fileio_connector.host import mount_table
from tests.unit.host.test_mount_table import parse
from tests.unit.host.test_mount_table import points


def spellings(path, *lines):
    table = parse(*lines)
    return exports.same_place(table, mount_table.covering(table, path), path)


def test_two_exports_of_one_server_are_not_the_same_place():
    # The kernel gives both one superblock, and shows the root of each as '/'.
    assert spellings('/a/v', '30 27 0:50 / /a rw - nfs nas1:/a rw',
                     '31 27 0:50 / /b rw - nfs nas1:/b rw') == ()


def test_two_mounts_of_one_export_are_the_same_place_even_with_a_device_each():
    assert spellings('/a/v', '30 27 0:50 / /a rw - nfs nas1:/a rw',
                     '31 27 0:51 / /b rw - nfs nas1:/a/ rw') == ('/b/v',)


def test_a_disk_is_the_same_place_under_each_of_its_names():
    assert spellings('/a/v', '30 27 8:1 / /a rw - xfs /dev/sda1 rw',
                     '31 27 8:1 / /b rw - xfs /dev/disk/by-label/x rw') == ('/b/v',)


def test_a_bound_directory_shows_only_what_is_in_it():
    lines = ('30 27 8:1 / /a rw - xfs /dev/sda1 rw', '31 27 8:1 /sub /b rw - xfs /dev/sda1 rw')
    assert spellings('/a/sub/v', *lines) == ('/b/v',)
    assert spellings('/a/subv', *lines) == ()
    assert spellings('/b/v', *lines) == ('/a/sub/v',)


def test_a_spelling_that_another_mount_covers_is_none():
    assert spellings('/a/sub/v', '30 27 8:1 / /a rw - xfs /dev/sda1 rw',
                     '31 27 8:1 / /b rw - xfs /dev/sda1 rw',
                     '32 31 0:50 / /b/sub rw - tmpfs x rw') == ()


def test_only_whole_exports_count_and_fuse_only_at_its_place():
    table = parse('30 27 0:50 / /a rw - nfs nas1:/vols rw',
                  '31 27 0:50 /sub /b rw - nfs nas1:/vols rw',
                  '32 27 0:51 / /place rw - fuse.vstorage vstorage://cluster rw',
                  '33 27 0:51 / /c rw - fuse.vstorage vstorage://cluster rw',
                  '34 27 0:52 / /other rw - nfs nas1:/other rw')
    assert points(exports.of_export(table, 'nas1:/vols/', ['/b', '/place', '/other'])) == [
        '/place', '/a']
