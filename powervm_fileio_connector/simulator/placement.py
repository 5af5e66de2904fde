# SPDX-License-Identifier: Apache-2.0
"""Where new mappings go: on which bus of a VIOS, in which slots, under which LUA.

A ``Plan`` is worked out on copies; only a plan in which every mapping found its place is
taken over by the state, so that a change happens as a whole or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from .buses import Bus
from .buses import capacity_gb
from .buses import file_udid
from .buses import put_on_bus
from .buses import take_off_bus
from .model import FileFact
from .model import Mapping
from .model import NewMapping
from .model import Partition
from .rules import Refused
from .rules import Rules

# ASSUMED: NovaLink takes a LUA in either recorded form, that of files and that of other kinds,
# for a disk of any kind.
_LUA = re.compile(r'lun[1-9][0-9]*|0x[0-9a-fA-F]{16}')
_BACKSTORES = (None, 'loop', 'fileio', 'user:qcow')
# ASSUMED: Slots 0 and 1 are the serial consoles', as on every PowerVM partition.
FIRST_SLOT = 2


class Plan:
    """One change of one VIOS's mappings, worked out before it is done."""

    def __init__(self, rules: Rules, vios: Partition, buses: dict[int, Bus],
                 partitions: dict[str, Partition], slots: dict[int, set[int]],
                 facts: dict[str, FileFact]) -> None:
        """:param slots: client slots in use on other VIOSes, by LPAR id"""
        self.rules, self.vios, self.facts = rules, vios, facts
        self.buses = dict(buses)
        self.partitions = partitions
        self._foreign_slots = slots
        self._asked: dict[tuple[int, int], int] = {}  # (LPAR id, asked slot) -> new server slot

    def remove(self, mapping: Mapping) -> None:
        """Take a mapping away.

        ASSUMED: A mapping can be removed whatever state its LPAR is in; an optional rule of the
        simulator, removal_needs_lpar_io, refuses it.
        """
        lpar = self.partitions.get(mapping.lpar_uuid or '')
        if lpar is not None and not lpar.can_change_io:
            self.rules.check('removal_needs_lpar_io', False, cannot_change(lpar))
        take_off_bus(self.buses, mapping)

    def drop_empty_buses(self, but: Iterable[int | None] = ()) -> None:
        """The last mapping of a bus takes the adapters with it."""
        keep = set(but)
        for slot in [s for s, bus in self.buses.items() if not bus.members and s not in keep]:
            del self.buses[slot]

    def place(self, wish: NewMapping, mapping_id: int) -> Mapping:
        """Find a new mapping's adapters and LUA.

        :raises Refused: a rule does not allow it
        """
        self._check_file(wish)
        bus = self._bus_for(wish)
        mapping = Mapping(
            mapping_id, self.vios.uuid, bus.server_slot, bus.lpar_uuid, bus.lpar_id, bus.slot,
            bus.has_client, wish.kind, wish.path, tag=wish.tag, backstore=wish.backstore,
            emulate_model=wish.emulate_model, storage=wish.storage, udid=wish.udid)
        if wish.kind != 'none':
            lua = self._lua_for(wish, bus)
            mapping = replace(
                mapping, lua=lua, target_name=wish.target_name or target_name(wish),
                # As recorded: 30000010-lun1 for server slot 16 (0x10).
                target_udid=f'3{bus.server_slot:07x}-{lua}')
        # ASSUMED: NovaLink takes a path as it is given (two spellings of a file are two disks),
        # and a file may be mapped any number of times (recorded: one file for three clients).
        if wish.kind == 'file' and wish.path:
            fact = self.facts.get(wish.path, FileFact(False))
            mapping = replace(mapping, udid=file_udid(wish.path),
                              capacity_gb=capacity_gb(fact.size))
        put_on_bus(self.buses, mapping)
        return mapping

    def _check_file(self, wish: NewMapping) -> None:
        if wish.kind != 'file':
            return
        path = wish.path or ''
        check = self.rules.check
        check('path_absolute', path.startswith('/'), f'The path {path!r} is not absolute.')
        check('backstore_known', wish.backstore in _BACKSTORES,
              f'Unknown BackStoreType {wish.backstore!r}: expected loop, fileio or user:qcow.')
        fact = self.facts.get(path, FileFact(False))
        check('file_exists', fact.exists, f'The file {path} does not exist.')
        check('file_regular', fact.is_usable or not fact.exists,
              f'{path} is a {fact.what}: expected a regular file or a block device.')

    def _bus_for(self, wish: NewMapping) -> Bus:
        if wish.server_slot is not None and wish.server_slot in self.buses:
            return self._existing_bus(wish, self.buses[wish.server_slot])
        self.rules.check('server_slot_known', wish.server_slot is None,
                         f'There is no server adapter in slot {wish.server_slot} of VIOS '
                         f'{self.vios.name}.')
        lpar = self._client(wish)
        if wish.slot is not None and (lpar.id, wish.slot) in self._asked:
            # ASSUMED: Two new mappings that ask for one slot in one request share the adapters;
            # pypowervm builds them like that when it rebuilds an LPAR.
            return self.buses[self._asked[lpar.id, wish.slot]]
        slot = self._client_slot(wish, lpar)
        server_slot = first_free(set(self.buses), self.vios.max_slots,
                                 f'VIOS {self.vios.name}')
        bus = Bus(server_slot, lpar.uuid, lpar.id, slot, True, frozenset(), 0)
        self.buses[server_slot] = bus
        if wish.slot is not None:
            self._asked[lpar.id, wish.slot] = server_slot
        return bus

    def _existing_bus(self, wish: NewMapping, bus: Bus) -> Bus:
        check = self.rules.check
        check('bus_of_lpar', wish.lpar_uuid in (None, bus.lpar_uuid),
              f'The server adapter in slot {bus.server_slot} serves partition {bus.lpar_id}, '
              f'not LPAR {wish.lpar_uuid}.')
        check('slot_free', wish.slot in (None, bus.slot),
              f'The server adapter in slot {bus.server_slot} is connected to client slot '
              f'{bus.slot}, not {wish.slot}.')
        if wish.kind != 'none' and wish.replaces is None:
            check('lpar_known', bus.has_client,
                  f'The client of the server adapter in slot {bus.server_slot} is gone.')
            lpar = self.partitions.get(bus.lpar_uuid or '')
            if lpar is not None:
                check('lpar_can_change_io', lpar.can_change_io, cannot_change(lpar))
        return bus

    def _client(self, wish: NewMapping) -> Partition:
        lpar = self.partitions.get(wish.lpar_uuid or '')
        if lpar is None or lpar.uuid == self.vios.uuid:
            message = f'There is no client LPAR {wish.lpar_uuid}.'
            self.rules.check('lpar_known', False, message)
            # The rule is off: the mapping is made for an unknown client.
            return Partition(wish.lpar_uuid or '', 'unknown', 0)
        self.rules.check('lpar_can_change_io', lpar.can_change_io, cannot_change(lpar))
        return lpar

    def _client_slot(self, wish: NewMapping, lpar: Partition) -> int:
        used = {bus.slot for bus in self.buses.values()
                if bus.lpar_id == lpar.id and bus.has_client}
        used |= self._foreign_slots.get(lpar.id, set())
        if wish.slot is None:
            return first_free(used, lpar.max_slots, f'LPAR {lpar.name}')
        self.rules.check('slot_free', wish.slot not in used,
                         f'Virtual slot {wish.slot} of LPAR {lpar.name} is in use.')
        self.rules.check('slot_range', FIRST_SLOT <= wish.slot < lpar.max_slots,
                         f'LPAR {lpar.name} has no virtual slot {wish.slot}: expected '
                         f'{FIRST_SLOT} to {lpar.max_slots - 1}.')
        return wish.slot

    def _lua_for(self, wish: NewMapping, bus: Bus) -> str:
        taken = self.buses[bus.server_slot].luas
        if wish.lua is None:
            # ASSUMED: A new disk gets the lowest free LUA, from lun1, and a new adapter the lowest
            # free slot, from 2.
            number = 1
            while f'lun{number}' in taken:
                number += 1
            return f'lun{number}'
        self.rules.check('lua_form', _LUA.fullmatch(wish.lua),
                         f'{wish.lua!r} is no logical unit address: expected e.g. lun1.')
        self.rules.check('lua_free', wish.lua not in taken,
                         f'The logical unit address {wish.lua} is in use on the server adapter '
                         f'in slot {bus.server_slot}.')
        return wish.lua


def first_free(used: set[int], end: int, whose: str) -> int:
    """The lowest free slot.

    :raises Refused: all are taken
    """
    for slot in range(FIRST_SLOT, end):
        if slot not in used:
            return slot
    raise Refused('slot_free', f'{whose} has no free virtual slot: all {end} are in use.')


def target_name(wish: NewMapping) -> str:
    """The name of a target device: FILEIO-<file name> as recorded.

    ASSUMED: A target name need not be unique (recorded: one name three times).
    """
    base = (wish.path or '').rsplit('/', 1)[-1]
    if wish.kind == 'file':
        return f'FILEIO-{base}'
    # ASSUMED: Targets of other kinds of storage are named in the same way as those of files.
    return f'{wish.kind.upper()}-{base}'


def cannot_change(lpar: Partition) -> str:
    """Why an LPAR can't change its I/O."""
    return (f'LPAR {lpar.name} cannot change its I/O: state {lpar.state}, RMC '
            f'{lpar.rmc_state}, I/O DLPAR capable {str(lpar.io_dlpar).lower()}.')
