# SPDX-License-Identifier: Apache-2.0
"""Disks that are no files, exchanged media, and mappings that come back rewritten."""

import pytest
from pypowervm import const
from pypowervm import exceptions
from pypowervm.tasks import scsi_mapper
from pypowervm.wrappers import logical_partition
from pypowervm.wrappers import storage
from pypowervm.wrappers import virtual_io_server as vios

from powervm_fileio_connector.simulator import NovaLinkSimulator


def read(sim, adapter):
    return vios.VIOS.get(adapter, uuid=sim.vios_uuid, xag=[const.XAG.VIO_SMAP])


DISKS = {
    'optical': lambda a: storage.VOptMedia.bld_ref(a, 'config.iso'),
    'lv': lambda a: storage.VDisk.bld_ref(a, 'a_volume'),
    'pv': lambda a: storage.PV.bld(a, 'hdisk7'),
    'lu': lambda a: storage.LU.bld_ref(a, 'a_unit', '27abc'),
    'rbd': lambda a: storage.RBD.bld_ref(a, 'pool/image'),
}


@pytest.mark.parametrize('kind', DISKS)
def test_disk_of_another_kind_is_mapped_and_removed(novalink, kind):
    adapter = novalink.adapter()
    disk = DISKS[kind](adapter)
    wrapper = scsi_mapper.add_vscsi_mapping(None, novalink.vios_uuid, novalink.lpars[0].uuid, disk)
    mapping, = novalink.mappings()
    assert (mapping.kind, mapping.path, mapping.lua) == (kind, disk.name, 'lun1')
    served, = wrapper.scsi_mappings
    assert served.backing_storage.name == disk.name
    assert isinstance(served.target_dev, disk.target_dev_type)
    assert scsi_mapper.remove_maps(wrapper, novalink.lpars[0].uuid)
    wrapper.update()
    assert novalink.mappings() == []


def test_medium_is_exchanged_in_its_place(novalink):
    adapter = novalink.adapter()
    lpar = novalink.lpars[0].uuid
    for name in ('first.iso', 'second.iso'):
        scsi_mapper.add_vscsi_mapping(None, novalink.vios_uuid, lpar,
                                      storage.VOptMedia.bld_ref(adapter, name))
    scsi_mapper.modify_vopt_mapping(adapter, novalink.vios_uuid, lpar, media_name='first.iso',
                                    new_media=storage.VOptMedia.bld_ref(adapter, 'third.iso'))
    assert {m.lua: m.path for m in novalink.mappings()} == {
        'lun1': 'third.iso', 'lun2': 'second.iso'}
    assert novalink.mappings()[0].server_slot == novalink.mappings()[1].server_slot


def test_mapping_that_comes_back_rewritten_is_still_the_same(novalink, make_file):
    adapter = novalink.adapter()
    path = make_file('näme & <more>')
    scsi_mapper.add_vscsi_mapping(None, novalink.vios_uuid, novalink.lpars[0].uuid,
                                  storage.FileIO.bld(adapter, path, tag='a'))
    before = novalink.mappings()
    wrapper = read(novalink, adapter)
    assert wrapper.scsi_mappings[0].backing_storage.name == path
    indented = wrapper.toxmlstring(pretty=True).decode().replace('><', '>\n<')
    adapter.update_by_path(
        indented, wrapper.etag,
        f'/rest/api/uom/VirtualIOServer/{novalink.vios_uuid}?group=ViosSCSIMapping')
    assert novalink.mappings() == before


def test_post_that_changes_nothing_keeps_the_etag(novalink, make_file):
    adapter = novalink.adapter()
    scsi_mapper.add_vscsi_mapping(None, novalink.vios_uuid, novalink.lpars[0].uuid,
                                  storage.FileIO.bld(adapter, make_file()))
    wrapper = read(novalink, adapter)
    assert wrapper.update().etag == wrapper.etag


def test_mapping_posted_twice_needs_a_lua_of_its_own(novalink, make_file):
    adapter = novalink.adapter()
    wrapper = scsi_mapper.add_vscsi_mapping(
        None, novalink.vios_uuid, novalink.lpars[0].uuid, storage.FileIO.bld(adapter, make_file()))
    wrapper.scsi_mappings.append(wrapper.scsi_mappings[0])
    wrapper.scsi_mappings.append(vios.VSCSIMapping.wrap(
        read(novalink, adapter).scsi_mappings[0].element))
    with pytest.raises(exceptions.HttpError, match='lun1 is in use'):
        wrapper.update()
    assert len(novalink.mappings()) == 1


def test_mappings_are_not_changed_by_a_post_to_a_group_without_them(novalink, make_file):
    adapter = novalink.adapter()
    wrapper = vios.VIOS.get(adapter, uuid=novalink.vios_uuid, xag=[const.XAG.VIO_STOR])
    wrapper.element.element.append(
        read(novalink, adapter).element.element.find('{*}VirtualSCSIMappings'))
    assert wrapper.update().etag == wrapper.etag
    wrapper.element.element.find('{*}VirtualSCSIMappings').append(vios.VSCSIMapping.bld(
        adapter, None, novalink.lpars[0].uuid,
        storage.FileIO.bld(adapter, make_file())).element.element)
    with pytest.raises(exceptions.HttpError, match='has no mappings'):
        wrapper.update()


def test_number_that_is_none_is_refused(novalink, make_file):
    adapter = novalink.adapter()
    mapping = vios.VSCSIMapping.bld(adapter, None, novalink.lpars[0].uuid,
                                    storage.FileIO.bld(adapter, make_file()), lpar_slot_num='two')
    wrapper = read(novalink, adapter)
    wrapper.scsi_mappings.append(mapping)
    with pytest.raises(exceptions.HttpError, match='expected a number'):
        wrapper.update()


def test_fibre_channel_mapping_is_not_made():
    with NovaLinkSimulator(recording='fake_vios_ssp_npiv.txt') as sim:
        adapter = sim.adapter()
        wrapper = vios.VIOS.get(adapter, uuid=sim.vios_uuid, xag=[const.XAG.VIO_FMAP])
        count = len(wrapper.vfc_mappings)
        wrapper.vfc_mappings.append(vios.VFCMapping.bld(adapter, None, 'x', 'fcs0'))
        with pytest.raises(exceptions.HttpError, match='fibre channel'):
            wrapper.update()
        assert len(vios.VIOS.get(adapter, uuid=sim.vios_uuid,
                                 xag=[const.XAG.VIO_FMAP]).vfc_mappings) == count


def test_fibre_channel_mapping_is_removed():
    with NovaLinkSimulator(recording='fake_vios_ssp_npiv.txt') as sim:
        adapter = sim.adapter()
        wrapper = vios.VIOS.get(adapter, uuid=sim.vios_uuid, xag=[const.XAG.VIO_FMAP])
        before = [m.server_adapter.name for m in wrapper.vfc_mappings]
        wrapper.vfc_mappings.remove(wrapper.vfc_mappings[0])
        after = wrapper.update()
        assert [m.server_adapter.name for m in after.vfc_mappings] == before[1:]
        assert after.etag != wrapper.etag


def test_recorded_mapping_of_a_removed_lpar_shows_as_an_orphan():
    with NovaLinkSimulator(recording='fake_vios_ssp_npiv.txt') as sim:
        adapter = sim.adapter()
        lpar = next(p for p in sim.lpars if sim.mappings(p.uuid))
        count = len(sim.mappings(lpar.uuid))
        sim.remove_lpar(lpar.uuid)
        orphans = [m for m in read(sim, adapter).scsi_mappings
                   if m.client_adapter is None and m.server_adapter.lpar_id == lpar.id]
        assert len(orphans) >= count
        assert all(m.client_lpar_href is None for m in orphans)


def test_recorded_lpar_can_change_its_state():
    with NovaLinkSimulator(recording='lpar.txt') as sim:
        lpar = sim.lpars[0]
        sim.change_lpar(lpar.uuid, state='suspended', name='a & b')
        shown = logical_partition.LPAR.get(sim.adapter(), uuid=lpar.uuid)
        assert (shown.state, shown.name) == ('suspended', 'a & b')
