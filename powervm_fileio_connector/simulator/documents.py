# SPDX-License-Identifier: Apache-2.0
"""Partitions and the machine as XML, in the shapes of the recordings."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape

from lxml import etree

from .elements import META
from .elements import VERSION
from .elements import document
from .elements import element
from .elements import group
from .model import Host
from .model import Partition

# Takes the place of the mappings in a VIOS document.
HOLE = '<VirtualSCSIMapping hole="here"/>'


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
        group('PartitionCapabilities',
               element('DynamicLogicalPartitionIOCapable', dlpar, 'kb="ROR" kxe="false"'),
               element('DynamicLogicalPartitionMemoryCapable', dlpar, 'kb="ROR" kxe="false"'),
               element('DynamicLogicalPartitionProcessorCapable', dlpar, 'kb="ROR" kxe="false"'),
               attributes='kb="ROR" kxe="false"'),
        element('PartitionID', partition.id, 'kxe="false" kb="COD"'),
        group('PartitionIOConfiguration',
               element('MaximumVirtualIOSlots', partition.max_slots, 'kxe="false" kb="CUD"'),
               group('ProfileIOSlots'),
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
        return document('LogicalPartition', partition.uuid, ''.join(parts))
    parts += [
        element('APICapable', True),
        element('IsVNICCapable', False),
        element('MoverServicePartition', False),
        group('PhysicalVolumes', attributes='group="ViosStorage" kxe="false" kb="CUD"'),
        group('TrunkAdapters', attributes='group="ViosNetwork" kb="CUD" kxe="false"'),
        group('VirtualFibreChannelMappings',
               attributes='group="ViosFCMapping" kxe="false" kb="CUD"'),
        group('VirtualSCSIMappings', HOLE,
               attributes='group="ViosSCSIMapping" kb="CUD" kxe="false"'),
    ]
    return document('VirtualIOServer', partition.uuid, ''.join(parts))


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
    return group(
        'PartitionMemoryConfiguration',
        element('DesiredMemory', mebibytes), element('MaximumMemory', mebibytes),
        element('MinimumMemory', mebibytes),
        element('CurrentMemory', mebibytes, 'kb="ROR" kxe="false"'))


def _processors() -> str:
    return group(
        'PartitionProcessorConfiguration',
        element('HasDedicatedProcessors', False, 'kxe="false" kb="CUD"'),
        group('SharedProcessorConfiguration',
               element('DesiredProcessingUnits', '0.5'), element('DesiredVirtualProcessors', 1),
               element('UncappedWeight', 128), attributes='kxe="false" kb="CUD"'),
        element('SharingMode', 'uncapped'))


def host_xml(host: Host) -> str:
    """The ManagedSystem document."""
    if host.document is not None:
        return host.document
    machine, model, serial = host.mtms.split('.')
    return document('ManagedSystem', host.uuid, ''.join((
        group('AssociatedSystemCapabilities',
               element('ActiveLogicalPartitionMobilityCapable', True, 'kxe="false" kb="ROO"'),
               attributes='kb="CUD" kxe="false"'),
        group('MachineTypeModelAndSerialNumber',
               element('MachineType', machine, 'kxe="false" kb="CUR"'),
               element('Model', model, 'kxe="false" kb="CUR"'),
               element('SerialNumber', serial, 'kxe="false" kb="CUR"'),
               attributes='kxe="false" kb="ROR"'),
        element('State', 'operating', 'kb="ROR" kxe="false"'),
        element('SystemName', host.name, 'kxe="false" kb="CUR"'))))


def volume_group_xml(uuid: str) -> str:
    """The one volume group of a VIOS.

    ASSUMED: A VIOS has one volume group, rootvg, with an empty media library and no virtual
    disks; pypowervm's scrubber fails where there is none.
    """
    return document('VolumeGroup', uuid, ''.join((
        element('AvailableSize', 100, 'kb="ROR" kxe="false"'),
        element('FreeSpace', 100, 'kb="ROR" kxe="false"'),
        element('GroupCapacity', 100, 'kb="CUR" kxe="false"'),
        element('GroupName', 'rootvg', 'kb="CUR" kxe="false"'),
        element('GroupSerialID', uuid.replace('-', ''), 'kxe="false" kb="ROR"'),
        group('MediaRepositories', ''.join((
            f'<VirtualMediaRepository {VERSION}>{META}', group('OpticalMedia'),
            element('RepositoryName', 'VMLibrary', 'kb="CUR" kxe="false"'),
            element('RepositorySize', 1, 'kb="CUR" kxe="false"'), '</VirtualMediaRepository>'))),
        group('VirtualDisks'))))


def of_groups(document: str, groups: frozenset[str]) -> str:
    """A document without the elements of other groups."""
    if 'group="' not in document:
        return document
    root = etree.fromstring(document)
    for part in root.xpath('//*[@group]'):
        if part.get('group') not in groups:
            part.getparent().remove(part)
    return etree.tostring(root, encoding='unicode')
