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
    if (wish.slot is None and wish.lua is None
            and table.count_of_lpar(wish.lpar_uuid) < limit(wish)
            and next(table.without_link(), None) is None):
        # No bus of it can be full, so that one of its mappings tells enough.
        return next(filter(_has_adapters, table.of_lpar(wish.lpar_uuid)), None)
    buses = _buses(table, wish.lpar_uuid)
    if wish.slot is not None:
        members = buses.get(wish.slot, [])
        _require_free(wish, members)
        # A slot asked for is honoured past max_per_bus, which is a guideline: the slot is taken,
        # so the alternative is to refuse.
        return members[0] if members else None
    for members in buses.values():
        if len(members) < limit(wish) and not _holder(wish.lua, members):
            return members[0]
    return None


def same_lua(one: str, other: str) -> bool:
    """Whether two LUAs are one; hexadecimal ones come in both cases."""
    return one.lower() == other.lower()


def _require_free(wish: Wish, members: list[MappingEntry]) -> None:
    holder = _holder(wish.lua, members)
    place = f'slot {wish.slot} of LPAR {wish.lpar_uuid}'
    if holder is not None:
        raise exceptions.SlotOrLUAConflict(
            reason=f'{wish.lua} in {place} is taken by '
            f'{holder.record.path or "storage of kind " + holder.record.kind}',
            path=wish.path, slot=wish.slot, lua=wish.lua)
    if wish.lua is None and len(members) >= MOST_DISKS:
        raise exceptions.SlotOrLUAConflict(
            reason=f'{place} has {len(members)} disks, and a Linux client finds no more than '
            f'{MOST_DISKS} unless their LUA is chosen for it',
            path=wish.path, slot=wish.slot, lua=wish.lua)


def _buses(table: MappingTable, lpar_uuid: str) -> dict[int, list[MappingEntry]]:
    """The mappings on each bus of an LPAR, by client slot; adapters yet to be made are none."""
    members = [*table.of_lpar(lpar_uuid)]
    if next(table.without_link(), None) is not None:
        lpar_id = known_id(lpar_uuid, table)
        members += table.without_link(lpar_id) if lpar_id is not None else ()
    buses: dict[int, list[MappingEntry]] = {}
    for entry in filter(_has_adapters, members):
        assert entry.record.slot is not None
        buses.setdefault(entry.record.slot, []).append(entry)
    return buses


def _has_adapters(entry: MappingEntry) -> bool:
    return entry.record.slot is not None and entry.record.server_slot is not None


def _holder(lua: str | None, members: list[MappingEntry]) -> MappingEntry | None:
    if lua is None:
        return None
    return next((entry for entry in members
                 if entry.record.lua is not None and same_lua(entry.record.lua, lua)), None)
