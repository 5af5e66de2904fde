# SPDX-License-Identifier: Apache-2.0
"""The buses of a VIOS: pairs of adapters with the disks on them, and what must hold of them."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace

from .model import Mapping


@dataclass(frozen=True, slots=True)
class Bus:
    """A server adapter, its client adapter, and the disks on them."""

    server_slot: int
    lpar_uuid: str | None
    lpar_id: int
    slot: int
    has_client: bool
    luas: frozenset[str]
    members: int


def file_udid(path: str) -> str:
    """The UDID of a file: the MD5 name-based UUID of its path's bytes, as recorded."""
    return str(uuid.UUID(bytes=hashlib.md5(path.encode()).digest(), version=3))


def capacity_gb(size: int) -> str:
    """Bytes as DiskCapacity shows them: 35, 1.410669."""
    return f'{size / 2**30:.6f}'.rstrip('0').rstrip('.')


def buses_of(mappings: Iterable[Mapping]) -> dict[int, Bus]:
    """The buses that some mappings of one VIOS make up."""
    buses: dict[int, Bus] = {}
    for mapping in mappings:
        put_on_bus(buses, mapping)
    return buses


def put_on_bus(buses: dict[int, Bus], mapping: Mapping) -> None:
    """Note a mapping on its bus."""
    bus = buses.get(mapping.server_slot)
    luas = frozenset([mapping.lua]) if mapping.lua else frozenset()
    if bus is None:
        buses[mapping.server_slot] = Bus(
            mapping.server_slot, mapping.lpar_uuid, mapping.lpar_id, mapping.slot,
            mapping.has_client, luas, 1)
    else:
        buses[mapping.server_slot] = replace(bus, luas=bus.luas | luas, members=bus.members + 1)


def take_off_bus(buses: dict[int, Bus], mapping: Mapping) -> None:
    """Take a mapping off its bus, which may be left empty."""
    bus = buses[mapping.server_slot]
    luas = bus.luas - {mapping.lua} if mapping.lua else bus.luas
    buses[mapping.server_slot] = replace(bus, luas=luas, members=bus.members - 1)


def client_slots(buses: dict[str, dict[int, Bus]], but: str) -> dict[int, set[int]]:
    """The client slots in use by LPAR id, on all VIOSes but one."""
    slots: dict[int, set[int]] = {}
    for vios_uuid, some in buses.items():
        for bus in some.values() if vios_uuid != but else ():
            if bus.has_client:
                slots.setdefault(bus.lpar_id, set()).add(bus.slot)
    return slots


def violations(mappings: Iterable[Mapping]) -> Iterator[str]:
    """What is wrong, as sentences.

    No LUA twice on a server adapter, no client slot behind two server adapters, and every
    file under the UDID of its path.
    """
    places: set[tuple[str, int, str]] = set()
    clients: dict[tuple[int, int], tuple[str, int]] = {}
    for mapping in mappings:
        place = (mapping.vios_uuid, mapping.server_slot, mapping.lua or '')
        if mapping.lua and place in places:
            yield (f'LUA {mapping.lua} twice on server slot {mapping.server_slot} of VIOS '
                   f'{mapping.vios_uuid}')
        places.add(place)
        if mapping.has_client:
            bus = (mapping.vios_uuid, mapping.server_slot)
            if clients.setdefault((mapping.lpar_id, mapping.slot), bus) != bus:
                yield f'client slot {mapping.slot} of partition {mapping.lpar_id} twice'
        if (mapping.kind == 'file' and mapping.source is None
                and mapping.udid != file_udid(mapping.path or '')):
            yield f'wrong UDID of {mapping.path}'
