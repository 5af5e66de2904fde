# SPDX-License-Identifier: Apache-2.0
"""A posted VIOS document as a change: which mappings stay, and which are new.

A client sends back all mappings to change one. Those that come back as the very bytes that
were sent are recognised as such and not parsed at all; the rest is.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from lxml import etree

from .elements import parse
from .model import UUID
from .model import Mapping
from .model import NewMapping
from .rules import Refused
from .rules import Rules
from .schema import NAME_OF
from .schema import UOM
from .schema import out_of_order

_END = b'</VirtualSCSIMapping>'
_START = b'<VirtualSCSIMapping '
_U = f'{{{UOM}}}'
Key = tuple[int, str, str | None]
_KIND_OF = {'PhysicalVolume': 'pv', 'VirtualOpticalMedia': 'optical', 'LogicalUnit': 'lu'}


@dataclass
class PostedMappings:
    """What a POST makes of the mappings of a VIOS."""

    kept: set[int] = field(default_factory=set)
    new: list[NewMapping] = field(default_factory=list)
    fc_mappings: list[str] | None = None
    has_mappings: bool = False

    def paths(self) -> list[str]:
        """The files that the new mappings need."""
        return [wish.path for wish in self.new if wish.kind == 'file' and wish.path]


class Served:
    """The mappings as they were served: what a POST is compared with."""

    def __init__(self, chunks: MappingType[int, bytes],
                 mappings: MappingType[int, Mapping]) -> None:
        """:param chunks: each mapping's bytes without the end tag, by mapping id"""
        self.mappings = mappings
        self.by_bytes: dict[bytes, list[int]] = {}
        for i, chunk in chunks.items():
            self.by_bytes.setdefault(chunk, []).append(i)

    def by_key(self, taken: set[int]) -> dict[Key, list[int]]:
        """The mappings that were not recognised by their bytes, by what names them."""
        found = defaultdict(list)
        for i, mapping in self.mappings.items():
            if i not in taken:
                found[_key(mapping.server_slot, mapping.lua, mapping.target_udid)].append(i)
                if mapping.target_udid:
                    found[_key(mapping.server_slot, mapping.lua, None)].append(i)
        return found


def _key(server_slot: int, lua: str | None, target_udid: str | None) -> Key:
    """A mapping is named by its bus and its target device; by its LUA if it has no UDID."""
    return (server_slot, 'udid', target_udid) if target_udid else (server_slot, 'lua', lua)


def read_post(body: bytes, served: Served, rules: Rules) -> PostedMappings:
    """Compare a posted document with what was served.

    :raises Refused: it is no VIOS document, or its elements are out of order
    """
    posted = PostedMappings()
    rest = _without_kept(body, served, posted.kept)
    root = parse(rest)
    rules.check('document_type', root.tag == f'{_U}VirtualIOServer',
                f'The body is a {etree.QName(root).localname}: expected VirtualIOServer.')
    _check_order(root, rules)
    section = root.find(f'{_U}VirtualSCSIMappings')
    if section is not None:
        posted.has_mappings = True
        left = served.by_key(posted.kept)
        used: set[int] = set()
        for part in section.findall(f'{_U}VirtualSCSIMapping'):
            _read_mapping(part, left, used, served, posted)
    fc = root.find(f'{_U}VirtualFibreChannelMappings')
    if fc is not None:
        posted.fc_mappings = [canonical(part)
                              for part in fc.findall(f'{_U}VirtualFibreChannelMapping')]
    return posted


def canonical(part: etree._Element) -> str:
    """An element's text, the same however it was indented or prefixed."""
    for node in part.iter():
        if isinstance(node.tag, str) and not (node.text or '').strip():
            node.text = None
        if not (node.tail or '').strip():
            node.tail = None
    return etree.tostring(part, method='c14n', exclusive=True).decode()


def plain(part: etree._Element) -> str:
    """An element's text as it stands in a document whose namespace is the default one."""
    text = etree.tostring(part, encoding='unicode', with_tail=False)
    head, end, tail = text.partition('>')
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', '', head) + end + tail
    prefix = f'{part.prefix}:' if part.prefix else ''
    return re.sub(rf'(</?){prefix}', r'\1', text) if prefix else text


def _without_kept(body: bytes, served: Served, kept: set[int]) -> bytes:
    pieces = body.split(_END)
    rest = []
    for piece in pieces[:-1]:
        start = piece.find(_START)
        ids = served.by_bytes.get(piece[start:]) if start >= 0 else None
        free = next((i for i in ids if i not in kept), None) if ids else None
        if free is None:
            rest += [piece, _END]
        else:
            kept.add(free)
            rest.append(piece[:start])
    rest.append(pieces[-1])
    return b''.join(rest)


def _check_order(root: etree._Element, rules: Rules) -> None:
    for node in root.iter(*(f'{_U}{name}' for name in (
            'VirtualIOServer', 'VirtualSCSIMapping', 'VirtualDisk',
            'LogicalVolumeVirtualTargetDevice'))):
        _check_children(node, rules)
    for node in root.iterfind(f'.//{_U}VirtualSCSIMapping/*'):
        _check_children(node, rules)


def _check_children(node: etree._Element, rules: Rules) -> None:
    names = [etree.QName(child).localname for child in node if isinstance(child.tag, str)]
    name = etree.QName(node).localname
    wrong = out_of_order(name, names)
    if wrong is not None:
        rules.check('element_order', False,
                    f'{wrong[0]} must come before {wrong[1]} in {name}.')


def _read_mapping(part: etree._Element, left: dict[Key, list[int]], used: set[int],
                  served: Served, posted: PostedMappings) -> None:
    wish, key = _wish(part)
    same = next((i for i in left.get(key, ()) if i not in used), None) if key else None
    if same is None:
        posted.new.append(wish)
        return
    used.add(same)
    old = served.mappings[same]
    if (old.kind, old.path, old.udid if old.kind != 'file' else None) == (
            wish.kind, wish.path, wish.udid if wish.kind != 'file' else None):
        posted.kept.add(old.id)
        return
    posted.new.append(NewMapping(**{
        **{f: getattr(wish, f) for f in ('kind', 'path', 'udid', 'tag', 'backstore',
                                         'emulate_model', 'storage', 'lua')},
        'lpar_uuid': old.lpar_uuid, 'server_slot': old.server_slot,
        'replaces': old.id}))


def _text(part: etree._Element, path: str) -> str | None:
    found = part.findtext('/'.join(f'{_U}{name}' for name in path.split('/')))
    return found.strip() if found and found.strip() else None


def _number(part: etree._Element, path: str) -> int | None:
    text = _text(part, path)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise Refused('number', f'{path.rsplit("/")[-1]} is {text!r}: expected a number.') from None


def _wish(part: etree._Element) -> tuple[NewMapping, Key | None]:
    """What a mapping element asks for, and the key of the existing mapping it may be."""
    link = part.find(f'{_U}AssociatedLogicalPartition')
    uuids = UUID.findall(link.get('href', '')) if link is not None else []
    server_slot = _number(part, 'ServerAdapter/VirtualSlotNumber')
    slot = _number(part, 'ClientAdapter/VirtualSlotNumber')
    if _text(part, 'ClientAdapter/UseNextAvailableSlotID') == 'true':
        slot = None
    target = part.find(f'{_U}TargetDevice')
    device = target[0] if target is not None and len(target) else None
    lua = _text(device, 'LogicalUnitAddress') if device is not None else None
    storage = part.find(f'{_U}Storage')
    common: dict[str, Any] = {
        'lpar_uuid': uuids[-1] if uuids else None, 'slot': slot, 'server_slot': server_slot,
        'lua': lua, 'target_name': _text(device, 'TargetName') if device is not None else None}
    if storage is not None and len(storage):
        common.update(_storage(storage[0]))
    key = None
    # Storage without target device: a new disk on the adapters of another mapping.
    if server_slot is not None and (device is not None or 'kind' not in common):
        target_udid = _text(device, 'UniqueDeviceID') if device is not None else None
        key = _key(server_slot, lua, target_udid)
    return NewMapping(**common), key


def _storage(part: etree._Element) -> dict[str, str | None]:
    name = etree.QName(part).localname
    if name not in NAME_OF:
        raise Refused('storage_known', f'Unknown storage element {name}: expected one of '
                      f'{", ".join(sorted(NAME_OF))}.')
    path = _text(part, NAME_OF[name])
    if name != 'VirtualDisk':
        return {'kind': _KIND_OF[name], 'path': path, 'storage': plain(part),
                'udid': _text(part, 'MediaUDID') or _text(part, 'UniqueDeviceID')}
    kind = {'File': 'file', 'RBD': 'rbd'}.get(_text(part, 'VirtualDiskType') or '', 'lv')
    if kind != 'file':
        return {'kind': kind, 'path': path, 'storage': plain(part),
                'udid': _text(part, 'UniqueDeviceID')}
    return {'kind': 'file', 'path': path, 'tag': _text(part, 'Tag'),
            'backstore': _text(part, 'BackStoreType'),
            'emulate_model': _text(part, 'EmulateModel')}
