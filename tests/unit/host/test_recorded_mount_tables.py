# SPDX-License-Identifier: Apache-2.0
"""Mount tables that real kernels showed, see :mod:`tests.kernel.tables`."""

import hashlib

import pytest

from powervm_fileio_connector.host import exports
from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host import same_file
from tests.kernel import tables
from tests.kernel.nfs import suite

EXPORT = 'nas1:/vols/cinder'
PLACE = f'/mnt/base/{hashlib.md5(EXPORT.encode()).hexdigest()}'
CASES = tables.recorded()
ALL = ('3', '4.0', '4.1', '4.2')


@pytest.fixture(scope='module', params=tables.KERNELS)
def recorded(request):
    return tables.recorded(request.param)


def test_each_group_of_nfs_cases_has_a_recorded_mount_table(recorded):
    assert set(recorded) == {f'{group.version}-{group.name}' for group in suite.groups()}


@pytest.mark.parametrize('case', CASES)
def test_each_recorded_mount_is_read(recorded, case):
    # The later of two at one place covers the other, as what autofs mounted does.
    shown = {line[4]: (line[2], line[-3], line[-2])
             for line in map(str.split, recorded[case].splitlines())}
    read = {mount.mount_point: (mount.device, mount.fstype, mount.source)
            for mount in mount_table.parse(recorded[case].encode())}
    assert read == shown


@pytest.mark.parametrize('case', [
    case for case, table in CASES.items() if f' {PLACE} ' in table])
def test_the_export_is_found_at_its_conventional_place(recorded, case):
    found = exports.of_export(mount_table.parse(recorded[case].encode()), EXPORT, [PLACE])
    assert found[0].mount_point == PLACE


def place_of(export):
    return f'/mnt/base/{hashlib.md5(export.encode()).hexdigest()}'


def spellings(recorded, case, path):
    table = mount_table.parse(recorded[case].encode())
    return same_file.index(table).spellings(table.covering(path), path)


@pytest.mark.parametrize(('version', 'way', 'directory'), [
    (version, way, directory) for way, directory, versions in (
        ('directory', 'nas1:/vols', ALL),
        ('nosharecache', 'nas1:/vols', ('3', '4.2')),
        ('second_name_of_directory', 'nas2:/vols', ('3', '4.2')),
        ('pseudo_root', 'nas1:/', ('4.0', '4.2')),       # NFS 3 has none
        ('second_name', 'nas2:/vols/cinder', ALL),
        ('qualified_name', 'nas1.example.com:/vols/cinder', ('4.2',)))
    for version in versions])
def test_nested_and_shared_mounts_show_one_file(recorded, version, way, directory):
    case = f'{version}-{way}'
    below = '/vols/cinder'[len(directory.partition(':')[2].rstrip('/')):]
    other = f'{place_of(directory)}{below}/v'
    assert other in spellings(recorded, case, f'{PLACE}/v')
    assert f'{PLACE}/v' in spellings(recorded, case, other)


@pytest.mark.parametrize(('case', 'export', 'is_certain'), [
    ('3-second_address', 'nas3:/vols/cinder', False),
    ('3-ipv6_address', '[2001:db8::1]:/vols/cinder', False),
    ('3-second_name_nosharecache', 'nas2:/vols', True),
    ('4.2-second_name_nosharecache', 'nas2:/vols', True)])
def test_file_handles_decide_where_only_the_servers_name_differs(
        recorded, case, export, is_certain):
    table = mount_table.parse(recorded[case].encode())
    path = f'{PLACE}/v'
    mount = table.covering(path)
    assert same_file.index(table).spellings(mount, path) == (path,)
    [(other, spelling)] = same_file.index(table).under_other_names(mount, path)
    assert spelling.startswith(place_of(export))
    assert same_file.agree_on_server(mount, other) is is_certain


@pytest.mark.parametrize(('case', 'export'), [
    ('3-second_name', 'nas2:/vols/cinder'), ('4.2-second_name', 'nas2:/vols/cinder'),
    ('4.1-second_address', 'nas3:/vols/cinder'), ('3-address', '192.0.2.1:/vols/cinder'),
    ('4.2-qualified_name', 'nas1.example.com:/vols/cinder'),
    ('4.2-ipv6_address', '[2001:db8::1]:/vols/cinder'), ('4.2-autofs_direct', 'nas2:/vols/cinder')])
def test_a_second_name_of_a_server_is_found_at_its_conventional_place(recorded, case, export):
    table = mount_table.parse(recorded[case].encode())
    [mount, *_] = exports.of_export(table, export, [place_of(export)])
    assert mount.mount_point == place_of(export)
