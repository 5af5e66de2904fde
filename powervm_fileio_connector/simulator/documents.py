# SPDX-License-Identifier: Apache-2.0
"""The state as XML: mappings, partitions and the machine, in the shapes of the recordings.

The text is exactly what libxml2 would write (without indentation), so that a mapping that a
client sends back unchanged comes back as the very bytes that were sent.
"""

from __future__ import annotations

import re
from xml.sax.saxutils import escape

from lxml import etree

from powervm_fileio_connector.simulator.model import ANY_SLOT
from powervm_fileio_connector.simulator.model import Host
from powervm_fileio_connector.simulator.model import Mapping
from powervm_fileio_connector.simulator.model import Partition
from powervm_fileio_connector.simulator.schema import KINDS
from powervm_fileio_connector.simulator.schema import SCHEMA_VERSION
from powervm_fileio_connector.simulator.schema import UOM

_META = '<Metadata><Atom/></Metadata>'
_VERSION = f'schemaVersion="{SCHEMA_VERSION}"'
# Takes the place of the mappings in a VIOS document.
HOLE = '<VirtualSCSIMapping hole="here"/>'


def element(name: str, text: object = None, attributes: str = '') -> str:
    """One element with text; None is an empty element."""
    attributes = attributes or 'kb="CUD" kxe="false"'
    if text is None or text == '':
        return f'<{name} {attributes}/>'
    if isinstance(text, bool):
        text = str(text).lower()
    return f'<{name} {attributes}>{escape(str(text))}</{name}>'


def _optional(name: str, text: str | None, attributes: str = '') -> str:
    return '' if text is None else element(name, text, attributes)


def _group(name: str, *children: str, attributes: str = 'kb="CUD" kxe="false"') -> str:
    return f'<{name} {attributes} {_VERSION}>{_META}{"".join(children)}</{name}>'


# -- mappings --------------------------------------------------------------------------------

def mapping_xml(mapping: Mapping, host: Host, vios: Partition, url: str) -> str:
    """A mapping as the server shows it."""
    if mapping.source is not None:
        return _recorded(mapping)
    parts = [f'<VirtualSCSIMapping {_VERSION}>{_META}']
    if mapping.has_client and mapping.lpar_uuid:
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
        f'<ClientAdapter kb="CUR" kxe="false" {_VERSION}>{_META}',
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
        f'<ServerAdapter kb="CUR" kxe="false" {_VERSION}>{_META}',
        element('AdapterType', 'Server', 'kxe="false" kb="ROR"'),
        element('DynamicReconfigurationConnectorName', where),
        element('LocationCode', where, 'kxe="false" kb="ROR"'),
        element('LocalPartitionID', vios.id, 'kxe="false" kb="CUR"'),
        element('VirtualSlotNumber', mapping.server_slot, 'kb="COD" kxe="false"'),
        _optional('BackingDeviceName', mapping.path, 'kxe="false" kb="CUR"'),
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
        f'<VirtualDisk {_VERSION}>{_META}',
        # ASSUMED: tag, model alias and backstore come back where the schema has them; no
        # recording shows a disk that has them.
        _optional('Tag', mapping.tag, 'ksv="V1_9_0" kb="CUR" kxe="false"'),
        _optional('EmulateModel', mapping.emulate_model, 'ksv="V1_9_0" kb="CUR" kxe="false"'),
        _optional('DiskCapacity', mapping.capacity_gb, 'kb="CUR" kxe="false"'),
        element('DiskLabel', mapping.path if mapping.kind == 'file' else 'None',
                'kb="CUR" kxe="false"'),
        element('DiskName', mapping.path, 'kxe="false" kb="CUR"'),
        _optional('UniqueDeviceID', mapping.udid, 'kb="ROR" kxe="false"'),
        element('VirtualDiskType', kind, 'ksv="V1_5_0" kxe="false" kb="CUD"'),
        _optional('BackStoreType', mapping.backstore, 'ksv="V1_5_0" kxe="false" kb="CUD"'),
        '</VirtualDisk>'))


def _target_device(mapping: Mapping) -> str:
    name = KINDS[mapping.kind][1]
    return ''.join((
        f'<{name} {_VERSION}>{_META}',
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


# -- partitions and the machine --------------------------------------------------------------

def _root(name: str, uuid: str, children: str) -> str:
    return (f'<{name}:{name} xmlns:{name}="{UOM}" xmlns="{UOM}" '
            'xmlns:ns2="http://www.w3.org/XML/1998/namespace/k2" '
            f'{_VERSION}><Metadata><Atom><AtomID>{uuid}</AtomID><AtomCreated>0</AtomCreated>'
            f'</Atom></Metadata>{children}</{name}:{name}>')


def partition_xml(partition: Partition, host: Host, url: str) -> str:
    """An LPAR's or a VIOS's document with all its groups; a VIOS's has a ``HOLE``."""
    if partition.document is not None:
        return _recorded_partition(partition, partition.document)
    dlpar = partition.io_dlpar
    system = f'{url}/rest/api/uom/ManagedSystem/{host.uuid}'
    parts = [
        element('IsVirtualServiceAttentionLEDOn', False, 'kxe="false" kb="ROR"'),
        element('KeylockPosition', 'normal'),
        element('OperatingSystemVersion', 'Linux/simulated', 'kxe="false" kb="ROR"'),
        _group('PartitionCapabilities',
               element('DynamicLogicalPartitionIOCapable', dlpar, 'kb="ROR" kxe="false"'),
               element('DynamicLogicalPartitionMemoryCapable', dlpar, 'kb="ROR" kxe="false"'),
               element('DynamicLogicalPartitionProcessorCapable', dlpar, 'kb="ROR" kxe="false"'),
               attributes='kb="ROR" kxe="false"'),
        element('PartitionID', partition.id, 'kxe="false" kb="COD"'),
        _group('PartitionIOConfiguration',
               element('MaximumVirtualIOSlots', partition.max_slots, 'kxe="false" kb="CUD"'),
               _group('ProfileIOSlots'),
               element('CurrentMaximumVirtualIOSlots', partition.max_slots,
                       'kb="ROR" kxe="false"')),
        _memory(4096),
        element('PartitionName', partition.name, 'kb="CUR" kxe="false"'),
        _processors(),
        element('PartitionState', partition.state, 'kb="ROO" kxe="false"'),
        element('PartitionType', partition.type, 'kxe="false" kb="COD"'),
        element('PartitionUUID', partition.uuid, 'kxe="false" kb="ROO"'),
        element('PendingProcessorCompatibilityMode', 'default'),
        element('ResourceMonitoringControlState', partition.rmc_state, 'kb="ROR" kxe="false"'),
        f'<AssociatedManagedSystem kxe="false" kb="CUD" href="{system}" rel="related"/>',
        element('IsServicePartition', partition.is_management),
        element('ReferenceCode', 'Linux ppc64le', 'kb="ROO" kxe="true"'),
        element('IsManagementPartition', partition.is_management,
                'ksv="V1_4_0" kb="CUD" kxe="false"'),
        element('BootMode', 'Normal', 'kxe="false" kb="CUD"'),
        element('Uptime', 86400, 'ksv="V1_5_0" kxe="true" kb="ROO"'),
    ]
    if not partition.is_io_server:
        parts.append(element('MigrationState', 'Not_Migrating', 'kb="ROR" kxe="false"'))
        return _root('LogicalPartition', partition.uuid, ''.join(parts))
    parts += [
        element('APICapable', True),
        element('IsVNICCapable', False),
        element('MoverServicePartition', False),
        _group('PhysicalVolumes', attributes='group="ViosStorage" kxe="false" kb="CUD"'),
        _group('TrunkAdapters', attributes='group="ViosNetwork" kb="CUD" kxe="false"'),
        _group('VirtualFibreChannelMappings',
               attributes='group="ViosFCMapping" kxe="false" kb="CUD"'),
        _group('VirtualSCSIMappings', HOLE,
               attributes='group="ViosSCSIMapping" kb="CUD" kxe="false"'),
    ]
    return _root('VirtualIOServer', partition.uuid, ''.join(parts))


def _recorded_partition(partition: Partition, document: str) -> str:
    """A recorded document; what may have changed since is written into it."""
    for name, value in (
            ('PartitionName', partition.name), ('PartitionState', partition.state),
            ('ResourceMonitoringControlState', partition.rmc_state),
            ('DynamicLogicalPartitionIOCapable', str(partition.io_dlpar).lower())):
        found = re.search(rf'<{name}(?: [^>]*)?>([^<]*)</{name}>', document)
        if found:
            document = document[:found.start(1)] + escape(value) + document[found.end(1):]
    return document


def _memory(mebibytes: int) -> str:
    return _group(
        'PartitionMemoryConfiguration',
        element('DesiredMemory', mebibytes), element('MaximumMemory', mebibytes),
        element('MinimumMemory', mebibytes),
        element('CurrentMemory', mebibytes, 'kb="ROR" kxe="false"'))


def _processors() -> str:
    return _group(
        'PartitionProcessorConfiguration',
        element('HasDedicatedProcessors', False, 'kxe="false" kb="CUD"'),
        _group('SharedProcessorConfiguration',
               element('DesiredProcessingUnits', '0.5'), element('DesiredVirtualProcessors', 1),
               element('UncappedWeight', 128), attributes='kxe="false" kb="CUD"'),
        element('SharingMode', 'uncapped'))


def host_xml(host: Host) -> str:
    """The ManagedSystem document."""
    if host.document is not None:
        return host.document
    machine, model, serial = host.mtms.split('.')
    return _root('ManagedSystem', host.uuid, ''.join((
        _group('AssociatedSystemCapabilities',
               element('ActiveLogicalPartitionMobilityCapable', True, 'kxe="false" kb="ROO"'),
               attributes='kb="CUD" kxe="false"'),
        _group('MachineTypeModelAndSerialNumber',
               element('MachineType', machine, 'kxe="false" kb="CUR"'),
               element('Model', model, 'kxe="false" kb="CUR"'),
               element('SerialNumber', serial, 'kxe="false" kb="CUR"'),
               attributes='kxe="false" kb="ROR"'),
        element('State', 'operating', 'kb="ROR" kxe="false"'),
        element('SystemName', host.name, 'kxe="false" kb="CUR"'))))


def volume_group_xml(uuid: str) -> str:
    """The one volume group of a VIOS.

    ASSUMED: rootvg, without virtual disks and media; pypowervm's scrubber wants to see one.
    """
    return _root('VolumeGroup', uuid, ''.join((
        element('AvailableSize', 100, 'kb="ROR" kxe="false"'),
        element('FreeSpace', 100, 'kb="ROR" kxe="false"'),
        element('GroupCapacity', 100, 'kb="CUR" kxe="false"'),
        element('GroupName', 'rootvg', 'kb="CUR" kxe="false"'),
        element('GroupSerialID', uuid.replace('-', ''), 'kxe="false" kb="ROR"'),
        _group('VirtualDisks'))))


def of_groups(document: str, groups: frozenset[str]) -> str:
    """A document without the elements of other groups."""
    if 'group="' not in document:
        return document
    root = etree.fromstring(document)
    for part in root.xpath('//*[@group]'):
        if part.get('group') not in groups:
            part.getparent().remove(part)
    return etree.tostring(root, encoding='unicode')
