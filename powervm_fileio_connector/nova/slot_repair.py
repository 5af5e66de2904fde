# SPDX-License-Identifier: Apache-2.0
"""Repairs saved slot maps: after it they hold the file disks that NovaLink shows, each once.

Maps were spoilt where a volume was detached whose mapping had been removed outside Nova, and where
an instance was shelved and unshelved: a disk that is not attached, or that stands in two slots,
ends each later rebuild in ``InvalidRebuild``. To repair those of a host, run on it, while
nova-compute is stopped, as the user that runs nova-compute::

    python -m powervm_fileio_connector.nova.slot_repair [--config-file /etc/nova/nova.conf]
"""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from typing import Any

from nova_powervm.virt.powervm import slot
from nova_powervm.virt.powervm import vm

from powervm_fileio_connector import conf
from powervm_fileio_connector import mappings
from powervm_fileio_connector import novalink
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.nova import slots

# nova-powervm gives an LPAR these names while its volumes are on their way to another place.
_MOVING = ('resize_', 'migrate_')


def repair_slot_map(adapter: Any, store: Any, instance_uuid: str) -> list[str]:
    """Make an instance's saved slot map agree with the file disks that its LPAR has on this host.

    Nothing but file disks is touched: an entry that fits no mapping is dropped only where its UDID
    may be a file's. Safe to repeat; not while the instance is being operated on.

    :param adapter: pypowervm's
    :param store: the store of slot maps, such as a nova-compute's ``driver.store_api``
    :returns: what was changed, a sentence for each disk
    :raises FileIOConnectorError: NovaLink does not tell which disks the LPAR has
    """
    settings = conf.read()
    client, deadline = novalink.client_for(settings, adapter), Deadline(settings.rest_timeout_s)
    table, lpar_uuid = _read(client, deadline), vm.get_pvm_uuid(instance_uuid)
    table.lpar_ids[lpar_uuid.upper()] = client.lpar(lpar_uuid, deadline).id
    return _repair(_slot_manager(store, instance_uuid), mappings.attached_to(table, lpar_uuid))


def repair_host(adapter: Any, store: Any) -> dict[str, list[str]]:
    """Repair the slot maps of all instances on this host; those that are being moved are left.

    The mappings are read once, for all of them.

    :returns: by instance UUID, what was changed
    :raises FileIOConnectorError: NovaLink does not tell which disks the LPARs have
    """
    found = []
    for lpar in vm.get_lpars(adapter):
        if not lpar.name.startswith(_MOVING):
            # PowerVM's UUIDs lack the first bit of Nova's.
            for uuid in (lpar.uuid.lower(), vm._uuid_set_high_bit(lpar.uuid.lower())):
                slot_mgr = _slot_manager(store, uuid)
                if slot_mgr.topology:
                    found.append((lpar, slot_mgr))
    if not found:
        return {}
    settings = conf.read()
    table = _read(novalink.client_for(settings, adapter), Deadline(settings.rest_timeout_s))
    table.lpar_ids = {lpar.uuid.upper(): lpar.id for lpar, _ in found}
    return {slot_mgr.instance.uuid: _repair(slot_mgr, mappings.attached_to(table, lpar.uuid))
            for lpar, slot_mgr in found}


def _slot_manager(store: Any, instance_uuid: str) -> Any:
    return slot.build_slot_mgr(types.SimpleNamespace(uuid=instance_uuid), store)


def _read(client: novalink.Client, deadline: Deadline) -> mappings.MappingTable:
    return client.committer(client.management_partition(deadline).uuid).read_table(deadline)


def _repair(slot_mgr: Any, attached: Sequence[MappingRecord]) -> list[str]:
    """Repair a slot map and save it."""
    right = {(one.slot, slots.udid_of(one)): one for one in attached if one.kind == 'file'}
    files = {udid for _, udid in right}
    others = {one.udid for one in attached if one.kind != 'file'}
    changes, found = [], set()
    for number, luas in slots.disks_of(slot_mgr):
        for udid, lua in luas.items():
            disk = right.get((number, udid))
            if disk is not None and disk.lua == lua:
                found.add((number, udid))
            elif udid in files or (slots.may_be_file(udid) and udid not in others):
                slots.drop_from(slot_mgr, number, udid)
                changes.append(f'dropped disk {udid} from slot {number}, LUA {lua}')
    for place, disk in right.items():
        if place not in found:
            slots.register(slot_mgr, disk, ())
            changes.append(f'registered disk {place[1]} ({disk.path}) in slot {disk.slot}, '
                           f'LUA {disk.lua}')
    slot_mgr.save()
    return changes


def main(arguments: Sequence[str]) -> None:
    """Repair the slot maps of this host; see the module."""
    from nova import config
    from nova.conf import CONF
    from nova_powervm.virt.powervm import driver
    from oslo_utils import importutils

    config.parse_args(['nova-compute', *arguments])
    if CONF.powervm.nvram_store.lower() == 'none':
        sys.exit('No slot maps are saved: nvram_store in [powervm] is none.')
    store = slots.take_bytes(importutils.import_object(
        driver.NVRAM_NS + driver.NVRAM_APIS[CONF.powervm.nvram_store.lower()]))
    adapter = novalink.client_for(conf.read(), None).adapter
    for uuid, changes in repair_host(adapter, store).items():
        print(f'{uuid}: {"; ".join(changes) or "needs no repair"}')


if __name__ == '__main__':
    main(sys.argv[1:])
