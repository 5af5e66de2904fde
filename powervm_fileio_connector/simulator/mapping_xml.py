# SPDX-License-Identifier: Apache-2.0
"""A mapping as XML, in the shape of the recorded file-backed ones."""

from __future__ import annotations

import re

from .elements import META
from .elements import VERSION
from .elements import element
from .elements import optional
from .model import ANY_SLOT
from .model import Host
from .model import Mapping
from .model import Partition
from .schema import KINDS


def mapping_xml(mapping: Mapping, host: Host, vios: Partition, url: str,
                shows_lpar: bool = True) -> str:
    """A mapping as the server shows it.

    :param shows_lpar: it has a link to its LPAR
    """
    if mapping.source is not None:
        return _recorded(mapping)
    parts = [f'<VirtualSCSIMapping {VERSION}>{META}']
    if mapping.has_client and mapping.lpar_uuid and shows_lpar:
        href = f'{url}/rest/api/uom/ManagedSystem/{host.uuid}/LogicalPartition/{mapping.lpar_uuid}'
        parts.append('<AssociatedLogicalPartition kb="CUR" kxe="false" '
                     f'href="{href}" rel="related"/>')
    if mapping.has_client:
        parts.append(_client_adapter(mapping, host, vios))
    parts.append(_server_adapter(mapping, host, vios))
    if mapping.kind != 'none':
        parts.append(f'<Storage kb="CUR" kxe="false">{storage_xml(mapping)}</Storage>')
        parts.append('<TargetDevice kxe="false" kb="CUR">'
                     f'{_target_device(mapping)}</TargetDevice>')
    parts.append('</VirtualSCSIMapping>')
    return ''.join(parts)


def location(host: Host, partition_id: int, slot: int) -> str:
    """A virtual adapter's location code: U8247.22L.2125D4A-V1-C4."""
    return f'U{host.mtms}-V{partition_id}-C{slot}'


def _client_adapter(mapping: Mapping, host: Host, vios: Partition) -> str:
    where = location(host, mapping.lpar_id, mapping.slot)
    return ''.join((
        f'<ClientAdapter kb="CUR" kxe="false" {VERSION}>{META}',
        element('AdapterType', 'Client', 'kxe="false" kb="ROR"'),
        element('DynamicReconfigurationConnectorName', where),
        element('LocationCode', where, 'kxe="false" kb="ROR"'),
        element('LocalPartitionID', mapping.lpar_id, 'kxe="false" kb="CUR"'),
        element('VirtualSlotNumber', mapping.slot, 'kb="COD" kxe="false"'),
        element('RemoteLogicalPartitionID', vios.id, 'kb="CUR" kxe="false"'),
        element('RemoteSlotNumber', mapping.server_slot, 'kxe="false" kb="CUA"'),
        '</ClientAdapter>'))


def _server_adapter(mapping: Mapping, host: Host, vios: Partition) -> str:
    where = location(host, vios.id, mapping.server_slot)
    remote = ANY_SLOT if mapping.is_wild_card else mapping.lpar_id
    return ''.join((
        f'<ServerAdapter kb="CUR" kxe="false" {VERSION}>{META}',
        element('AdapterType', 'Server', 'kxe="false" kb="ROR"'),
        element('DynamicReconfigurationConnectorName', where),
        element('LocationCode', where, 'kxe="false" kb="ROR"'),
        element('LocalPartitionID', vios.id, 'kxe="false" kb="CUR"'),
        element('VirtualSlotNumber', mapping.server_slot, 'kb="COD" kxe="false"'),
        optional('BackingDeviceName', mapping.path, 'kxe="false" kb="CUR"'),
        element('RemoteLogicalPartitionID', remote, 'kb="CUR" kxe="false"'),
        element('RemoteSlotNumber', mapping.slot, 'kxe="false" kb="CUA"'),
        element('UniqueDeviceID', f'1e{where}', 'kxe="false" kb="ROR"'),
        '</ServerAdapter>'))


def storage_xml(mapping: Mapping) -> str:
    """The storage element of a mapping."""
    if mapping.storage is not None:
        return mapping.storage
    kind = 'File' if mapping.kind == 'file' else 'LogicalVolume'
    return ''.join((
        f'<VirtualDisk {VERSION}>{META}',
        # ASSUMED: The tag, model alias and backstore of a disk come back where the schema has
        # them; no recording shows a disk that has them.
        optional('Tag', mapping.tag, 'ksv="V1_9_0" kb="CUR" kxe="false"'),
        optional('EmulateModel', mapping.emulate_model, 'ksv="V1_9_0" kb="CUR" kxe="false"'),
        optional('DiskCapacity', mapping.capacity_gb, 'kb="CUR" kxe="false"'),
        element('DiskLabel', mapping.path if mapping.kind == 'file' else 'None',
                'kb="CUR" kxe="false"'),
        element('DiskName', mapping.path, 'kxe="false" kb="CUR"'),
        optional('UniqueDeviceID', mapping.udid, 'kb="ROR" kxe="false"'),
        element('VirtualDiskType', kind, 'ksv="V1_5_0" kxe="false" kb="CUD"'),
        optional('BackStoreType', mapping.backstore, 'ksv="V1_5_0" kxe="false" kb="CUD"'),
        '</VirtualDisk>'))


def _target_device(mapping: Mapping) -> str:
    name = KINDS[mapping.kind][1]
    return ''.join((
        f'<{name} {VERSION}>{META}',
        element('LogicalUnitAddress', mapping.lua, 'kxe="false" kb="CUR"'),
        element('TargetName', mapping.target_name, 'kb="CUR" kxe="false"'),
        element('UniqueDeviceID', mapping.target_udid, 'kxe="false" kb="ROR"'),
        f'</{name}>'))


def _recorded(mapping: Mapping) -> str:
    """A recorded mapping; altered only where something has happened to it since."""
    source = mapping.source or ''
    if not mapping.has_client and '<ClientAdapter' in source:
        # As recorded for orphans: the LPAR link goes with the client adapter.
        source = re.sub(r'<ClientAdapter .*?</ClientAdapter>\s*', '', source, flags=re.S)
        source = re.sub(r'<AssociatedLogicalPartition [^>]*/>\s*', '', source)
    if mapping.kind == 'file' and mapping.capacity_gb:
        source = re.sub(r'(<DiskCapacity[^>]*>)[^<]*', rf'\g<1>{mapping.capacity_gb}', source)
    return source
