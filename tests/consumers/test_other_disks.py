# SPDX-License-Identifier: Apache-2.0
"""Disks that are no files, in the slot map of an instance that also has files.

The map has one kind for files, logical volumes and RBD images.
"""

import uuid

import pytest

pytest.importorskip('nova_powervm', reason='nova-powervm is not installed')

from nova_powervm.virt.powervm import slot
from pypowervm.tasks import scsi_mapper
from pypowervm.wrappers import storage

from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.nova import slot_repair
from powervm_fileio_connector.nova import slots

LUA = '0x8100000000000000'
OTHERS = {
    'image that nova-powervm registered by its name': 'rbd/volume-' + str(uuid.uuid4()),
    'logical volume, as recorded': '0300f8d6de00004b000000014a54555cd9.1',
}
LEFT_BEHIND = str(uuid.uuid3(uuid.NAMESPACE_URL, '/mnt/volume'))


def register(host, server, *udids):
    """Have the saved map know disks in a slot of their own."""
    slot_mgr = slot.build_slot_mgr(server.instance, host.slot_maps)
    for udid in udids:
        slot_mgr._reg_slot('VDisk', udid, 40, extra_spec=LUA)
    slot_mgr.save()


def repair(host, server):
    return slot_repair.repair_slot_map(host.driver.adapter, host.slot_maps, server.instance.uuid)


def map_image(host, server, udid):
    """Map an RBD image, which has this UDID."""
    image = storage.RBD.bld_ref(host.driver.adapter, 'rbd/volume-1', user='cinder')
    image.set_parm_value('UniqueDeviceID', udid)
    scsi_mapper.add_vscsi_mapping(None, host.novalink.vios_uuid, server.uuid, image)


@pytest.mark.parametrize('disk', OTHERS)
def test_a_repair_leaves_what_is_no_file(one, make_volumes, disk):
    server = one.create(make_volumes(1))
    before = one.slots(server)
    register(one, server, OTHERS[disk], LEFT_BEHIND)
    assert repair(one, server) == [f'dropped disk {LEFT_BEHIND} from slot 40, LUA {LUA}']
    assert one.slots(server) == sorted([*before, (OTHERS[disk], 40, LUA)])


def test_a_repair_leaves_a_mapped_image_whose_udid_could_be_a_files(one, make_volumes):
    server = one.create(make_volumes(1))
    before, udid = one.slots(server), str(uuid.uuid4())
    map_image(one, server, udid)
    assert {mapping.kind for mapping in one.novalink.mappings(server.uuid)} == {'file', 'rbd'}
    assert repair(one, server) == []
    assert one.slots(server) == before
    register(one, server, udid)
    assert repair(one, server) == []
    assert one.slots(server) == sorted([*before, (udid, 40, LUA)])


@pytest.mark.parametrize('disk', OTHERS)
def test_an_unshelve_leaves_what_is_no_file(one, make_volumes, disk):
    server = one.create(make_volumes(1))
    one.shelve(server)
    register(one, server, OTHERS[disk], LEFT_BEHIND)
    one.unshelve(server)
    known = {udid for udid, _, _ in one.slots(server)}
    assert known == {OTHERS[disk], one.novalink.mappings(server.uuid)[0].udid}


@pytest.mark.parametrize('kind', ['file', 'rbd', 'lv'])
def test_what_is_mapped_is_never_absent(one, make_volumes, kind):
    server = one.create(make_volumes(1))
    udid = str(uuid.uuid4())
    register(one, server, udid, LEFT_BEHIND)
    slot_mgr = slot.build_slot_mgr(server.instance, one.slot_maps)
    slots.drop_absent_files(slot_mgr, [MappingRecord(kind=kind, udid=udid)])
    assert dict(slots.disks_of(slot_mgr)) == {40: {udid: LUA}}
