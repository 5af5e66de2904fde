# SPDX-License-Identifier: Apache-2.0
"""What a vSCSI mapping element of a VIOS document says, as plain facts."""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import Any
from typing import NamedTuple

from lxml import etree
from pypowervm import const

from powervm_fileio_connector.volume import UUID
from powervm_fileio_connector.volume import without_blanks

ANY = 65535
"""The remote slot, or partition id, of a server adapter that any client may connect to."""

LINKED_UUID = re.compile(rf'/({UUID.pattern})/?\s*(?:[?#].*)?$')
"""The UUID of what a link leads to; those before it are of what that belongs to."""

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

_NUMBERS = frozenset({_SLOT, _LOCAL_ID, _REMOTE_ID, _REMOTE_SLOT})
_WRAPPERS = (_STORAGE, _TARGET)
"""Parts whose facts are those of the one element in them, beside which metadata may stand."""
_ANYTHING, _METADATA = _q('*'), _q('Metadata')
_FACTS = (*_NUMBERS, _LABEL, _NAME, _UDID, _TAG, _DISK_TYPE,
          _BACKSTORE, _CAPACITY, _LUA, _TARGET_NAME)


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


# Each path of a volume is asked for some times, and one may have thousands.
@functools.lru_cache(maxsize=1 << 14)
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
    parts = _parts(mapping)
    link, client, server = parts.get(_LINK), parts.get(_CLIENT), parts.get(_SERVER)
    href = (link.element.get('href') or '') if link is not None else ''
    linked = LINKED_UUID.search(href)
    uuid = linked[1] if linked else None
    linked_type = href[:linked.start()].rpartition('/')[2].strip().lower() if linked else ''
    client_facts = client.facts if client is not None else {}
    server_facts = server.facts if server is not None else {}
    target = parts[_TARGET].facts if _TARGET in parts else {}
    remote_id = server_facts.get(_REMOTE_ID)
    remote_slot = server_facts.get(_REMOTE_SLOT)
    is_wild_card = client is None and ANY in (remote_id, remote_slot)
    lpar_id = client_facts.get(_LOCAL_ID)
    if lpar_id is None and not is_wild_card:
        lpar_id = remote_id
    return MappingRecord(
        lpar_uuid=uuid.upper() if uuid else None, lpar_id=lpar_id,
        slot=client_facts.get(_SLOT), server_slot=server_facts.get(_SLOT),
        lua=target.get(_LUA), target_name=target.get(_TARGET_NAME),
        is_orphan=server is not None and client is None and not is_wild_card,
        is_wild_card=is_wild_card,
        is_vios_client=linked_type not in ('', 'logicalpartition'),
        **_storage_facts(parts.get(_STORAGE)))


class _Part(NamedTuple):
    """A part of a mapping: the element that has its facts, and these by tag."""

    element: Any
    facts: dict[str, Any]


def _parts(mapping: Any) -> dict[str, _Part]:
    """The parts of a mapping by tag; of several with one tag the first, here and within."""
    # All in one pass: to search for each tag would take four times as long.
    parts: dict[str, _Part] = {}
    for part in mapping.iterchildren('*'):
        name = part.tag
        if name in parts:
            continue
        if name in _WRAPPERS:
            part = next((one for one in part.iterchildren(_ANYTHING) if one.tag != _METADATA), None)
            if part is None:
                continue
        facts: dict[str, Any] = {}
        for child in part.iterchildren(*_FACTS):
            tag = child.tag
            if tag in facts:
                continue
            # A comment or a processing instruction in a text is not part of it.
            text = child.text if len(child) == 0 else child.xpath('string()')
            text = text.strip(_BLANKS) if text else ''
            if tag in _NUMBERS:
                facts[tag] = int(text) if text.isdecimal() and text.isascii() else None
            else:
                facts[tag] = text or None
        parts[name] = _Part(part, facts)
    return parts


def _storage_facts(storage: _Part | None) -> dict[str, Any]:
    if storage is None:
        return {'kind': 'none'}
    facts = storage.facts
    name = etree.QName(storage.element).localname
    common = {'udid': facts.get(_UDID), 'tag': without_blanks(facts.get(_TAG))}
    if name != 'VirtualDisk':
        return {'kind': _KINDS.get(name, name), **common}
    path = facts.get(_LABEL) or facts.get(_NAME)
    disk_type = facts.get(_DISK_TYPE)
    if disk_type is None:
        # Old servers know no type; a logical volume's label never is an absolute path.
        disk_type = 'File' if path is not None and path.startswith('/') else 'LogicalVolume'
    kind = _DISK_KINDS.get(disk_type, disk_type)
    if kind == 'file' and path is not None and not path.startswith('/'):
        # The label may be a name of somebody's choice.
        path = facts.get(_NAME) or path
    capacity = facts.get(_CAPACITY)
    return {'kind': kind, 'path': path if kind == 'file' else None, **common,
            'backstore': facts.get(_BACKSTORE),
            'capacity_gb': float(capacity) if capacity and _DECIMAL.fullmatch(capacity) else None}
