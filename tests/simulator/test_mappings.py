# SPDX-License-Identifier: Apache-2.0
"""Mappings are added and removed by unmodified pypowervm."""

import subprocess
import sys

import pytest
from pypowervm import const
from pypowervm import exceptions
from pypowervm.tasks import partition
from pypowervm.tasks import scsi_mapper
from pypowervm.wrappers import logical_partition
from pypowervm.wrappers import storage
from pypowervm.wrappers import virtual_io_server as vios

from powervm_fileio_connector.simulator import NovaLinkSimulator


def add(sim, adapter, path, lpar=0, vios_w=None, slot=None, lua=None):
    disk = storage.FileIO.bld(adapter, path, backstore_type='loop', tag='the-tag')
    return scsi_mapper.add_vscsi_mapping(
        None, vios_w or sim.vios_uuid, sim.lpars[lpar].uuid, disk, lpar_slot_num=slot, lua=lua)


def read(sim, adapter, xag=(const.XAG.VIO_SMAP,)):
    return vios.VIOS.get(adapter, uuid=sim.vios_uuid, xag=xag)


def test_management_partition_is_found(novalink):
    found = partition.get_mgmt_partition(novalink.adapter())
    assert (found.uuid, found.id, type(found)) == (novalink.vios_uuid, 1, vios.VIOS)


@pytest.mark.parametrize('novalink', [{'mgmt_is_io_server': False}], indirect=True)
def test_management_partition_may_be_an_ordinary_lpar(novalink):
    found = partition.get_mgmt_partition(novalink.adapter())
    assert type(found) is logical_partition.LPAR
    assert found.uuid != novalink.vios_uuid


def test_added_mapping_has_what_the_server_gives(novalink, make_file):
    adapter, path = novalink.adapter(), make_file('disk', 3 * 2**29)
    mapping, = add(novalink, adapter, path).scsi_mappings
    assert mapping.client_adapter.lpar_slot_num == 2
    assert mapping.target_dev.lua == 'lun1'
    assert mapping.target_dev.name == 'FILEIO-disk'
    disk = mapping.backing_storage
    assert (disk.name, disk.label, disk.capacity) == (path, path, 1.5)
    assert (disk.tag, disk.backstore_type, disk.vdtype) == ('the-tag', 'loop', 'File')
    assert disk.udid == novalink.mappings()[0].udid
    assert novalink.mappings()[0].target_udid == '30000002-lun1'


def test_second_disk_goes_on_the_same_adapters(novalink, make_file):
    adapter = novalink.adapter()
    one = add(novalink, adapter, make_file('a'))
    add(novalink, adapter, make_file('b'), vios_w=one)
    first, second = novalink.mappings()
    assert (first.slot, first.server_slot) == (second.slot, second.server_slot)
    assert (first.lua, second.lua) == ('lun1', 'lun2')


def test_given_slot_and_lua_are_honoured(novalink, make_file):
    add(novalink, novalink.adapter(), make_file(), slot=17, lua='lun5')
    mapping, = novalink.mappings()
    assert (mapping.slot, mapping.lua) == (17, 'lun5')


def test_removed_mapping_takes_the_last_adapters_with_it(novalink, make_file):
    adapter, path = novalink.adapter(), make_file()
    add(novalink, adapter, path)
    scsi_mapper.remove_vdisk_mapping(adapter, novalink.vios_uuid, novalink.lpars[0].uuid,
                                     disk_names=[path])
    assert novalink.mappings() == []
    novalink.state.check_invariants()


def test_stale_etag_is_refused_and_changes_nothing(novalink, make_file):
    adapter = novalink.adapter()
    old = read(novalink, adapter)
    add(novalink, adapter, make_file())
    before = novalink.state.snapshot()
    old.scsi_mappings.append(vios.VSCSIMapping.bld(
        adapter, None, novalink.lpars[0].uuid, storage.FileIO.bld(adapter, make_file('other'))))
    with pytest.raises(exceptions.HttpError) as caught:
        old.update()
    assert caught.value.response.status == 412
    assert novalink.state.snapshot() == before


def test_missing_file_is_refused_and_changes_nothing(novalink, tmp_path):
    with pytest.raises(exceptions.HttpError, match='missing does not exist'):
        add(novalink, novalink.adapter(), str(tmp_path / 'missing'))
    assert novalink.mappings() == []


def test_unchanged_document_is_answered_by_304(novalink):
    adapter = novalink.adapter()
    document = read(novalink, adapter)
    assert document.refresh() is document
    assert novalink.requests.records()[-1].status == 304


def test_request_log_counts_by_method_and_path(novalink, make_file):
    adapter = novalink.adapter()
    novalink.requests.clear()
    add(novalink, adapter, make_file())
    assert [novalink.requests.count(m) for m in ('GET', 'POST', 'PUT')] == [1, 1, 0]
    assert novalink.requests.count(path='VirtualIOServer') == 2


def test_lpar_is_found_by_name_and_by_quick_property(novalink):
    adapter, lpar = novalink.adapter(), novalink.lpars[1]
    found, = logical_partition.LPAR.search(adapter, name=lpar.name)
    assert found.uuid == lpar.uuid
    answer = adapter.read('LogicalPartition', lpar.uuid, suffix_type='quick',
                          suffix_parm='PartitionID')
    assert answer.body == str(lpar.id)


def test_unknown_lpar_is_not_found(novalink):
    with pytest.raises(exceptions.HttpNotFound):
        novalink.adapter().read('LogicalPartition', 'DEADBEEF-0000-4000-8000-000000000000')


def test_removed_lpar_leaves_orphans(novalink, make_file):
    adapter = novalink.adapter()
    add(novalink, adapter, make_file())
    gone = novalink.lpars[0].uuid
    novalink.remove_lpar(gone)
    assert novalink.mappings(gone) == []
    mapping, = read(novalink, adapter).scsi_mappings
    assert mapping.client_adapter is None
    assert mapping.client_lpar_href is None
    assert novalink.mappings()[0].is_orphan


def test_importing_the_simulator_imports_no_pypowervm():
    code = ('import sys, powervm_fileio_connector.simulator;'
            'assert not {"pypowervm", "os_brick", "requests"} & set(sys.modules)')
    subprocess.run([sys.executable, '-c', code], check=True)


def test_several_hosts_live_side_by_side():
    with NovaLinkSimulator() as one, NovaLinkSimulator() as two:
        assert one.port != two.port
        assert one.adapter().sys_uuid != two.adapter().sys_uuid


@pytest.mark.parametrize('novalink', [{'other_vioses': 2}], indirect=True)
def test_client_slots_are_free_on_all_vioses_or_taken(novalink, make_file):
    adapter = novalink.adapter()
    add(novalink, adapter, make_file('a'))
    other = novalink.state.partitions(io_servers=True)[1]
    disk = storage.FileIO.bld(adapter, make_file('b'))
    scsi_mapper.add_vscsi_mapping(None, other.uuid, novalink.lpars[0].uuid, disk)
    assert [(m.vios_uuid, m.slot, m.server_slot) for m in novalink.mappings()] == [
        (novalink.vios_uuid, 2, 2), (other.uuid, 3, 2)]
