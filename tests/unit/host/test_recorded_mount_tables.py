# SPDX-License-Identifier: Apache-2.0
"""Mount tables that a real kernel showed, see :mod:`tests.kernel.tables`."""

import hashlib

import pytest

from powervm_fileio_connector.host import exports
from powervm_fileio_connector.host import mount_table
from tests.kernel import tables

EXPORT = 'nas1:/vols/cinder'
PLACE = f'/mnt/base/{hashlib.md5(EXPORT.encode()).hexdigest()}'
RECORDED = tables.recorded()


@pytest.mark.parametrize('case', RECORDED)
def test_each_recorded_mount_is_read(case):
    # The later of two at one place covers the other, as what autofs mounted does.
    shown = {line[4]: (line[2], line[-3], line[-2])
             for line in map(str.split, RECORDED[case].splitlines())}
    read = {mount.mount_point: (mount.device, mount.fstype, mount.source)
            for mount in mount_table.parse(RECORDED[case].encode())}
    assert read == shown


@pytest.mark.parametrize('case', [case for case in RECORDED if f' {PLACE} ' in RECORDED[case]])
def test_the_export_is_found_at_its_conventional_place(case):
    found = exports.of_export(mount_table.parse(RECORDED[case].encode()), EXPORT, [PLACE])
    assert found[0].mount_point == PLACE
