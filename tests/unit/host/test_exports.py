# SPDX-License-Identifier: Apache-2.0
"""Which mounts show a whole export."""

import pytest

from powervm_fileio_connector.host import exports
from tests.unit.host.test_mount_table import points
from tests.unit.host.test_mount_table import table_of

PLACE = '/base/hash'
# Kernel NFS shows the name by which a server was first mounted, for each further one as well.
FIRST = '30 27 0:50 / /a rw - nfs4 nas1:/vols rw,addr=192.0.2.1'


def found(export, *lines, places=(PLACE,), last_places=()):
    return points(exports.of_export(table_of(*lines), export, places, last_places))


def test_only_whole_exports_count_and_fuse_only_at_its_place():
    lines = ('30 27 0:50 / /a rw - nfs nas1:/vols rw', '31 27 0:50 /sub /b rw - nfs nas1:/vols rw',
             f'32 27 0:51 / {PLACE} rw - fuse.vstorage vstorage://cluster rw',
             '33 27 0:51 / /c rw - fuse.vstorage vstorage://cluster rw',
             '34 27 0:52 / /other rw - nfs nas1:/other rw')
    assert found('nas1:/vols/', *lines, places=('/b', PLACE, '/other')) == [PLACE, '/a']


def test_of_two_places_of_one_mount_that_which_can_be_sent_is_taken():
    lines = [r'30 27 0:50 / /a\012b rw - nfs nas1:/vols rw',
             '31 27 0:50 / /good rw - nfs nas1:/vols rw']
    assert found('nas1:/vols', *lines) == found('nas1:/vols', *reversed(lines)) == ['/good']


def test_the_place_of_the_volumes_own_base_comes_last():
    lines = [f'{number} 27 0:{number} / {place} rw - nfs nas1:/vols rw'
             for number, place in enumerate(('/theirs', '/elsewhere', PLACE), 30)]
    assert found('nas1:/vols', *lines, last_places=('/theirs',)) == [
        PLACE, '/elsewhere', '/theirs']


@pytest.mark.parametrize(('fstype', 'options', 'counts'), [
    ('fuse.quobyte', 'rw,user_id=0', True), ('fuse', 'rw,user_id=0', True), ('fuse', 'rw', True),
    ('fuse', 'rw,user_id=12345', False), ('fuseblk', 'rw,user_id=0', False),
    ('ext4', 'rw', False), ('tmpfs', 'rw', False)])
def test_a_fuse_mount_counts_at_its_place_if_root_or_the_caller_made_it(fstype, options, counts):
    line = f'30 27 0:50 / {PLACE} rw - {fstype} quobyte@registry {options}'
    assert found('nas1:/vols', line) == ([PLACE] if counts else [])


@pytest.mark.parametrize('place', ['/a', PLACE])
def test_a_fuse_mount_of_another_user_counts_nowhere_whatever_it_says_that_it_is(place):
    lines = (f'30 27 0:50 / {place} rw - fuse nas1:/vols rw,user_id=12345,allow_other',
             '31 27 0:51 / /b rw - nfs nas1:/vols rw')
    assert found('nas1:/vols', *lines) == ['/b']


@pytest.mark.parametrize(('export', 'source', 'counts'), [
    # As mount.ceph of Ceph 16.2 mounts them, which resolves the names of monitors.
    ('mon1,mon2:/vols', '192.0.2.1,192.0.2.2:/vols', True),
    ('mon2:6789:/vols', '192.0.2.2:6789:/vols', True),
    ('admin@b7f5cd4e-1111-4000-8000-000000000001.cephfs=/vols', '[fd00::3]:6789:/vols', True),
    ('mon1:/vols', '192.0.2.1:/other', False),
    ('192.0.2.1:/vols', '192.0.2.2:/vols', False), ('mon1:/vols', 'mon2:/vols', False),
    ('mon1:/vols', 'admin@b7f5cd4e-1111-4000-8000-000000000001.cephfs=/vols', False)])
def test_a_mount_of_ceph_shows_the_addresses_of_the_monitors_that_an_export_names(export, source,
                                                                                  counts):
    line = f'30 27 0:50 / {{}} rw - ceph {source} rw,name=admin'
    assert found(export, line.format(PLACE)) == ([PLACE] if counts else [])
    assert found(export, line.format('/a')) == []
    assert found(export, line.format(PLACE).replace('ceph', 'nfs')) == []


@pytest.mark.parametrize('export', ['tmpfs', 'proc', 'reg1,reg2/volume', 'volume'])
def test_an_export_that_names_no_server_is_found_at_its_place_only(export):
    assert found(export, f'30 27 0:50 / /a rw - tmpfs {export} rw') == []
    assert found(export, f'30 27 0:50 / {PLACE} rw - tmpfs {export} rw') == [PLACE]


@pytest.mark.parametrize('counts', [True, False])
def test_only_the_whole_of_a_fuse_file_system_counts_at_the_place(counts):
    line = f'30 27 0:50 {"/" if counts else "/sub"} {PLACE} rw - fuse.quobyte quobyte@reg rw'
    assert found('reg/volume', line) == ([PLACE] if counts else [])


def test_a_directory_of_fuse_counts_where_its_source_names_it():
    lines = ('30 27 0:50 / /a rw - fuse.glusterfs nas1:/vols rw,user_id=0',
             f'31 27 0:50 /sub {PLACE} rw - fuse.glusterfs nas1:/vols rw,user_id=0')
    assert found('nas1:/vols', *lines) == ['/a']
    assert found('nas1:/vols/sub', *lines) == [PLACE]


@pytest.mark.parametrize('export', ['nas1:/vols', 'volume'])
def test_what_autofs_will_mount_is_not_mounted_yet(export):
    assert found(export, f'30 27 0:50 / {PLACE} rw - autofs {export} rw') == []


@pytest.mark.parametrize(('export', 'source'), [
    ('nas1:/', 'nas1:/'), ('[fd00::1]:/', 'fd00::1:/'), ('NAS1:/', 'nas1:/'),
    ('//[FD00::1]/share', '//fd00::1/share'), ('fe80::1%eth0:/v', '[fe80::1%eth0]:/v')])
def test_a_servers_root_and_any_address_are_exports(export, source):
    assert found(export, f'30 27 0:50 / /a rw - any {source} rw') == ['/a']


@pytest.mark.parametrize('export', ['', '/', '//', 'quobyte://', 'nas1:', 'nfs://', ':/', 'a:///'])
def test_an_export_that_names_nothing_is_never_found(export):
    assert found(export, f'30 27 0:50 / {PLACE} rw - fuse x rw', FIRST) == []


def test_one_mount_stands_for_all_that_show_the_same():
    lines = [f'{number} 27 0:50 / /bind{number} rw - nfs nas1:/vols rw' for number in range(30, 99)]
    assert found('nas1:/vols', *lines) == ['/bind30']


def test_a_second_name_of_a_server_is_found_at_its_place():
    place = f'31 27 0:50 / {PLACE} rw - nfs4 nas1:/vols rw,addr=192.0.2.1'
    assert found('nas2:/vols', FIRST, place) == [PLACE]
    assert found('nas2:/other', FIRST, place) == []
    # Another server's, and no mount of which the kernel could show the name.
    alone = f'31 27 0:51 / {PLACE} rw - nfs4 nas1:/vols rw,addr=192.0.2.1'
    assert found('nas2:/vols', FIRST, alone) == []


def test_an_address_is_a_name_of_the_server_that_has_it():
    assert found('192.0.2.1:/vols', FIRST) == ['/a']
    assert found('192.0.2.2:/vols', FIRST) == []


def test_all_names_of_one_device_are_one_server():
    lines = (FIRST, '31 27 0:50 / /b rw - nfs4 nas2:/other rw')
    assert found('nas2:/vols', *lines) == ['/a']


@pytest.mark.parametrize(('source', 'root', 'export'), [
    ('//srv/share/dir', '/', '//srv/share/dir'), ('//srv/share/dir', '/dir', '//SRV/share/dir'),
    ('//srv/share', '/', '//user:secret@srv/share/'),
    ('user@fsid.fs=/dir', '/', 'other@fsid.fs=/dir/'),
    ('10.0.0.1:6789,10.0.0.2:6789:/dir', '/', '10.0.0.1:6789,10.0.0.2:6789:/dir'),
    ('nas1:/vols', '/cinder', 'nas1:/vols/cinder')])
def test_each_form_of_a_source_names_server_and_directory(source, root, export):
    assert found(export, f'30 27 0:50 {root} /a rw - any {source} rw') == ['/a']
