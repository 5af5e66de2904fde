# SPDX-License-Identifier: Apache-2.0
"""Where contenders meet the simulator: fresh ones of both for each measurement."""

from __future__ import annotations

import contextlib
import itertools
import os
import statistics
import tempfile
import uuid
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.client import Client
from benchmarks.contenders import Volume
from powervm_fileio_connector.simulator import NovaLinkProcess
from powervm_fileio_connector.simulator.faults import Latency

REAL_LATENCY = Latency(get_s=0.05, post_s=0.2)
"""What a NovaLink takes at its best, for the questions about waiting."""


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int = 5
    cost_rounds: int = 11
    mappings: Sequence[int] = (0, 100, 1000, 3000)
    at_once: Sequence[int] = (1, 8, 32, 128)
    limit_s: float = 120.0
    mixed_s: float = 10.0
    processes: int = 4
    threads: int = 8
    probes: int = 300
    attaches_beside_hung: int = 20
    mounts: Sequence[int] = (1, 5000)


FULL = Size()
QUICK = Size(rounds=1, cost_rounds=1, mappings=(0, 100), at_once=(1, 4), limit_s=20.0,
             mixed_s=1.0, processes=2, threads=2, probes=5, attaches_beside_hung=4, mounts=(1, 500))


@dataclass(frozen=True)
class Case:
    """One step of the progress bar: measures, and returns rows of facts."""

    label: str
    run: Callable[[], list[dict[str, Any]]]


class Stage:
    """A simulated host, the clients of one contender, and a place for volumes."""

    def __init__(self, simulator: NovaLinkProcess, directory: Path, make: Callable[[], Client],
                 clients: list[Client]) -> None:
        self.simulator = simulator
        self.clients = clients
        self.make_client = make
        self._directory = directory
        self._numbers = itertools.count()

    @property
    def client(self) -> Client:
        return self.clients[0]

    def add_lpar(self) -> str:
        """A new LPAR, without mappings."""
        number = uuid.uuid4().int & ~(1 << 127)     # Nova's UUIDs become PowerVM's without this bit
        return self.simulator.add_lpar(uuid=str(uuid.UUID(int=number)).upper()).uuid

    def volume(self, lpar_uuid: str) -> Volume:
        """A new volume, to be attached to an LPAR."""
        path = self._directory / f'volume-{next(self._numbers):05d}'
        with open(path, 'xb') as file:
            file.truncate(1 << 20)
        return {'path': str(path), 'id': str(uuid.uuid4()), 'lpar_uuid': lpar_uuid}


@contextlib.contextmanager
def stage(contender: str, mappings: int = 100, latency: Latency | None = None, clients: int = 1,
          prefix: Sequence[str] = (), links_of_files: bool = False) -> Iterator[Stage]:
    """Set up a stage, and clear it.

    :param links_of_files: whether mappings of files name their LPAR, which recorded ones do not
    """
    with contextlib.ExitStack() as stack:
        # Not on the root file system, which is refused.
        directory = Path(stack.enter_context(
            tempfile.TemporaryDirectory(prefix='benchmarks-', dir='/dev/shm')))
        os.mkdir(directory / 'locks')
        simulator = stack.enter_context(
            NovaLinkProcess(lpars=8, mappings=mappings, latency=latency,
                            links_of_files=links_of_files))
        vios_uuid = simulator.vios_uuid

        def make() -> Client:
            return stack.enter_context(contextlib.closing(Client(
                contender, simulator.port, vios_uuid, str(directory / 'locks'), prefix)))

        yield Stage(simulator, directory, make, [make() for _ in range(clients)])


def median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 4)


def server_cpu(records: Sequence[Any]) -> dict[str, float]:
    """The simulator's own processor time in ms: of all these requests, and the mean of each."""
    total = sum(record.cpu_seconds for record in records) * 1000
    return {'server_cpu_ms': round(total, 3),
            'server_cpu_ms_per_request': round(total / max(1, len(records)), 3)}
