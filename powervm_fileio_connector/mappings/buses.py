# SPDX-License-Identifier: Apache-2.0
"""Where a new mapping goes: the virtual SCSI buses of an LPAR, their slots and LUAs."""

from __future__ import annotations

from typing import Protocol

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.conf import MOST_MAPPINGS_PER_BUS as MOST_DISKS
from powervm_fileio_connector.mappings.table import MappingEntry
from powervm_fileio_connector.mappings.table import MappingTable


class Wish(Protocol):
    """What is asked of the place of a new mapping; see ``mappings.AddMapping``."""

    @property
    def lpar_uuid(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def slot(self) -> int | None: ...
    @property
    def lua(self) -> str | None: ...
    @property
    def max_per_bus(self) -> int: ...


def limit(wish: Wish) -> int:
    """How many disks a bus may have before another adapter pair is made."""
    return max(1, min(wish.max_per_bus, MOST_DISKS))


def choose(table: MappingTable, wish: Wish) -> MappingEntry | None:
    """A mapping on the bus to use; None: a new adapter pair is to be made.

    :raises SlotOrLUAConflict: the LUA is taken on the bus in the slot asked for, or the bus is full
    :raises LPARIdNeeded: see there
    """
    if (wish.slot is None and wish.lua is None and not table.has_any_without_link
            and table.count_of_lpar(wish.lpar_uuid) < limit(wish)):
        # No bus of it can be full, so that one of its mappings tells enough.
        return next(filter(_has_adapters, table.of_lpar(wish.lpar_uuid)), None)
    buses = _buses(table, wish.lpar_uuid)
    if wish.slot is not None:
        bus = buses.get(wish.slot)
        if bus is None:
            return None
        _require_free(wish, bus)
        # A slot asked for is honoured past max_per_bus, which is a guideline: the slot is taken,
        # so the alternative is to refuse.
        return bus[0]
    for bus in buses.values():
        if len(bus) < limit(wish) and (wish.lua is None or not _holder(bus, wish.lua)):
            return bus[0]
    return None


def must_wait(table: MappingTable, wish: Wish, bus: MappingEntry | None) -> bool:
    """Whether a mapping has to wait for the next table, since others before it were added to this.

    One of them may make an adapter pair that has room for this one too: two new mappings that
    leave the slot to the server each get a pair of their own, and slots are few. Or some on the bus
    name their LUA and others would leave it open: a server could give one that another names.

    Counts it among those that want the pair.

    :param bus: what :func:`choose` returned
    """
    if bus is not None:
        return (wish.lua is not None) in table.new_luas.get(bus.record.server_slot, ())
    key = (wish.lpar_uuid.upper(), wish.slot)
    claims = table.new_buses.get(key, 0)
    table.new_buses[key] = claims + 1
    return claims % limit(wish) != 0


def note(table: MappingTable, wish: Wish, added: MappingEntry) -> None:
    """Put a mapping that was added on its bus, if the buses of its LPAR are known."""
    buses = table.buses.get(wish.lpar_uuid.upper())
    if buses is not None and _has_adapters(added):
        buses.setdefault(added.record.slot, []).append(added)


def same_lua(one: str, other: str) -> bool:
    """Whether two LUAs are one; hexadecimal ones come in both cases."""
    return one.lower() == other.lower()


def _holder(bus: list[MappingEntry], lua: str) -> MappingEntry | None:
    """The mapping on a bus that has a LUA."""
    return next((entry for entry in bus
                 if entry.record.lua is not None and same_lua(entry.record.lua, lua)), None)


def _require_free(wish: Wish, bus: list[MappingEntry]) -> None:
    holder = None if wish.lua is None else _holder(bus, wish.lua)
    place = f'slot {wish.slot} of LPAR {wish.lpar_uuid}'
    if holder is not None:
        raise exceptions.SlotOrLUAConflict(
            reason=f'{wish.lua} in {place} is taken by '
            f'{holder.record.path or "storage of kind " + holder.record.kind}',
            path=wish.path, slot=wish.slot, lua=wish.lua)
    if wish.lua is None and len(bus) >= MOST_DISKS:
        raise exceptions.SlotOrLUAConflict(
            reason=f'{place} has {len(bus)} disks, and a Linux client finds no more than '
            f'{MOST_DISKS} unless their LUA is chosen for it',
            path=wish.path, slot=wish.slot, lua=wish.lua)


def _buses(table: MappingTable, lpar_uuid: str) -> dict[int | None, list[MappingEntry]]:
    """The mappings on the buses of an LPAR, by client slot; adapters yet to be made are none."""
    uuid = lpar_uuid.upper()
    if uuid not in table.buses:
        lpar_id = table.lpar_id(lpar_uuid) if table.has_any_without_link else None
        members = [*table.of_lpar(uuid),
                   *(() if lpar_id is None else table.without_link(lpar_id))]
        buses: dict[int | None, list[MappingEntry]] = {}
        for entry in members:
            if _has_adapters(entry):
                buses.setdefault(entry.record.slot, []).append(entry)
        table.buses[uuid] = buses
    return table.buses[uuid]


def _has_adapters(entry: MappingEntry) -> bool:
    return entry.record.slot is not None and entry.record.server_slot is not None
