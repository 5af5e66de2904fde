# SPDX-License-Identifier: Apache-2.0
"""The vSCSI mappings of one VIOS document: what is there, asked of the XML directly.

pypowervm answers such questions by wrapping every mapping: three Python objects and several searches
each, at every question, which is most of what an attach costs on a host with thousands of mappings.
Here libxml2 finds the few elements that matter, and only those become Python objects.
"""

from __future__ import annotations

import dataclasses
import posixpath
import re
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from lxml import etree
from pypowervm import const
from pypowervm.wrappers import virtual_io_server

ANY = 65535
"""The remote slot, or partition id, of a server adapter that any client may connect to."""

_NS = {'v': const.UOM_NS}
_UUID = re.compile(r'[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}')
_KINDS = {'PhysicalVolume': 'pv', 'LogicalUnit': 'lu', 'VirtualOpticalMedia': 'optical'}
_DISK_KINDS = {'File': 'file', 'LogicalVolume': 'lv', 'RBD': 'rbd'}


def _q(path: str) -> str:
    return '/'.join(f'{{{const.UOM_NS}}}{name}' for name in path.split('/'))


_LINK = _q('AssociatedLogicalPartition')
_CLIENT, _SERVER = _q('ClientAdapter'), _q('ServerAdapter')
_STORAGE, _TARGET, _MAPPING = _q('Storage'), _q('TargetDevice'), _q('VirtualSCSIMapping')
_SLOT, _LOCAL_ID = _q('VirtualSlotNumber'), _q('LocalPartitionID')
_REMOTE_ID, _REMOTE_SLOT = _q('RemoteLogicalPartitionID'), _q('RemoteSlotNumber')
_LABEL, _NAME, _UDID = _q('DiskLabel'), _q('DiskName'), _q('UniqueDeviceID')
_LUA, _TARGET_NAME = _q('LogicalUnitAddress'), _q('TargetName')


def _xpath(path: str) -> etree.XPath:
    return etree.XPath(path, namespaces=_NS, smart_strings=False)


# The path of a file is its label; where a server leaves that out, its name.
_ALL_PATHS = (_xpath('v:VirtualSCSIMapping/v:Storage/v:VirtualDisk/v:DiskLabel/text()'),
              _xpath('v:VirtualSCSIMapping/v:Storage/v:VirtualDisk[not(v:DiskLabel)]'
                     '/v:DiskName/text()'))
_ALL_LINKS = _xpath('v:VirtualSCSIMapping/v:AssociatedLogicalPartition/@href')
_BY_PATH = _xpath('v:VirtualSCSIMapping[v:Storage/v:VirtualDisk[v:DiskLabel=$text or '
                  '(not(v:DiskLabel) and v:DiskName=$text)]]')
_BY_LINK = _xpath('v:VirtualSCSIMapping[v:AssociatedLogicalPartition/@href=$text]')
_WITHOUT_LINK = _xpath('v:VirtualSCSIMapping[not(v:AssociatedLogicalPartition) '
                       'and v:ClientAdapter]')


@dataclasses.dataclass(frozen=True)
class MappingRecord:
    """One mapping, as plain facts that the document shows; None where it shows nothing.

    ``path`` is the file's, as the server spells it, and None for other kinds of storage. An orphan
    is what a client that is gone leaves behind: a server adapter without client adapter. A wild card
    is a server adapter that waits for any client.
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

    def is_larger_than(self, size: int) -> bool:
        """Whether the disk, as the server last saw it, has more than so many bytes."""
        # Capacities are rounded, volumes whole GB: a hundredth tells the two apart.
        return self.capacity_gb is not None and self.capacity_gb > size / 2**30 + 0.01

    @property
    def client(self) -> str:
        """The LPAR in words, for messages."""
        if self.is_wild_card:
            return f'any LPAR (wild-card server adapter in slot {self.server_slot})'
        if self.lpar_uuid is None:
            return f'the LPAR with id {self.lpar_id}'
        return f'LPAR {self.lpar_uuid}'


def normalised(path: str) -> str:
    """A path without the spelling differences that leave it the same file."""
    path = posixpath.normpath(path.strip())
    # POSIX lets normpath keep exactly two leading slashes; Linux gives them no meaning.
    return path[1:] if path.startswith('//') else path


def record_of(mapping: Any) -> MappingRecord:
    """Read one mapping element."""
    parts = {part.tag: part for part in mapping.iterchildren(etree.Element)}
    link, client, server = parts.get(_LINK), parts.get(_CLIENT), parts.get(_SERVER)
    uuids = _UUID.findall(link.get('href') or '') if link is not None else ()
    remote_id, remote_slot = _number(server, _REMOTE_ID), _number(server, _REMOTE_SLOT)
    is_wild_card = client is None and ANY in (remote_id, remote_slot)
    target = _only_child(parts.get(_TARGET))
    return MappingRecord(
        lpar_uuid=uuids[-1].upper() if uuids else None,
        lpar_id=_first(_number(client, _LOCAL_ID), None if is_wild_card else remote_id),
        slot=_number(client, _SLOT), server_slot=_number(server, _SLOT),
        lua=_text(target, _LUA), target_name=_text(target, _TARGET_NAME),
        is_orphan=client is None and server is not None and not is_wild_card,
        is_wild_card=is_wild_card, **_storage_facts(_only_child(parts.get(_STORAGE))))


def records(vios_w: Any) -> list[MappingRecord]:
    """Read all mappings of a VIOS wrapper that was read with its mappings."""
    return [record_of(mapping) for mapping in Document(vios_w)]


class Document:
    """The mappings of one VIOS wrapper, found by path or LPAR, and added to or taken from.

    Elements are the handles: what a question returns can be given to :meth:`remove`. Nothing is
    sent; other mappings keep their bytes and their order.
    """

    def __init__(self, vios_w: Any, lpar_ids: Mapping[str, int | None] | None = None) -> None:
        """:param vios_w: wrapper of the VIOS, read with the group of its vSCSI mappings

        :param lpar_ids: ids of LPARs that are known by now, by UUID
        """
        self.vios_w = vios_w
        self.as_of = 0.0
        self.lpar_ids = dict(lpar_ids or {})
        self.is_edited = False
        self.new_buses: dict[tuple[str, int | None], int] = {}
        self.added: list[Any] = []
        self._section = vios_w.scsi_mappings.root_elem.element
        self._paths: set[str] | None = None
        self._links: set[str] | None = None

    def __iter__(self) -> Iterator[Any]:
        return iter(self._section.findall(_MAPPING))

    def of_paths(self, paths: Collection[str]) -> list[Any]:
        """The mappings of these files, whoever they belong to, whatever the spelling."""
        if self._paths is None:
            self._paths = {text for find in _ALL_PATHS for text in find(self._section)}
        wanted = {normalised(path) for path in paths}
        # Thousands of strings: only those that could be another spelling are normalised.
        texts = [text for text in self._paths
                 if text in wanted or (_is_unusual(text) and normalised(text) in wanted)]
        return [mapping for text in texts for mapping in _BY_PATH(self._section, text=text)
                if _kind(mapping) == 'file']

    def of_lpar(self, lpar_uuid: str) -> list[Any]:
        """The mappings that are linked to an LPAR; see also :meth:`without_link`."""
        if self._links is None:
            self._links = set(_ALL_LINKS(self._section))
        wanted = lpar_uuid.upper()
        return [mapping for text in self._links if wanted in text.upper()
                for mapping in _BY_LINK(self._section, text=text)
                if record_of(mapping).lpar_uuid == wanted]

    def without_link(self) -> list[Any]:
        """The mappings that have a client, but do not say which other than by its LPAR id."""
        return _WITHOUT_LINK(self._section)

    def lpar_id(self, lpar_uuid: str) -> int | None:
        """The id of an LPAR, as mappings that show both tell it, or as it was told in ``lpar_ids``.

        An orphan's id says nothing: ids are given to new LPARs once their LPAR is gone.

        :raises KeyError: the document does not tell
        """
        uuid = lpar_uuid.upper()
        if uuid not in self.lpar_ids:
            for mapping in self.of_lpar(uuid):
                record = record_of(mapping)
                if record.slot is not None and record.lpar_id is not None:
                    self.lpar_ids[uuid] = record.lpar_id
                    break
        return self.lpar_ids[uuid]

    def wrap(self, mapping: Any) -> Any:
        """pypowervm's wrapper of one mapping."""
        element = type(self.vios_w.element).wrapelement(mapping, self.vios_w.adapter)
        return virtual_io_server.VSCSIMapping.wrap(element)

    def append(self, mapping_w: Any) -> None:
        """Put a new mapping behind all others."""
        element = mapping_w.element.element
        self._section.append(element)
        self.added.append(element)
        self._changed()

    def remove(self, mapping: Any) -> None:
        """Take a mapping out."""
        # lxml takes the text behind an element away with it; pypowervm's own remove does the same.
        self._section.remove(mapping)
        self._changed()

    def _changed(self) -> None:
        self.is_edited = True
        self._paths = self._links = None


def _is_unusual(path: str) -> bool:
    return ('//' in path or '/.' in path or path.endswith('/') or path != path.strip())


def _kind(mapping: Any) -> str:
    return _storage_facts(_only_child(mapping.find(_STORAGE)))['kind']


def _storage_facts(storage: Any) -> dict[str, Any]:
    if storage is None:
        return {'kind': 'none'}
    name = etree.QName(storage).localname
    if name != 'VirtualDisk':
        return {'kind': _KINDS.get(name, name), 'udid': _text(storage, _UDID),
                'tag': _text(storage, _q('Tag'))}
    path = _first(_text(storage, _LABEL), _text(storage, _NAME))
    disk_type = _text(storage, _q('VirtualDiskType'))
    if disk_type is None:
        # Old servers know no type; a logical volume's label never is an absolute path.
        disk_type = 'File' if path is not None and path.startswith('/') else 'LogicalVolume'
    kind = _DISK_KINDS.get(disk_type, disk_type)
    capacity = _text(storage, _q('DiskCapacity'))
    return {'kind': kind, 'path': path if kind == 'file' else None,
            'udid': _text(storage, _UDID), 'tag': _text(storage, _q('Tag')),
            'backstore': _text(storage, _q('BackStoreType')),
            'capacity_gb': float(capacity) if capacity else None}


def _only_child(part: Any) -> Any:
    return next(part.iterchildren(etree.Element), None) if part is not None else None


def _text(part: Any, tag: str) -> str | None:
    text = part.findtext(tag) if part is not None else None
    return text.strip() or None if text else None


def _number(part: Any, tag: str) -> int | None:
    text = _text(part, tag)
    return int(text) if text is not None and text.isdecimal() else None


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
