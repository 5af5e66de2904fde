# SPDX-License-Identifier: Apache-2.0
"""Where a new mapping goes: the virtual SCSI buses of an LPAR, their slots and LUAs."""

from __future__ import annotations

from typing import Protocol

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings.edit import known_id
from powervm_fileio_connector.mappings.table import MappingEntry
from powervm_fileio_connector.mappings.table import MappingTable

MOST_DISKS = 32
"""So many addresses does a Linux client scan for each adapter (ibmvscsi's max_lun)."""


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
        return bus.first
    for bus in buses.values():
        if bus.count < limit(wish) and not bus.holder(wish.lua):
            return bus.first
    return None


def note(table: MappingTable, wish: Wish, added: MappingEntry) -> None:
    """Count a mapping that was added, as far as the buses of its LPAR are known."""
    buses = table.buses.get(wish.lpar_uuid.upper())
    if buses is not None:
        _add(buses, added)


def same_lua(one: str, other: str) -> bool:
    """Whether two LUAs are one; hexadecimal ones come in both cases."""
    return _comparable(one) == _comparable(other)


class _Bus:
    """The mappings on one bus, counted."""

    def __init__(self, first: MappingEntry) -> None:
        self.first = first
        self.count = 0
        self._holders: dict[str, MappingEntry] = {}

    def add(self, entry: MappingEntry) -> None:
        """Count a mapping."""
        self.count += 1
        if entry.record.lua is not None:
            self._holders.setdefault(_comparable(entry.record.lua), entry)

    def holder(self, lua: str | None) -> MappingEntry | None:
        """The mapping that has a LUA."""
        return None if lua is None else self._holders.get(_comparable(lua))


def _comparable(lua: str) -> str:
    return lua.lower()


def _require_free(wish: Wish, bus: _Bus) -> None:
    holder = bus.holder(wish.lua)
    place = f'slot {wish.slot} of LPAR {wish.lpar_uuid}'
    if holder is not None:
        raise exceptions.SlotOrLUAConflict(
            reason=f'{wish.lua} in {place} is taken by '
            f'{holder.record.path or "storage of kind " + holder.record.kind}',
            path=wish.path, slot=wish.slot, lua=wish.lua)
    if wish.lua is None and bus.count >= MOST_DISKS:
        raise exceptions.SlotOrLUAConflict(
            reason=f'{place} has {bus.count} disks, and a Linux client finds no more than '
            f'{MOST_DISKS} unless their LUA is chosen for it',
            path=wish.path, slot=wish.slot, lua=wish.lua)


def _buses(table: MappingTable, lpar_uuid: str) -> dict[int, _Bus]:
    """The buses of an LPAR, by client slot; adapters yet to be made are none."""
    uuid = lpar_uuid.upper()
    if uuid not in table.buses:
        table.buses[uuid] = _counted(table, lpar_uuid)
    return table.buses[uuid]


def _counted(table: MappingTable, lpar_uuid: str) -> dict[int, _Bus]:
    members = [*table.of_lpar(lpar_uuid)]
    if table.has_any_without_link:
        lpar_id = known_id(lpar_uuid, table)
        members += table.without_link(lpar_id) if lpar_id is not None else ()
    buses: dict[int, _Bus] = {}
    for entry in members:
        _add(buses, entry)
    return buses


def _add(buses: dict[int, _Bus], entry: MappingEntry) -> None:
    slot = entry.record.slot
    if slot is not None and _has_adapters(entry):
        if slot not in buses:
            buses[slot] = _Bus(entry)
        buses[slot].add(entry)


def _has_adapters(entry: MappingEntry) -> bool:
    return entry.record.slot is not None and entry.record.server_slot is not None
