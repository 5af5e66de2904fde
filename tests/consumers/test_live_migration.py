# SPDX-License-Identifier: Apache-2.0
"""Live migration between two simulated hosts, which see the same mounts: this machine's."""

import dataclasses
import json
import os

import pytest
from lxml import etree
from pypowervm import const

pytest.importorskip('nova_powervm', reason='nova-powervm is not installed')

from nova import exception as nova_exception
from nova_powervm.virt.powervm import exception as pvm_exception
from nova_powervm.virt.powervm import live_migration

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.nova.migration import FileIdentity
from powervm_fileio_connector.nova.migration import difference
from powervm_fileio_connector.simulator import Fault
from tests.consumers.conftest import lpar_uuid


class Migration:
    """An instance with a volume, on its way from one host to another."""

    def __init__(self, source, destination, volume):
        self.source, self.destination = source, destination
        self.instance = source.make_instance()
        self.bdm = source.attach(self.instance, volume)
        self.data = {}
        [self.mapping] = source.mappings(self.instance)
        source.novalink.requests.clear()

    def leave(self):
        self.source.adapter_for(self.instance, self.bdm).pre_live_migration_on_source(self.data)
        # As it travels between the hosts: Nova's object holds a dictionary of texts.
        assert all(isinstance(value, str) for value in self.data.values())

    @property
    def adapter_there(self):
        return self.destination.adapter_for(self.instance, self.bdm)

    def arrive(self):
        self.adapter_there.pre_live_migration_on_destination(self.data)

    def move(self):
        """What the platform does: the LPAR and its mappings are on the other host then."""
        self.source.novalink.remove_lpar(lpar_uuid(self.instance), leave_orphans=False)
        self.destination.receive(self.instance)
        self.adapter_there.connect_volume(self.destination.slot_manager(self.instance))

    def posts(self):
        return [host.novalink.requests.count('POST') for host in (self.source, self.destination)]


@pytest.fixture
def migration(host, other_host, make_nfs_volume):
    return Migration(host, other_host, make_nfs_volume())


def refusal(migration):
    with pytest.raises(pvm_exception.VolumePreMigrationFailed) as raised:
        migration.arrive()
    error = raised.value
    assert str(error.__cause__) in str(error)
    assert migration.posts() == [0, 0]
    return error.__cause__


def test_the_source_tells_which_file_it_is(migration):
    migration.leave()
    [text] = migration.data.values()
    told = json.loads(text)
    status = os.stat(migration.mapping.path)
    assert (told['path'], told['udid']) == (migration.mapping.path, migration.mapping.udid)
    assert (told['size'], told['inode']) == (status.st_size, status.st_ino)


def test_a_migration_that_succeeds_changes_nothing_by_itself(migration):
    migration.leave()
    migration.arrive()
    assert migration.posts() == [0, 0]
    migration.move()
    posts = migration.posts()
    source = live_migration.LiveMigrationSrc(migration.source.driver, migration.instance, None)
    source.post_live_migration(
        [migration.source.adapter_for(migration.instance, migration.bdm)],
        type('MigrateData', (), {'vol_data': migration.data}))
    migration.adapter_there.post_live_migration_at_destination(migration.data)
    assert migration.posts() == posts
    assert migration.source.novalink.mappings() == []
    [mapping] = migration.destination.mappings(migration.instance)
    assert (mapping.path, mapping.udid) == (migration.mapping.path, migration.mapping.udid)


def test_a_rolled_back_migration_leaves_both_hosts_as_they_were(migration):
    migration.leave()
    migration.arrive()
    before = [host.novalink.mappings() for host in (migration.source, migration.destination)]
    migration.adapter_there.cleanup_volume_at_destination(migration.data)
    # Nova detaches at the destination too; nova-powervm sees that the LPAR is not there.
    migration.destination.detach(migration.instance, migration.bdm)
    assert migration.posts() == [0, 0]
    assert before == [host.novalink.mappings()
                      for host in (migration.source, migration.destination)]
    assert before[0] == [migration.mapping]


def test_a_destination_without_the_file_is_refused(migration):
    migration.leave()
    os.unlink(migration.mapping.path)
    assert isinstance(refusal(migration), exceptions.VolumeFileNotFound)


def test_a_destination_without_the_share_is_refused_though_the_path_exists(
        migration, mounter, nfs_base):
    migration.leave()
    path = migration.mapping.path
    mounter.unmount(next(nfs_base.iterdir()))
    with open(path, 'wb') as decoy:
        decoy.truncate(1 << 30)
    assert isinstance(refusal(migration), exceptions.ShareNotMounted)


def test_another_file_of_the_same_name_and_size_is_refused(migration):
    migration.leave()
    path = migration.mapping.path
    os.rename(path, f'{path}.moved')
    with open(path, 'wb') as other:
        other.truncate(1 << 30)
    assert isinstance(refusal(migration), exceptions.UnsafeVolumePath)


def test_a_file_of_another_size_is_refused(migration):
    migration.leave()
    os.truncate(migration.mapping.path, 2 << 30)
    assert 'bytes' in str(refusal(migration))


def test_a_destination_where_another_lpar_has_the_file_is_refused(migration):
    migration.leave()
    other = migration.destination.make_instance()
    migration.destination.adapter_for(other, migration.bdm).connect_volume(
        migration.destination.slot_manager(other))
    migration.destination.novalink.requests.clear()
    assert isinstance(refusal(migration), exceptions.VolumeInUse)


@dataclasses.dataclass(frozen=True)
class LinkedOrphans(Fault):
    """A server whose mappings that have lost their client go on naming the LPAR that is gone."""

    lpar_uuid: str = ''

    def on_answer(self, exchange, answer):
        root = etree.fromstring(answer.body)
        for mapping in root.iter(f'{{{const.UOM_NS}}}VirtualSCSIMapping'):
            tags = {etree.QName(child).localname for child in mapping}
            if tags.isdisjoint(('ClientAdapter', 'AssociatedLogicalPartition')):
                mapping.insert(1, etree.Element(
                    f'{{{const.UOM_NS}}}AssociatedLogicalPartition', rel='related',
                    href=f'http://localhost/rest/api/uom/LogicalPartition/{self.lpar_uuid}'))
        return dataclasses.replace(answer, body=etree.tostring(root))


def test_a_mapping_of_the_file_that_an_lpar_has_left_behind_is_no_obstacle(migration):
    migration.leave()
    other = migration.destination.make_instance()
    migration.destination.adapter_for(other, migration.bdm).connect_volume(
        migration.destination.slot_manager(other))
    novalink = migration.destination.novalink
    novalink.remove_lpar(lpar_uuid(other), leave_orphans=True)
    novalink.faults.add(LinkedOrphans(method='GET', path='ViosSCSIMapping', times=None,
                                      lpar_uuid=lpar_uuid(other)))
    novalink.requests.clear()
    migration.arrive()
    assert f'LogicalPartition/{lpar_uuid(other)}' in str(novalink.requests.records())
    assert migration.posts() == [0, 0]


def test_a_destination_that_is_no_io_server_is_refused(host, ordinary_host, make_nfs_volume):
    migration = Migration(host, ordinary_host, make_nfs_volume())
    migration.leave()
    assert isinstance(refusal(migration), exceptions.NovaLinkNotIOServer)


def test_a_source_that_cannot_look_at_the_file_starts_no_migration(migration):
    os.unlink(migration.mapping.path)
    # Nova's conductor puts a running instance into ERROR for any other error.
    with pytest.raises(nova_exception.MigrationPreCheckError, match='does not exist') as raised:
        migration.leave()
    assert isinstance(raised.value.__cause__, exceptions.VolumeFileNotFound)


def test_a_source_that_tells_nothing_is_no_obstacle(migration):
    migration.arrive()      # its nova-powervm has an adapter of its own
    assert migration.posts() == [0, 0]


FILE = FileIdentity(path='/mnt/v', size=1 << 30, format='raw', fstype='nfs4', device=42, inode=7,
                    kernel='source')
THERE = dataclasses.replace(FILE, device=99, kernel='destination')


def other(**fields):
    return dataclasses.replace(THERE, **fields)


@pytest.mark.parametrize(('source', 'destination', 'reason'), [
    (FILE, THERE, None),
    (FILE, other(fstype='nfs'), None),
    (FILE, other(inode=8), 'file number 7'),
    (FILE, other(path='/other/v'), 'same place'),
    (FILE, other(format='qcow2'), 'qcow2'),
    (FILE, other(is_block_device=True), 'block device'),
    (FILE, other(fstype='xfs'), 'do not share'),
    (dataclasses.replace(FILE, fstype='xfs'), other(fstype='xfs'), 'do not share'),
    (dataclasses.replace(FILE, fstype='bcachefs'), other(fstype='bcachefs'), 'do not share'),
    # FUSE numbers files as it meets them.
    (dataclasses.replace(FILE, fstype='fuse.quobyte'), other(fstype='fuse.quobyte', inode=8), None),
])
def test_files_are_told_apart_by_what_their_file_system_says(source, destination, reason):
    found = difference(FileIdentity.from_text(source.to_text()), destination)
    assert found is None if reason is None else reason in found


def test_another_name_of_the_same_file_is_the_same_file():
    assert difference(FILE, other(path='/bind/v'), aliases=('/mnt/v',)) is None


def test_what_a_later_version_adds_is_ignored():
    text = json.dumps(json.loads(FILE.to_text()) | {'colour': 'red'})
    assert FileIdentity.from_text(text) == FILE
