# SPDX-License-Identifier: Apache-2.0
"""The connector on mounts of a real NFS server, in a virtual machine."""

import pytest

from tests.kernel import tables
from tests.kernel.nfs import suite

pytestmark = pytest.mark.nfs


@pytest.mark.parametrize('name', suite.names())
def test_nfs(name, nfs):
    nfs.raise_failure(name)


def test_mount_tables_are_as_recorded(nfs):
    seen = ''.join(sorted(path.read_text() for directory in nfs.directories
                          for path in directory.glob('tables-*')))
    kernel = (nfs.directories[0] / 'kernel').read_text()
    major, minor, *_ = kernel.split()[2].split('.')
    file = tables.DIRECTORY / f'linux-{major}.{minor}.txt'
    if tables.IS_RECORDING:
        file.parent.mkdir(exist_ok=True)
        file.write_text(f'## {kernel}{seen}')
    if not file.exists():
        pytest.skip(f'nothing was recorded with Linux {major}.{minor}')
    recorded = tables.recorded(file.stem)
    for case, table in tables.parse(seen).items():
        assert tables.comparable(table) == tables.comparable(recorded[case]), case
