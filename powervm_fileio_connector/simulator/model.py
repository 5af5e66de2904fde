# SPDX-License-Identifier: Apache-2.0
"""The records that the simulated host is made of: plain, immutable, comparable."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

# A server adapter with this remote slot accepts any client ("wild card"); recorded once.
ANY_SLOT = 65535


def new_uuid() -> str:
    """A UUID as the API writes those of partitions: in capitals."""
    return str(uuid.uuid4()).upper()


@dataclass(frozen=True, slots=True)
class Host:
    """The machine: what its ManagedSystem document says."""

    uuid: str
    name: str
    mtms: str  # as in location codes: 8247.22L.2100001
    document: str | None = None  # a recorded document, kept as it is


@dataclass(frozen=True, slots=True)
class Partition:
    """An LPAR, or a VIOS if ``is_io_server``."""

    uuid: str
    name: str
    id: int
    is_io_server: bool = False
    is_management: bool = False
    state: str = 'running'
    rmc_state: str = 'active'
    io_dlpar: bool = True  # may virtual I/O be added while it runs
    type: str = 'AIX/Linux'
    max_slots: int = 1000
    aliases: tuple[str, ...] = ()  # other UUIDs it answers to (some recordings name two)
    document: str | None = None  # a recorded document, kept as it is
    is_foreign: bool = False  # another program's, there from the start

    @property
    def can_change_io(self) -> bool:
        """What ``pypowervm``'s ``can_modify_io`` says of the same partition."""
        if self.type == 'OS400' or self.state == 'not activated':
            return True
        return (self.rmc_state == 'active' or self.is_management) and self.io_dlpar


@dataclass(frozen=True, slots=True)
class Mapping:
    """One virtual SCSI mapping of a VIOS.

    ``kind`` is file, lv, pv, optical, lu, rbd or none (an adapter pair without storage).
    ``slot`` is the client's slot, also of an orphan, whose client adapter is gone.
    """

    id: int
    vios_uuid: str
    server_slot: int
    lpar_uuid: str | None
    lpar_id: int
    slot: int
    has_client: bool = True
    kind: str = 'none'
    path: str | None = None  # of a file; the device or media name of other kinds
    lua: str | None = None
    udid: str | None = None
    target_name: str | None = None
    target_udid: str | None = None
    tag: str | None = None
    backstore: str | None = None
    capacity_gb: str | None = None
    emulate_model: str | None = None
    storage: str | None = None  # the storage element as given, where we do not model it
    source: str | None = None  # the recorded mapping, kept as it is
    is_foreign: bool = False  # another program's, there from the start

    @property
    def is_wild_card(self) -> bool:
        """True if any client may connect: no client adapter, and no orphan either."""
        return not self.has_client and self.slot == ANY_SLOT

    @property
    def is_orphan(self) -> bool:
        """True if the client is gone and the server adapter was left behind."""
        return not self.has_client and self.slot != ANY_SLOT


@dataclass(frozen=True, slots=True)
class NewMapping:
    """A mapping that a client asks for; None is: choose for me."""

    kind: str = 'none'
    path: str | None = None
    lpar_uuid: str | None = None
    slot: int | None = None
    server_slot: int | None = None  # put it on the bus of this server adapter
    has_client: bool = True
    lua: str | None = None
    target_name: str | None = None
    udid: str | None = None
    tag: str | None = None
    backstore: str | None = None
    emulate_model: str | None = None
    storage: str | None = None
    replaces: int | None = None  # id of the mapping whose storage this exchanges


@dataclass(frozen=True, slots=True)
class FileFact:
    """What the host's file system says of a path."""

    exists: bool
    is_usable: bool = False  # a regular file or a block device
    size: int = 0
    what: str = 'missing'


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened to the state: told to every subscriber."""

    action: str  # add, modify or delete
    partition: Partition | None  # None: the host itself
    detail: str = ''


Snapshot = dict[str, Any]
