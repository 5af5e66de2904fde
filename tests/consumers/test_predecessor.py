# SPDX-License-Identifier: Apache-2.0
"""What nova-powervm 9.0.0's own adapters for files do, in the same places as ours.

Each test is a line of the table in ``doc/source/nova.rst``.
"""

import os

import pytest
from pypowervm import exceptions as pypowervm_exceptions

pytest.importorskip('nova_powervm', reason='nova-powervm is not installed')

from nova_powervm.virt.powervm import exception as pvm_exception
from nova_powervm.virt.powervm import live_migration
from nova_powervm.virt.powervm import volume as volumes

from powervm_fileio_connector import exceptions


class Both:
    """One volume through nova-powervm's own adapter, then through ours."""

    def __init__(self, adapters, host, volume):
        self._adapters, self.host = adapters, host
        self.instance = host.make_instance()
        self.bdm = host.prepare(self.instance, volume)
        self.slot_mgr = host.slot_manager(self.instance)

    def theirs(self, **data):
        """nova-powervm's own adapter; what it needs and Cinder does not send may be added."""
        self._adapters.disable()
        adapter = self._adapter(data)
        assert type(adapter).__module__.startswith('nova_powervm')
        self._adapters.enable()
        return adapter

    def ours(self):
        return self._adapter({})

    def _adapter(self, data):
        self.bdm['connection_info']['data'].update(data)
        try:
            return self.host.adapter_for(self.instance, self.bdm)
        finally:
            for key in data:
                del self.bdm['connection_info']['data'][key]

    def requests(self, act):
        """Which requests an act takes."""
        log = self.host.novalink.requests
        log.clear()
        act()
        return [f'{request.method} {request.path}' for request in log.records()]


@pytest.fixture
def make_both(nova, host):
    return lambda volume: Both(nova, host, volume)


def test_it_needs_a_volume_id_that_cinder_does_not_send(make_both, volume):
    both = make_both(volume)
    with pytest.raises(KeyError, match='volume_id'):
        both.theirs().connect_volume(both.slot_mgr)
    both.ours().connect_volume(both.slot_mgr)
    [mapping] = both.host.mappings(both.instance)
    assert mapping.tag == volume.id


def test_it_takes_an_nfs_export_for_a_directory(make_both, make_nfs_volume):
    both = make_both(make_nfs_volume())
    theirs = both.theirs(volume_id='id')
    assert theirs._get_path().startswith('192.0.2.10:/exports/cinder/')
    assert not os.path.exists(theirs._get_path())
    with pytest.raises(pypowervm_exceptions.Error):
        theirs.connect_volume(both.slot_mgr)
    assert both.host.novalink.mappings() == []
    both.ours().connect_volume(both.slot_mgr)
    [mapping] = both.host.mappings(both.instance)
    assert os.path.exists(mapping.path)


def test_it_registers_no_slot_since_it_asks_by_path(make_both, make_gpfs_volume):
    both = make_both(make_gpfs_volume())
    both.theirs(volume_id='id').connect_volume(both.slot_mgr)
    [mapping] = both.host.mappings(both.instance)
    assert both.slot_mgr.topology == {}
    both.ours().connect_volume(both.slot_mgr)
    assert both.slot_mgr.topology[mapping.slot]['VDisk'] == {mapping.udid: mapping.lua}


def test_ours_takes_over_what_it_attached(make_both, make_gpfs_volume):
    volume = make_gpfs_volume()
    both = make_both(volume)
    both.theirs(volume_id=volume.id).connect_volume(both.slot_mgr)
    both.ours().disconnect_volume(both.slot_mgr)
    assert both.host.novalink.mappings() == []


def test_it_rescans_by_path_where_a_udid_is_wanted(make_both, make_gpfs_volume):
    volume = make_gpfs_volume()
    both = make_both(volume)
    both.theirs(volume_id='id').connect_volume(both.slot_mgr)
    volume.extend(2)
    with pytest.raises(pvm_exception.VolumeExtendFailed):
        both.theirs(volume_id='id').extend_volume()
    assert float(both.host.mappings(both.instance)[0].capacity_gb) == 1
    both.ours().extend_volume()
    assert float(both.host.mappings(both.instance)[0].capacity_gb) == 2


def test_it_succeeds_and_maps_nothing_where_the_management_partition_is_no_io_server(
        nova, ordinary_host, make_gpfs_volume):
    both = Both(nova, ordinary_host, make_gpfs_volume())
    both.theirs(volume_id='id').connect_volume(both.slot_mgr)
    assert ordinary_host.novalink.mappings() == []
    with pytest.raises(pvm_exception.VolumeAttachFailed) as raised:
        both.ours().connect_volume(both.slot_mgr)
    assert isinstance(raised.value.__cause__, exceptions.NovaLinkNotIOServer)


def test_it_reads_everything_again_on_every_attach(make_both, make_gpfs_volume):
    first, second, third = (make_both(make_gpfs_volume()) for _ in range(3))
    first.ours().connect_volume(first.slot_mgr)
    ours, theirs = second.ours(), third.theirs(volume_id='id')
    # Mappings of files do not name their LPAR, so that its id is asked for.
    [lpar, post] = second.requests(lambda: ours.connect_volume(second.slot_mgr))
    assert lpar.startswith('GET')
    assert '/LogicalPartition/' in lpar
    assert post.startswith('POST')
    requests = third.requests(lambda: theirs.connect_volume(third.slot_mgr))
    assert [request.partition(' ')[0] for request in requests].count('GET') > 3
    assert any(request.endswith('/VirtualIOServer') for request in requests)    # all of them


def test_it_attaches_a_file_of_a_share_that_is_not_mounted(make_both, make_gpfs_volume, mounter,
                                                           gpfs_base):
    both = make_both(make_gpfs_volume())
    path = both.bdm['connection_info']['data']['device_path']
    mounter.unmount(gpfs_base)
    with open(path, 'wb') as decoy:
        decoy.truncate(1 << 30)
    with pytest.raises(pvm_exception.VolumeAttachFailed) as raised:
        both.ours().connect_volume(both.slot_mgr)
    assert isinstance(raised.value.__cause__,
                      exceptions.ShareNotMounted | exceptions.UnsafeVolumePath)
    both.theirs(volume_id='id').connect_volume(both.slot_mgr)
    assert len(both.host.mappings(both.instance)) == 1


def test_it_gives_a_guest_the_ciphertext_of_an_encrypted_volume(make_both, make_gpfs_volume):
    both = make_both(make_gpfs_volume())
    both.theirs(volume_id='id', encrypted=True).connect_volume(both.slot_mgr)
    assert len(both.host.mappings(both.instance)) == 1


def test_it_serves_a_qcow2_volume_as_raw(nova, host, make_nfs_volume, nfs_base):
    """Once the export's mount point is what it calls the export, as some deployers make it."""
    volume = make_nfs_volume(nfs_qcow2_volumes=True)
    both = Both(nova, host, volume)
    both.theirs(volume_id='id', export=str(next(nfs_base.iterdir()))).connect_volume(both.slot_mgr)
    [mapping] = host.mappings(both.instance)
    assert mapping.backstore == 'loop'


def test_its_live_migration_cannot_start_with_a_nova_of_today(host):
    with pytest.raises(AttributeError, match='PowerVMLiveMigrateData'):
        live_migration.LiveMigrationDest(host.driver, host.make_instance())


def test_every_volume_type_but_these_has_no_adapter_at_all(nova):
    nova.disable()
    assert {'quobyte', 'vzstorage', 'file'}.isdisjoint(volumes._STATIC_VOLUME_MAPPINGS)
