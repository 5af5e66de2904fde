# SPDX-License-Identifier: Apache-2.0
"""Responses recorded from real systems as the starting state.

pypowervm ships them in its package (``tests/data``); they are read from there, never copied. A
report of ``powervm-fileio qualify`` is a recording as well.
Documents are kept as they are; only what the simulator has to know is read out of them.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path

from lxml import etree

from .documents import HOLE
from .initial_state import make_state
from .model import UUID
from .model import Host
from .model import Mapping
from .model import Partition
from .schema import NAME_OF
from .schema import UOM
from .state import State

TYPES = ('VirtualIOServer', 'LogicalPartition', 'ManagedSystem')
_U = f'{{{UOM}}}'
_BODY = re.compile(r'^BODY\{\n(.*?)^END OF SECTION\}', re.S | re.M)
_ENTRY = re.compile(r'<entry[ >].*?</entry>', re.S)
_ID = re.compile(r'<id>([^<]*)</id>')
_OBJECT = re.compile(r'<content[^>]*>\s*(<(\w+):\2 .*</\2:\2>)\s*</content>', re.S)
_MAPPING = re.compile(r'<VirtualSCSIMapping .*?</VirtualSCSIMapping>', re.S)
_MAPPINGS = re.compile(r'(<VirtualSCSIMappings [^>]*>.*?)((?:<VirtualSCSIMapping .*'
                       r'</VirtualSCSIMapping>\s*)?)(</VirtualSCSIMappings>)', re.S)
_KINDS = {'PhysicalVolume': 'pv', 'VirtualOpticalMedia': 'optical', 'LogicalUnit': 'lu'}


@dataclass(frozen=True)
class Recorded:
    """One recorded document."""

    uuid: str  # of the entry
    type: str
    text: str


def directory() -> Path:
    """Where pypowervm keeps its recordings; pypowervm itself is not imported.

    :raises FileNotFoundError: pypowervm is not installed, or without its tests
    """
    found = importlib.util.find_spec('pypowervm')
    if found is None or not found.origin:
        raise FileNotFoundError('pypowervm is not installed, which ships the recordings')
    data = Path(found.origin).parent / 'tests' / 'data'
    if not data.is_dir():
        raise FileNotFoundError(f'{data} is missing: pypowervm is installed without its tests')
    return data


def read(recording: str | Path) -> list[Recorded]:
    """The documents of a recording: a file, or a name in pypowervm's directory.

    :raises ValueError: it has none of the types that a simulation can start from
    """
    path = Path(recording)
    if not path.exists():
        path = directory() / recording
    text = path.read_text(encoding='utf-8')
    bodies = _reported(text) or _BODY.findall(text) or [text]
    found = [one for body in bodies for one in _documents(body)]
    usable = [one for one in found if one.type in TYPES]
    if not usable:
        types = ', '.join(sorted({one.type for one in found})) or 'no document'
        raise ValueError(f'{path.name} has {types}: expected one of {", ".join(TYPES)}')
    return usable


def _reported(text: str) -> list[str]:
    """The documents in a report of ``powervm-fileio qualify``, which is JSON."""
    if not text.lstrip().startswith('{'):
        return []
    return [str(document) for document in json.loads(text)['documents']]


def _documents(body: str) -> Iterator[Recorded]:
    for entry in _ENTRY.findall(body):
        content, name = _OBJECT.search(entry), _ID.search(entry)
        if content and name:
            yield Recorded(name.group(1), content.group(2), content.group(1))


def load(recordings: str | Path | Iterable[str | Path]) -> State:
    """The state that one recording shows, or several together.

    What no recording shows is made up: the machine, a management partition that is a VIOS,
    and the LPARs that the recorded mappings name.
    """
    if isinstance(recordings, str | Path):
        recordings = [recordings]
    recordings = list(recordings)
    try:
        return _state([one for recording in recordings for one in read(recording)])
    except (ValueError, TypeError, etree.LxmlError, LookupError, AttributeError,
            RecursionError) as err:
        names = ', '.join(map(str, recordings))
        raise ValueError(f'{names} cannot be read as a recording: {err}') from err


def _state(documents: list[Recorded]) -> State:
    hosts = [_host(one) for one in documents if one.type == 'ManagedSystem']
    partitions, mappings = [], []
    for one in documents:
        if one.type == 'ManagedSystem':
            continue
        partition, found = _partition(one)
        partitions.append(partition)
        mappings += found
    mappings = [replace(mapping, id=i) for i, mapping in enumerate(mappings, 1)]
    made_up = make_state(lpars=0)
    if not any(p.is_io_server for p in partitions):
        novalink, = made_up.partitions()
        partitions.append(replace(novalink, id=_free(partitions)))
    partitions += _clients(partitions, mappings)
    # Ids may be there twice: an HMC shows the LPARs of several machines in one feed.
    uuids = [p.uuid for p in partitions]
    if len(uuids) != len(set(uuids)):
        raise ValueError('the recordings show one partition twice: expected each once')
    if not hosts:
        hosts = [_host_of(documents, made_up.host)]
    return State(hosts[0], partitions, mappings, others=hosts[1:])


def _free(partitions: list[Partition]) -> int:
    taken = {p.id for p in partitions}
    return next(i for i in range(1, len(taken) + 2) if i not in taken)


def _root(one: Recorded) -> etree._Element:
    return etree.fromstring(one.text.encode(), etree.XMLParser(resolve_entities=False))


def _text(part: etree._Element, path: str, default: str = '') -> str:
    found = part.findtext('/'.join(f'{_U}{name}' for name in path.split('/')))
    return (found or '').strip() or default


def _host(one: Recorded) -> Host:
    root = _root(one)
    parts = [_text(root, f'MachineTypeModelAndSerialNumber/{name}', 'unknown')
             for name in ('MachineType', 'Model', 'SerialNumber')]
    return Host(one.uuid, _text(root, 'SystemName'), '.'.join(parts), one.text)


def _host_of(documents: list[Recorded], made_up: Host) -> Host:
    """The machine that partitions name."""
    for one in documents:
        link = _root(one).find(f'{_U}AssociatedManagedSystem')
        uuids = UUID.findall(link.get('href', '')) if link is not None else []
        code = re.search(r'<LocationCode[^>]*>U(\w+\.\w+\.\w+)-V\d+-C\d+<', one.text)
        if uuids:
            return replace(made_up, uuid=uuids[0], mtms=code.group(1) if code else made_up.mtms)
    return made_up


def _partition(one: Recorded) -> tuple[Partition, list[Mapping]]:
    root = _root(one)
    is_vios = one.type == 'VirtualIOServer'
    names = (_text(root, 'Metadata/Atom/AtomID'), _text(root, 'PartitionUUID'))
    text = one.text
    mappings: list[Mapping] = []
    if is_vios:
        section = _MAPPINGS.search(text)
        if section is None:
            raise ValueError(f'VIOS {one.uuid} was recorded without its mappings')
        mappings = [_mapping(chunk, one.uuid) for chunk in _MAPPING.findall(section.group(2))]
        text = (text[:section.start()] + section.group(1) + HOLE + section.group(3)
                + text[section.end():])
    io_dlpar = _text(root, 'PartitionCapabilities/DynamicLogicalPartitionIOCapable')
    partition = Partition(
        one.uuid, _text(root, 'PartitionName'), int(_text(root, 'PartitionID')), is_vios,
        _text(root, 'IsManagementPartition') == 'true', _text(root, 'PartitionState'),
        _text(root, 'ResourceMonitoringControlState'), io_dlpar == 'true',
        _text(root, 'PartitionType'),
        int(_text(root, 'PartitionIOConfiguration/MaximumVirtualIOSlots', '64')),
        tuple(sorted({name for name in names if name and name != one.uuid})), text)
    return partition, mappings


def _mapping(chunk: str, vios_uuid: str) -> Mapping:
    part = etree.fromstring(f'<root xmlns="{UOM}">{chunk}</root>'.encode())[0]
    link = part.find(f'{_U}AssociatedLogicalPartition')
    uuids = UUID.findall(link.get('href', '')) if link is not None else []
    client = part.find(f'{_U}ClientAdapter')
    slot = _text(part, 'ClientAdapter/VirtualSlotNumber') or _text(
        part, 'ServerAdapter/RemoteSlotNumber')
    lpar_id = _text(part, 'ClientAdapter/LocalPartitionID') or _text(
        part, 'ServerAdapter/RemoteLogicalPartitionID')
    mapping = Mapping(
        0, vios_uuid, int(_text(part, 'ServerAdapter/VirtualSlotNumber')),
        uuids[-1] if uuids else None, int(lpar_id), int(slot), client is not None, source=chunk)
    storage = part.find(f'{_U}Storage')
    if storage is not None and len(storage):
        disk = storage[0]
        name = etree.QName(disk).localname
        kind = _KINDS.get(name) or (
            'file' if _text(disk, 'VirtualDiskType') == 'File' else 'lv')
        mapping = replace(
            mapping, kind=kind, path=_text(disk, NAME_OF[name]),
            udid=_text(disk, 'UniqueDeviceID') or _text(disk, 'MediaUDID') or None,
            tag=_text(disk, 'Tag') or None, backstore=_text(disk, 'BackStoreType') or None,
            capacity_gb=_text(disk, 'DiskCapacity') or None)
    target = part.find(f'{_U}TargetDevice')
    if target is not None and len(target):
        mapping = replace(
            mapping, lua=_text(target[0], 'LogicalUnitAddress') or None,
            target_name=_text(target[0], 'TargetName') or None,
            target_udid=_text(target[0], 'UniqueDeviceID') or None)
    return mapping


def _clients(partitions: list[Partition], mappings: list[Mapping]) -> list[Partition]:
    """LPARs that mappings name and no recording shows."""
    ids = {p.id for p in partitions}
    uuids = {p.uuid for p in partitions}
    made = []
    for mapping in mappings:
        if (mapping.has_client and mapping.lpar_uuid and mapping.lpar_uuid not in uuids
                and mapping.lpar_id not in ids):
            made.append(Partition(mapping.lpar_uuid, f'lpar{mapping.lpar_id}', mapping.lpar_id))
            ids.add(mapping.lpar_id)
            uuids.add(mapping.lpar_uuid)
    return made
