# SPDX-License-Identifier: Apache-2.0
"""The simulated host: its partitions and mappings, and every change that can happen to them.

Knows no HTTP and no XML, never waits, and touches no file: what the file system says comes in
as facts. Every method may be called from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import replace
from typing import Any

from .buses import buses_of
from .buses import capacity_gb
from .buses import client_slots
from .buses import violations
from .etags import FC
from .etags import SCSI
from .etags import Etags
from .model import Change
from .model import FileFact
from .model import Host
from .model import Mapping
from .model import NewMapping
from .model import Partition
from .model import Snapshot
from .model import check_partition
from .model import records_of
from .placement import Plan
from .rules import Refused
from .rules import Rules


class State:
    """All that the server knows."""

    def __init__(self, host: Host, partitions: Iterable[Partition] = (),
                 mappings: Iterable[Mapping] = (), nonce: int = 1,
                 others: Iterable[Host] = ()) -> None:
        """:param others: machines without partitions, as an HMC shows beside the one"""
        self.rules = Rules()
        self.host = host
        self.hosts = [host, *others]
        self._lock = threading.RLock()
        self._subscribers: list[Callable[[Change], None]] = []
        self._partitions = {p.uuid: p for p in partitions}
        self._mappings: dict[str, dict[int, Mapping]] = {
            p.uuid: {} for p in self._partitions.values() if p.is_io_server}
        for mapping in mappings:
            self._mappings[mapping.vios_uuid][mapping.id] = mapping
        self._buses = {uuid: buses_of(m.values()) for uuid, m in self._mappings.items()}
        self._next_id = 1 + max((i for m in self._mappings.values() for i in m), default=0)
        self._etags = Etags(nonce)
        self._foreign_losses: list[str] = []
        self._version = 1

    @property
    def version(self) -> int:
        """Grows with every change."""
        return self._version

    def partitions(self, io_servers: bool | None = None) -> list[Partition]:
        """All partitions, or only the I/O servers, or only the others."""
        with self._lock:
            return [p for p in self._partitions.values()
                    if io_servers is None or p.is_io_server == io_servers]

    @property
    def vios(self) -> Partition:
        """The VIOS that is the management partition, or else the first one."""
        servers = self.partitions(io_servers=True)
        return next((p for p in servers if p.is_management), servers[0])

    @property
    def lpars(self) -> list[Partition]:
        """The client LPARs, oldest first, but those of other programs."""
        return [p for p in self.partitions(io_servers=False)
                if not p.is_management and not p.is_foreign]

    def partition(self, uuid: str) -> Partition:
        """One partition by any of its UUIDs, in any case.

        :raises Refused: kind unknown
        """
        with self._lock:
            found = self._find(uuid)
        if found is None:
            raise Refused('partition_known', f'There is no partition {uuid}.', 'unknown')
        return found

    def _find(self, uuid: str) -> Partition | None:
        found = self._partitions.get(uuid)
        if found is None:
            wanted = uuid.upper()
            for partition in self._partitions.values():
                if wanted in [u.upper() for u in (partition.uuid, *partition.aliases)]:
                    return partition
        return found

    def mappings(self, vios_uuid: str | None = None) -> list[Mapping]:
        """The mappings of one VIOS, or of all, in the order of its document."""
        with self._lock:
            chosen = self._mappings.values() if vios_uuid is None else [self._mappings[vios_uuid]]
            return [mapping for some in chosen for mapping in some.values()]

    def etag(self, uuid: str, group: str | None) -> str:
        """The etag of a document as read with a group."""
        with self._lock:
            return self._etags.current(uuid, group)

    def snapshot(self) -> Snapshot:
        """Everything, as plain data that JSON can hold."""
        with self._lock:
            return {
                'hosts': [asdict(host) for host in self.hosts],
                'partitions': [asdict(p) for p in self._partitions.values()],
                'mappings': [asdict(m) for m in self.mappings()],
                'nonce': self._etags.nonce,
            }

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot) -> State:
        """The state that a snapshot was taken of.

        :raises ValueError: it is no snapshot
        """
        hosts, partitions, mappings = records_of(snapshot)
        return cls(hosts[0], partitions, mappings, snapshot['nonce'] + 1, hosts[1:])

    def violations(self) -> list[str]:
        """What is wrong with the state; nothing ever, unless it was loaded that way."""
        with self._lock:
            return [*violations(self.mappings()), *self._foreign_losses,
                    *(f'the buses of VIOS {uuid} are not those of its mappings'
                      for uuid, mappings in self._mappings.items()
                      if buses_of(mappings.values()) != self._buses[uuid])]

    def check_invariants(self) -> None:
        """:raises AssertionError: a slot or a LUA is there twice, or a UDID is wrong"""
        found = self.violations()
        assert not found, '; '.join(found)

    def subscribe(self, subscriber: Callable[[Change], None]) -> None:
        """Have every change told, in order; the subscriber must not wait."""
        self._subscribers.append(subscriber)

    def check_etag(self, uuid: str, group: str | None, etag: str | None) -> None:
        """:raises Refused: kind stale"""
        with self._lock:
            self._etags.check(self.rules, uuid, group, etag)

    def replace_mappings(self, vios_uuid: str, etag: str | None, group: str | None,
                         kept: Collection[int], new: Sequence[NewMapping],
                         facts: dict[str, FileFact],
                         document: str | None = None) -> list[Mapping]:
        """Make the mappings of a VIOS the kept ones and the new ones: all of it or nothing.

        :param kept: ids of the mappings that stay as they are
        :param facts: what the file system says of the new mappings' paths
        :param document: a new document of the VIOS, taken over with the rest
        :returns: the mappings made
        :raises Refused: a rule does not allow it, and nothing has changed
        """
        with self._lock:
            vios = self.partition(vios_uuid)
            self.check_etag(vios_uuid, group, etag)
            current = self._mappings[vios_uuid]
            plan = Plan(self.rules, vios, self._buses[vios_uuid], self._partitions,
                        client_slots(self._buses, but=vios_uuid), facts)
            gone = [mapping for i, mapping in current.items() if i not in kept]
            for mapping in gone:
                plan.remove(mapping)
            plan.drop_empty_buses(but=[wish.server_slot for wish in new])
            made = []
            for number, wish in enumerate(new, self._next_id):
                client = self._find(wish.lpar_uuid) if wish.lpar_uuid else None
                made.append(plan.place(
                    replace(wish, lpar_uuid=client.uuid) if client else wish, number))
            plan.drop_empty_buses()
            if document is not None:
                self._partitions[vios_uuid] = replace(vios, document=document)
                self._changed(vios, FC, 'VirtualFibreChannelMappings')
            if not gone and not made:
                return []
            self._next_id += len(made)
            self._foreign_losses += [
                f'a client removed or changed {m.kind} mapping {m.id} ({m.path}) of another program'
                for m in gone if m.is_foreign]
            self._mappings[vios_uuid] = {i: m for i, m in current.items() if i in kept}
            self._mappings[vios_uuid].update((m.id, m) for m in made)
            self._buses[vios_uuid] = plan.buses
            self._changed(vios, SCSI, 'VirtualSCSIMappings')
            return made

    def rescan(self, vios_uuid: str, udid: str, size_of: Callable[[str], int | None]) -> None:
        """Take over the present size of a file.

        :param size_of: the size of a path in bytes, or None if it is gone
        :raises Refused: the disk is not known, or its backstore can't be rescanned
        """
        with self._lock:
            known = [m for m in self._mappings[vios_uuid].values() if m.udid == udid]
        self.rules.check('udid_known', known, f'There is no virtual disk {udid}.', 'unknown')
        files = [m for m in known if m.kind == 'file' and m.path]
        for mapping in files:
            self.rules.check('rescan_kernel_backstore', mapping.backstore != 'user:qcow',
                             f'{mapping.path} has the backstore user:qcow, which cannot be '
                             'rescanned.')
        sizes = {m.path: size_of(m.path) for m in files if m.path}
        for path, size in sizes.items():
            self.rules.check('file_exists', size is not None, f'The file {path} does not exist.')
        with self._lock:
            mappings = self._mappings[vios_uuid]
            for mapping in files:
                size = sizes[mapping.path or '']
                if size is None or mapping.id not in mappings:
                    continue
                grown = replace(mapping, capacity_gb=capacity_gb(size))
                if grown != mapping:
                    mappings[mapping.id] = grown
                    self._changed(self._partitions[vios_uuid], SCSI, 'VirtualSCSIMappings')

    def add_partition(self, partition: Partition) -> None:
        """Create a partition.

        :raises ValueError: its UUID or its id is taken
        """
        with self._lock:
            for other in self._partitions.values():
                if other.uuid == partition.uuid or other.id == partition.id:
                    raise ValueError(f'partition {partition.uuid} or id {partition.id} exists')
            self._partitions[partition.uuid] = partition
            if partition.is_io_server:
                self._mappings[partition.uuid] = {}
                self._buses[partition.uuid] = {}
            self._changed(partition, '', '', 'add')

    def change_partition(self, uuid: str, /, **fields: Any) -> Partition:
        """Change fields of a partition, e.g. ``rmc_state='inactive'``.

        :raises ValueError: a field is one that mappings go by, or of another type
        """
        fixed = {'uuid', 'id', 'is_io_server'} & fields.keys()
        if fixed:
            raise ValueError(f'{", ".join(sorted(fixed))} of a partition cannot be changed')
        with self._lock:
            partition = replace(self.partition(uuid), **fields)
            check_partition(partition)
            self._partitions[partition.uuid] = partition
            self._changed(partition, '', 'PartitionState,Other')
            return partition

    def remove_partition(self, uuid: str, leave_orphans: bool = True) -> None:
        """Delete an LPAR.

        :param leave_orphans: its mappings stay, without client adapter and LPAR link, as
            recorded; otherwise they go too
        :raises ValueError: it is an I/O server
        """
        with self._lock:
            partition = self.partition(uuid)
            if partition.is_io_server:
                raise ValueError(f'{partition.name} is an I/O server, and cannot be removed')
            del self._partitions[partition.uuid]
            for vios_uuid, mappings in self._mappings.items():
                theirs = [m for m in mappings.values() if m.has_client
                          and (m.lpar_uuid == partition.uuid or m.lpar_id == partition.id)]
                for mapping in theirs:
                    if leave_orphans:
                        mappings[mapping.id] = replace(mapping, has_client=False, lpar_uuid=None)
                    else:
                        del mappings[mapping.id]
                if theirs:
                    self._buses[vios_uuid] = buses_of(mappings.values())
                    self._changed(self._partitions[vios_uuid], SCSI, 'VirtualSCSIMappings')
            self._changed(partition, '', '', 'delete')

    def touch(self, vios_uuid: str) -> None:
        """Make the etags of the mappings new, as after a change."""
        with self._lock:
            self._changed(self._partitions[vios_uuid], SCSI, 'VirtualSCSIMappings')

    def restart(self) -> None:
        """Forget what a restart of the server forgets: every etag is new."""
        with self._lock:
            self._etags.nonce += 1
            self._version += 1

    def _changed(self, partition: Partition, part: str, detail: str,
                 action: str = 'modify') -> None:
        self._etags.change(partition.uuid, part)
        self._version += 1
        for subscriber in self._subscribers:
            subscriber(Change(action, partition, detail))
