# SPDX-License-Identifier: Apache-2.0
"""What other programs have on the host from the start: an LPAR with disks of every other kind.

A client has to send it back unchanged with every change of its own. One name is not ASCII. None of
the disks is a file: there would be none on this machine, which an audit rightly reports.
"""

from __future__ import annotations

from collections.abc import Iterator

from .elements import META
from .elements import element
from .model import ANY_SLOT
from .model import Mapping
from .model import Partition
from .model import new_uuid

_FIRST_SERVER_SLOT = 4000


def foreign_lpar(id: int) -> Partition:
    """The LPAR of another program."""
    return Partition(new_uuid(), 'other', id, is_foreign=True)


def foreign_mappings(vios: Partition, client: Partition, first_id: int) -> Iterator[Mapping]:
    """Mappings of another program: all kinds but files, adapters without storage, a wild card."""
    disks = [
        ('lv', 'other_lv', '0300025d4a00007a000000014b36d9de.7', None),
        ('pv', 'hdisk8', '01M0lCTTIxNDUzMTI2', _physical_volume('hdisk8')),
        ('optical', 'vidéo.iso', '0evidéo.iso', _optical_media('vidéo.iso')),
        ('lu', 'boot-other', '27c1e0b1e2a34', _logical_unit('boot-other')),
        ('rbd', 'pool/other', None, _rbd('pool/other')),
        ('none', None, None, None),
    ]
    for number, (kind, path, udid, storage) in enumerate(disks):
        server_slot = _FIRST_SERVER_SLOT + number
        lua = None if kind == 'none' else '0x8100000000000000'
        yield Mapping(
            first_id + number, vios.uuid, server_slot, client.uuid, client.id, 2 + number,
            kind=kind, path=path, lua=lua, udid=udid, storage=storage,
            target_name=None if kind == 'none' else f'vtscsi{number}',
            target_udid=None if kind == 'none' else f'0a{server_slot:07x}',
            capacity_gb='8' if kind == 'lv' else None, is_foreign=True)
    yield Mapping(first_id + len(disks), vios.uuid, _FIRST_SERVER_SLOT + len(disks), None,
                  ANY_SLOT, ANY_SLOT, has_client=False, is_foreign=True)


def _physical_volume(name: str) -> str:
    return _storage(
        'PhysicalVolume',
        element('Description', 'MPIO IBM 2076 FC Disk', 'kb="CUD" kxe="false"'),
        element('UniqueDeviceID', '01M0lCTTIxNDUzMTI2', 'kb="ROR" kxe="false"'),
        element('VolumeCapacity', 10240, 'kb="CUR" kxe="false"'),
        element('VolumeName', name, 'kb="CUR" kxe="false"'),
        element('VolumeState', 'active', 'kb="ROR" kxe="false"'))


def _optical_media(name: str) -> str:
    return _storage(
        'VirtualOpticalMedia',
        element('MediaName', name, 'kb="CUR" kxe="false"'),
        element('MediaUDID', f'0e{name}', 'kxe="false" kb="ROR"'),
        element('MountType', 'rw', 'kb="CUD" kxe="false"'),
        element('Size', '0.000000', 'kb="CUR" kxe="false"'))


def _logical_unit(name: str) -> str:
    return _storage(
        'LogicalUnit',
        element('ThinDevice', True, 'kb="CUR" kxe="false"'),
        element('UniqueDeviceID', '27c1e0b1e2a34', 'kb="ROR" kxe="false"'),
        element('UnitCapacity', 10, 'kb="COR" kxe="false"'),
        element('LogicalUnitType', 'VirtualIO_Disk', 'kxe="false" kb="ROR"'),
        element('UnitName', name, 'kb="CUR" kxe="false"'))


def _rbd(name: str) -> str:
    return _storage(
        'VirtualDisk',
        element('DiskName', name, 'kxe="false" kb="CUR"'),
        element('VirtualDiskType', 'RBD', 'ksv="V1_5_0" kxe="false" kb="CUD"'))


def _storage(name: str, *children: str) -> str:
    return f'<{name} schemaVersion="V1_0">{META}{"".join(children)}</{name}>'
