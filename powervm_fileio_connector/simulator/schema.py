# SPDX-License-Identifier: Apache-2.0
"""Names, namespaces and element orders of the REST API's documents."""

from __future__ import annotations

from collections.abc import Iterable

ATOM = 'http://www.w3.org/2005/Atom'
UOM = 'http://www.ibm.com/xmlns/systems/power/firmware/uom/mc/2012_10/'
WEB = 'http://www.ibm.com/xmlns/systems/power/firmware/web/mc/2012_10/'

SCHEMA_VERSION = 'V1_3_0'

_ADAPTER = (
    'Metadata', 'AdapterType', 'DynamicReconfigurationConnectorName', 'LocationCode',
    'LocalPartitionID', 'RequiredAdapter', 'VariedOn', 'UseNextAvailableSlotID',
    'UseNextAvailableHighSlotID', 'VirtualSlotNumber', 'Enabled', 'AdapterName',
    'BackingDeviceName', 'RemoteBackingDeviceName', 'RemoteLogicalPartitionID',
    'RemoteSlotNumber', 'ServerLocationCode', 'UniqueDeviceID')
_STORAGE = ('Metadata', 'ReadIOPS', 'WriteIOPS', 'EncryptionState', 'EncryptionKey',
            'EncryptionAgent', 'Tag', 'EmulateModel')

# The order in which children come; a name that is not listed may come anywhere (some recordings
# have IsManagementPartition out of its place).
ORDER: dict[str, tuple[str, ...]] = {
    'VirtualSCSIMapping': ('Metadata', 'AssociatedLogicalPartition', 'ClientAdapter',
                           'ServerAdapter', 'Storage', 'TargetDevice'),
    'ClientAdapter': _ADAPTER,
    'ServerAdapter': _ADAPTER,
    'VirtualDisk': (*_STORAGE, 'DiskCapacity', 'DiskLabel', 'DiskName', 'MaxLogicalVolumes',
                    'PartitionSize', 'VolumeGroup', 'BaseImage', 'UniqueDeviceID',
                    'VirtualDiskType', 'BackStoreType', 'FileFormat', 'RbdUser',
                    'OptionalParameters'),
    'LogicalVolumeVirtualTargetDevice': ('Metadata', 'LogicalUnitAddress', 'TargetName',
                                         'UniqueDeviceID'),
    'VirtualIOServer': (
        'Metadata', 'PartitionCapabilities', 'PartitionID', 'PartitionIOConfiguration',
        'PartitionMemoryConfiguration', 'PartitionName', 'PartitionProcessorConfiguration',
        'PartitionState', 'PartitionType', 'PartitionUUID', 'ResourceMonitoringControlState',
        'AssociatedManagedSystem', 'MediaRepositories',
        'PhysicalVolumes', 'SharedEthernetAdapters', 'StoragePools', 'TrunkAdapters',
        'VirtualFibreChannelMappings', 'VirtualSCSIMappings'),
}

# Storage element and target device of each kind of mapping, as recorded.
KINDS: dict[str, tuple[str, str]] = {
    'lv': ('VirtualDisk', 'LogicalVolumeVirtualTargetDevice'),
    'file': ('VirtualDisk', 'LogicalVolumeVirtualTargetDevice'),
    'rbd': ('VirtualDisk', 'LogicalVolumeVirtualTargetDevice'),
    'pv': ('PhysicalVolume', 'PhysicalVolumeVirtualTargetDevice'),
    'optical': ('VirtualOpticalMedia', 'VirtualOpticalTargetDevice'),
    'lu': ('LogicalUnit', 'SharedStoragePoolLogicalUnitVirtualTargetDevice'),
}
# Where each kind of storage element has its name.
NAME_OF = {'VirtualDisk': 'DiskName', 'PhysicalVolume': 'VolumeName',
           'VirtualOpticalMedia': 'MediaName', 'LogicalUnit': 'UnitName'}


def out_of_order(parent: str, children: Iterable[str]) -> tuple[str, str] | None:
    """The first child that comes too late, and the one it should come before."""
    order = ORDER.get(parent, ())
    highest, last = -1, ''
    for name in children:
        place = order.index(name) if name in order else -1
        if place < 0:
            continue
        if place < highest:
            return name, last
        highest, last = place, name
    return None
