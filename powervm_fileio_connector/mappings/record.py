# SPDX-License-Identifier: Apache-2.0
"""What a vSCSI mapping element of a VIOS document says, as plain facts."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from lxml import etree
from pypowervm import const

ANY = 65535
"""The remote slot, or partition id, of a server adapter that any client may connect to."""

UUID = re.compile(r'[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}')
_BLANKS = ' \t\r\n'
"""What XML calls white space; other blanks belong to a name."""
_DECIMAL = re.compile(r'\d+(\.\d+)?', re.ASCII)
_KINDS = {'PhysicalVolume': 'pv', 'LogicalUnit': 'lu', 'VirtualOpticalMedia': 'optical'}
_DISK_KINDS = {'File': 'file', 'LogicalVolume': 'lv', 'RBD': 'rbd'}


def _q(name: str) -> str:
    return f'{{{const.UOM_NS}}}{name}'


_LINK = _q('AssociatedLogicalPartition')
_CLIENT, _SERVER = _q('ClientAdapter'), _q('ServerAdapter')
_STORAGE, _TARGET = _q('Storage'), _q('TargetDevice')
_SLOT, _LOCAL_ID = _q('VirtualSlotNumber'), _q('LocalPartitionID')
_REMOTE_ID, _REMOTE_SLOT = _q('RemoteLogicalPartitionID'), _q('RemoteSlotNumber')
_LABEL, _NAME, _UDID = _q('DiskLabel'), _q('DiskName'), _q('UniqueDeviceID')
_TAG, _DISK_TYPE = _q('Tag'), _q('VirtualDiskType')
_BACKSTORE, _CAPACITY = _q('BackStoreType'), _q('DiskCapacity')
_LUA, _TARGET_NAME = _q('LogicalUnitAddress'), _q('TargetName')


@dataclasses.dataclass(frozen=True)
class MappingRecord:
    """One mapping, as plain facts that the document shows; None where it shows nothing.

    ``path`` is the file's, as the server spells it, and None for other kinds of storage. An orphan
    is what a client that is gone leaves behind: a server adapter without client adapter. Where its
    link names an LPAR that lives, its client adapter is just being made, and it is in use. A wild
    card is a server adapter that waits for any client. ``lpar_uuid`` is what the link names: for
    ``is_vios_client`` an I/O server, else an LPAR.
    """

    lpar_uuid: str | None = None
    lpar_id: int | None = None
    slot: int | None = None
    server_slot: int | None = None
    lua: str | None = None
    udid: str | None = None
    path: str | None = None
    target_name: str | None = None
    tag: str | None = None
    backstore: str | None = None
    capacity_gb: float | None = None
    kind: str = 'none'
    is_orphan: bool = False
    is_wild_card: bool = False
    is_vios_client: bool = False
    is_new: bool = dataclasses.field(default=False, compare=False)

    def is_larger_than(self, size: int) -> bool:
        """Whether the disk, as the server last saw it, has more than so many bytes."""
        # Recordings show up to six decimals, trailing zeros left out: 35, 1.410669. A server that
        # rounds to fewer is given one unit of its last place; a whole number is taken as it is.
        if self.capacity_gb is None:
            return False
        decimals = len(f'{self.capacity_gb:.10f}'.rstrip('0').partition('.')[2])
        return self.capacity_gb > size / 2**30 + 10.0 ** -(decimals or 6)

    @property
    def client(self) -> str:
        """The LPAR in words, for messages."""
        if self.is_wild_card:
            return f'any LPAR (wild-card server adapter in slot {self.server_slot})'
        if self.lpar_uuid is None:
            return f'the LPAR with id {self.lpar_id}'
        return f'LPAR {self.lpar_uuid}'


def normalised(path: str) -> str:
    """A path without the spelling differences that leave it the same file.

    ``..`` stays: behind a symlink it leads elsewhere than where it seems to.
    """
    path = path.strip(_BLANKS)
    if '//' not in path and '/.' not in path and not path.endswith('/'):
        return path
    parts = '/'.join(part for part in path.split('/') if part not in ('', '.'))
    return f'/{parts}' if path.startswith('/') else parts


def record_of(mapping: Any) -> MappingRecord:
    """Read one mapping element."""
    parts = _children(mapping)
    link = parts.get(_LINK)
    client, server = _children(parts.get(_CLIENT)), _children(parts.get(_SERVER))
    has_client, has_server = _CLIENT in parts, _SERVER in parts
    href = (link.get('href') or '') if link is not None else ''
    uuids = UUID.findall(href)
    remote_id, remote_slot = _number(server, _REMOTE_ID), _number(server, _REMOTE_SLOT)
    is_wild_card = not has_client and ANY in (remote_id, remote_slot)
    target = _children(_only_child(parts.get(_TARGET)))
    return MappingRecord(
        lpar_uuid=uuids[-1].upper() if uuids else None,
        lpar_id=_first(_number(client, _LOCAL_ID), None if is_wild_card else remote_id),
        slot=_number(client, _SLOT), server_slot=_number(server, _SLOT),
        lua=_text(target, _LUA), target_name=_text(target, _TARGET_NAME),
        is_orphan=has_server and not has_client and not is_wild_card,
        is_wild_card=is_wild_card,
        is_vios_client=bool(uuids) and f'/VirtualIOServer/{uuids[-1]}' in href,
        **_storage_facts(_only_child(parts.get(_STORAGE))))


def _storage_facts(storage: Any) -> dict[str, Any]:
    if storage is None:
        return {'kind': 'none'}
    name = etree.QName(storage).localname
    facts = _children(storage)
    if name != 'VirtualDisk':
        return {'kind': _KINDS.get(name, name), 'udid': _text(facts, _UDID),
                'tag': _text(facts, _TAG)}
    path = _first(_text(facts, _LABEL), _text(facts, _NAME))
    disk_type = _text(facts, _DISK_TYPE)
    if disk_type is None:
        # Old servers know no type; a logical volume's label never is an absolute path.
        disk_type = 'File' if path is not None and path.startswith('/') else 'LogicalVolume'
    kind = _DISK_KINDS.get(disk_type, disk_type)
    return {'kind': kind, 'path': path if kind == 'file' else None,
            'udid': _text(facts, _UDID), 'tag': _text(facts, _TAG),
            'backstore': _text(facts, _BACKSTORE), 'capacity_gb': _decimal(facts, _CAPACITY)}


def _children(part: Any) -> dict[str, Any]:
    """The elements in one, by tag; of several with one tag the first."""
    # To search for each tag would take four times as long.
    return ({child.tag: child for child in part.iterchildren('*', reversed=True)}
            if part is not None else {})


def _only_child(part: Any) -> Any:
    return next(part.iterchildren('*'), None) if part is not None else None


def _text(part: dict[str, Any], tag: str) -> str | None:
    child = part.get(tag)
    if child is None:
        return None
    # A comment or a processing instruction in a text is not part of it.
    text = child.text if len(child) == 0 else child.xpath('string()')
    return text.strip(_BLANKS) or None if text else None


def _number(part: dict[str, Any], tag: str) -> int | None:
    text = _text(part, tag)
    return int(text) if text is not None and text.isdecimal() and text.isascii() else None


def _decimal(part: dict[str, Any], tag: str) -> float | None:
    text = _text(part, tag)
    return float(text) if text is not None and _DECIMAL.fullmatch(text) else None


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
