# SPDX-License-Identifier: Apache-2.0
"""The host at its hardest: no LPAR links, reused ids, other programs' mappings, raw UTF-8."""

import json

import pytest
from lxml import etree
from pypowervm.tasks import scsi_mapper
from pypowervm.wrappers import storage
from pypowervm.wrappers import virtual_io_server as vios

from powervm_fileio_connector.simulator import NovaLinkProcess
from powervm_fileio_connector.simulator import NovaLinkSimulator

HARD = {'links_of_files': False, 'foreign': True}
hard = pytest.mark.parametrize('novalink', [HARD], indirect=True, ids=['hard'])


def read(sim, adapter):
    return vios.VIOS.get(adapter, uuid=sim.vios_uuid, xag=['ViosSCSIMapping'])


def add(sim, adapter, path, lpar=0):
    scsi_mapper.add_vscsi_mapping(None, sim.vios_uuid, sim.lpars[lpar].uuid,
                                  storage.FileIO.bld(adapter, path))


@hard
def test_only_mappings_of_files_show_no_lpar_link(novalink, make_file):
    adapter = novalink.adapter()
    add(novalink, adapter, make_file())
    links = {mapping.backing_storage.name: mapping.client_lpar_href is not None
             for mapping in read(novalink, adapter).scsi_mappings if mapping.backing_storage}
    assert links == {'other_lv': True, 'hdisk8': True, 'vidéo.iso': True, 'boot-other': True,
                     'pool/other': True, novalink.mappings()[0].path: False}
    assert novalink.mappings()[0].lpar_uuid == novalink.lpars[0].uuid


def test_no_link_of_a_file_is_shown_by_default(make_file):
    with NovaLinkSimulator() as novalink:
        adapter = novalink.adapter()
        add(novalink, adapter, make_file())
        shown = [one for one in read(novalink, adapter).scsi_mappings
                 if one.backing_storage and one.backing_storage.name == novalink.mappings()[0].path]
        assert [one.client_lpar_href for one in shown] == [None]


@hard
def test_other_programs_have_mappings_of_every_kind(novalink):
    kinds = [mapping.kind for mapping in novalink.state.mappings()]
    assert sorted(kinds) == ['lu', 'lv', 'none', 'none', 'optical', 'pv', 'rbd']
    assert novalink.state.mappings()[-1].is_wild_card
    assert novalink.mappings() == []
    assert [lpar.name for lpar in novalink.lpars] == ['lpar1', 'lpar2']
    elements = [mapping.element.element for mapping in read(
        novalink, novalink.adapter()).scsi_mappings]
    assert len(elements) == 7


@hard
def test_pypowervm_leaves_the_mappings_of_other_programs_as_they_are(novalink, make_file):
    adapter, path = novalink.adapter(), make_file()
    before = novalink.state.mappings()
    add(novalink, adapter, path)
    scsi_mapper.remove_vdisk_mapping(adapter, novalink.vios_uuid, novalink.lpars[0].id,
                                     disk_names=[path])
    assert novalink.state.mappings() == before
    assert novalink.state.violations() == []


def test_removed_mapping_of_another_program_is_a_violation():
    with NovaLinkSimulator(**HARD) as sim:
        wrapper = read(sim, sim.adapter())
        wrapper.scsi_mappings.remove(wrapper.scsi_mappings[0])
        wrapper.update()
        with pytest.raises(AssertionError, match='removed or changed lv mapping 1'):
            sim.state.check_invariants()


def test_other_programs_mappings_are_kept_apart_in_another_process_too():
    with NovaLinkProcess(**HARD) as process:
        assert len(process.snapshot()['mappings']) == 7
        assert process.mappings() == []
        assert [lpar.name for lpar in process.lpars] == ['lpar1', 'lpar2']


@hard
def test_names_are_raw_utf8_and_no_answer_names_a_charset(novalink):
    adapter = novalink.adapter()
    answer = adapter.read('VirtualIOServer', novalink.vios_uuid, xag=['ViosSCSIMapping'])
    assert 'charset' not in answer.headers['content-type']
    served = novalink.state.mappings()[2]
    assert served.path.encode() in etree.tostring(answer.entry.element.element, encoding='utf-8')


def test_recreated_lpar_keeps_its_uuid_under_a_new_id_while_another_has_the_old_one(
        novalink, make_file):
    lpar = novalink.lpars[0]
    add(novalink, novalink.adapter(), make_file())
    again = novalink.recreate_lpar(lpar.uuid, successor='tenant2')
    assert (again.uuid, again.name) == (lpar.uuid, lpar.name)
    assert {p.name: p.id for p in novalink.lpars} == {'lpar2': 3, 'tenant2': lpar.id, 'lpar1': 4}
    assert [m.is_orphan for m in novalink.mappings()] == [True]


def test_recreated_lpar_has_a_new_id_though_the_old_one_is_free(novalink):
    lpar = novalink.lpars[0]
    assert novalink.recreate_lpar(lpar.uuid).id not in (lpar.id, novalink.lpars[0].id)
    assert novalink.add_lpar('next').id == lpar.id


def test_lpar_is_recreated_in_another_process():
    with NovaLinkProcess(lpars=1, foreign=False) as process:
        lpar, = process.lpars
        assert process.recreate_lpar(lpar.uuid, successor='tenant2').id == lpar.id + 1
        assert [p.name for p in process.lpars] == ['tenant2', 'lpar1']


def test_quick_properties_are_strings_numbers_and_null_as_recorded(novalink):
    # nova-powervm 9.0.0 recorded them in its test of get_vm_qp.
    recorded = {'IsVirtualServiceAttentionLEDOn': 'false', 'MigrationState': 'Not_Migrating',
                'CurrentProcessingUnits': 0.1, 'ProgressState': None, 'PartitionType': 'AIX/Linux',
                'PartitionID': 1, 'AllocatedVirtualProcessors': 1,
                'PartitionState': 'not activated', 'RemoteRestartState': 'Invalid',
                'OperatingSystemVersion': 'Unknown', 'RMCState': 'inactive',
                'PowerManagementMode': None, 'HasDedicatedProcessors': 'false',
                'ResourceMonitoringIPAddress': None, 'ReferenceCode': '00000000',
                'CurrentProcessors': None, 'CurrentMemory': 512, 'SharingMode': 'uncapped'}
    answer = novalink.adapter().read('LogicalPartition', novalink.lpars[0].uuid,
                                     suffix_type='quick', suffix_parm='All')
    served = json.loads(answer.body)
    assert {name: type(served[name]) for name in recorded} == {
        name: type(value) for name, value in recorded.items()}
    assert bool not in {type(value) for value in served.values()}
