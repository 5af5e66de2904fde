# SPDX-License-Identifier: Apache-2.0
"""The records that the simulated host is made of: plain, immutable, comparable."""

from __future__ import annotations

import re
import uuid
from dataclasses import MISSING
from dataclasses import dataclass
from dataclasses import fields
from typing import Any
from typing import TypeVar
from typing import get_args
from typing import get_origin
from typing import get_type_hints

# A server adapter with this remote slot accepts any client ("wild card"); recorded once.
ANY_SLOT = 65535

UUID = re.compile(r'[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}')


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
Record = TypeVar('Record')


def records_of(snapshot: Snapshot) -> tuple[list[Host], list[Partition], list[Mapping]]:
    """The records of a snapshot, which may come from a file that anybody wrote.

    :raises ValueError: it is no snapshot
    """
    hosts = [_record(Host, one) for one in snapshot['hosts']]
    partitions = [_record(Partition, one) for one in snapshot['partitions']]
    mappings = [_record(Mapping, one) for one in snapshot['mappings']]
    servers = {p.uuid for p in partitions if p.is_io_server}
    if not hosts or not servers:
        raise ValueError('it has no machine or no VIOS')
    if (len({p.uuid for p in partitions}) < len(partitions)
            or len({m.id for m in mappings}) < len(mappings)):
        raise ValueError('it has a partition or a mapping twice')
    if not {m.vios_uuid for m in mappings} <= servers:
        raise ValueError('it has a mapping of a VIOS that is not there')
    if type(snapshot['nonce']) is not int:
        raise ValueError(f'its nonce is {str(snapshot["nonce"])[:50]!r}')
    return hosts, partitions, mappings


def _record(cls: type[Record], data: Any) -> Record:
    if not isinstance(data, dict):
        raise ValueError(f'it has {str(data)[:50]!r} where a {cls.__name__} is expected')
    types = get_type_hints(cls)
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value
              for name, value in data.items()}
    for name, value in values.items():
        if name not in types:
            raise ValueError(f'a {cls.__name__} has no {name}')
        if not is_of(value, types[name]):
            raise ValueError(f'{name} of a {cls.__name__} is {str(value)[:50]!r}')
    missing = [field.name for field in fields(cls)  # type: ignore[arg-type]
               if field.default is MISSING and field.name not in values]
    if missing:
        raise ValueError(f'a {cls.__name__} has no {", ".join(missing)}')
    return cls(**values)


def check_partition(partition: Partition) -> None:
    """Check what a program says of a partition, which may be anything.

    :raises ValueError: it could not be shown, or loaded from a file
    """
    _record(Partition, {field.name: getattr(partition, field.name) for field in fields(Partition)})
    if not partition.name.isprintable():
        raise ValueError(f'{partition.name[:50]!r} is no name')


def is_of(value: object, hint: Any) -> bool:
    """Whether a value is of the type that an annotation names."""
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(isinstance(one, str) for one in value)
    allowed = get_args(hint) or (hint,)
    # Exactly, since a bool is an int.
    return type(value) in allowed
