# SPDX-License-Identifier: Apache-2.0
"""Where a simulation starts: a made-up host with some LPARs and mappings."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from .buses import file_udid
from .foreign import foreign_lpar
from .foreign import foreign_mappings
from .model import Host
from .model import Mapping
from .model import Partition
from .model import new_uuid
from .state import State

_PER_BUS = 20


def make_state(lpars: int = 2, mgmt_is_io_server: bool = True, mappings: int = 0,
               other_vioses: int = 0, foreign: bool = False) -> State:
    """A host with a management partition, LPARs ``lpar1``..., and mappings spread over them.

    :param mgmt_is_io_server: the management partition is a VIOS (software-defined I/O);
        otherwise it is an ordinary LPAR, and the VIOS is another partition
    :param other_vioses: traditional VIOS beside that
    :param foreign: another program has an LPAR and mappings of every kind
    """
    host = Host(str(uuid.uuid4()), 'simulated', '8247.22L.2100001')
    # As recorded: the partition type is Linux's and RMC is inactive on a NovaLink.
    novalink = Partition(new_uuid(), 'novalink', 1, is_io_server=mgmt_is_io_server,
                         is_management=True, rmc_state='inactive', max_slots=8192)
    partitions = [novalink]
    for number in range(1, other_vioses + 1 + (not mgmt_is_io_server)):
        partitions.append(Partition(new_uuid(), f'vios{number}', number + 1, is_io_server=True,
                                    type='Virtual IO Server', max_slots=8192))
    first = len(partitions) + 1
    clients = [Partition(new_uuid(), f'lpar{i + 1}', first + i) for i in range(lpars)]
    vios = next(p for p in partitions if p.is_io_server)
    seeded = list(_seed(vios, clients, mappings))
    if foreign:
        other = foreign_lpar(first + lpars)
        seeded = [*foreign_mappings(vios, other, 1 + mappings), *seeded]
        clients.append(other)
    return State(host, partitions + clients, seeded)


def _seed(vios: Partition, clients: list[Partition], count: int) -> Iterable[Mapping]:
    """Mappings that are there already; their files and volumes need not exist."""
    if count and not clients:
        raise ValueError('mappings need at least one LPAR')
    for i in range(count):
        client = clients[i % len(clients)]
        place = i // len(clients)
        bus, number = place // _PER_BUS, place % _PER_BUS + 1
        server_slot = 2 + bus * len(clients) + i % len(clients)
        is_file = i % 2 == 0
        path = f'/var/lib/pvm/fileio/seed-{i:05d}' if is_file else f'seed_lv_{i:05d}'
        lua = f'lun{number}'
        yield Mapping(
            i + 1, vios.uuid, server_slot, client.uuid, client.id, 2 + bus,
            kind='file' if is_file else 'lv', path=path, lua=lua,
            udid=file_udid(path) if is_file else f'0300025d4a00007a000000014b36d9de.{i}',
            target_name=f'FILEIO-seed-{i:05d}' if is_file else f'vtscsi{i}',
            target_udid=f'3{server_slot:07x}-{lua}', backstore='loop' if is_file else None,
            capacity_gb=str(i % 100 + 1))
