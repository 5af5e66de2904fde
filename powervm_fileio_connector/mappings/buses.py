# SPDX-License-Identifier: Apache-2.0
"""Where a new mapping goes: the virtual SCSI buses of an LPAR, their slots and LUAs."""

from __future__ import annotations

from typing import Protocol

from powervm_fileio_connector import exceptions
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


def choose(table: MappingTable, wish: Wish) -> MappingEntry | None:
    """A mapping on the bus to use; None: a new adapter pair is to be made.

    :raises SlotOrLUAConflict: the LUA is taken on the bus in the slot asked for
    """
    buses = _buses(table, wish.lpar_uuid)
    if wish.slot is not None:
        members = buses.get(wish.slot, [])
        holder = _holder(wish.lua, members)
        if holder is not None:
            raise exceptions.SlotOrLUAConflict(
                reason=f'{wish.lua} in slot {wish.slot} of LPAR {wish.lpar_uuid} is taken by '
                f'{holder.record.path or "storage of kind " + holder.record.kind}',
                path=wish.path, slot=wish.slot, lua=wish.lua)
        # A slot asked for is honoured past max_per_bus, which is a guideline: the slot is taken,
        # so the alternative is to refuse.
        return members[0] if members else None
    for members in buses.values():
        if len(members) < wish.max_per_bus and not _holder(wish.lua, members):
            return members[0]
    return None


def same_lua(one: str, other: str) -> bool:
    """Whether two LUAs are one; hexadecimal ones come in both cases."""
    return one.lower() == other.lower()


def _buses(table: MappingTable, lpar_uuid: str) -> dict[int, list[MappingEntry]]:
    """The mappings on each bus of an LPAR, by client slot; adapters yet to be made are none."""
    try:
        lpar_id = table.lpar_id(lpar_uuid)
    except KeyError:
        # Not worth a request: without the id, a bus may be overlooked and another one made.
        lpar_id = None
    buses: dict[int, list[MappingEntry]] = {}
    for entry in (*table.of_lpar(lpar_uuid), *table.without_link()):
        record = entry.record
        if record.slot is not None and record.server_slot is not None and (
                record.lpar_uuid is not None or record.lpar_id == lpar_id):
            buses.setdefault(record.slot, []).append(entry)
    return buses


def _holder(lua: str | None, members: list[MappingEntry]) -> MappingEntry | None:
    if lua is None:
        return None
    return next((entry for entry in members
                 if entry.record.lua is not None and same_lua(entry.record.lua, lua)), None)
