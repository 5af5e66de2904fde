# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio demo``: the whole life of a volume, against the simulator."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import uuid
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterator
from typing import Any

from cliff import lister

# Every Linux has a tmpfs here, so a real mount that is not the root file system.
_MOUNT = '/dev/shm'  # noqa: S108 - a directory of our own is made in it
_MIB = 1024 * 1024


class Demo(lister.Lister):
    """Attach, repeat, extend and detach a volume of a simulated LPAR.

    A simulated NovaLink is started on loopback and a small sparse file is made below /dev/shm.
    The connector comes from os-brick's own factory and speaks real HTTP through pypowervm. Each row
    shows what NovaLink then says of the volume, and what the step cost. Nothing is left behind.
    """

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], Iterator]:
        columns = ('Step', 'LPAR', 'Slot', 'LUA', 'Disk', 'File', 'GET', 'POST', 'Other', 'Time')
        return columns, iter(list(self._steps()))

    def _steps(self) -> Iterator[tuple]:
        # Imported here: the list of commands is shown without them.
        from os_brick.initiator import connector as brick

        import powervm_fileio_connector as pfc
        from powervm_fileio_connector.simulator import NovaLinkSimulator

        volume_id = str(uuid.uuid4())
        with (NovaLinkSimulator(lpars=1) as sim,
              tempfile.TemporaryDirectory(prefix='powervm-fileio-demo-', dir=_MOUNT) as directory):
            path = os.path.join(directory, 'volume-1')
            _grow(path, 64 * _MIB)
            pfc.register()
            lpar = sim.lpars[0]
            connector = brick.InitiatorConnector.factory(
                'file', 'sudo', adapter=sim.adapter(), lpar_uuid=lpar.uuid)
            volume = {'driver_volume_type': 'gpfs', 'volume_id': volume_id,
                      'data': {'name': 'volume-1', 'device_path': path}}
            step = _Step(sim, lpar)
            info = yield from step('attach', lambda: connector.connect_volume(volume))
            again = yield from step('attach again', lambda: connector.connect_volume(volume))
            if again != info:
                raise RuntimeError(f'attaching again returned {again}, not {info}')
            _grow(path, 96 * _MIB)
            yield from step('extend', lambda: connector.extend_volume(volume))
            yield from step('detach', lambda: connector.disconnect_volume(volume, info))
            yield from step('detach again', lambda: connector.disconnect_volume(volume, info))
            if sim.mappings():
                raise RuntimeError(f'mappings are left: {sim.mappings()}')


class _Step:
    """Does one step and makes a row of what it changed and what it cost."""

    def __init__(self, sim: Any, lpar: Any) -> None:
        self._sim = sim
        self._lpar = lpar

    def __call__(self, name: str, act: Callable[[], Any]) -> Generator[tuple, None, Any]:
        self._sim.requests.clear()
        start = time.perf_counter()
        outcome = act()
        elapsed_ms = (time.perf_counter() - start) * 1000
        requests = self._sim.requests
        gets, posts = requests.count('GET'), requests.count('POST')
        cost = (gets, posts, requests.count() - gets - posts, f'{elapsed_ms:.0f} ms')
        disks = [(self._lpar.name, disk.slot, disk.lua, f'{float(disk.capacity_gb) * 1024:.0f} MiB',
                  os.path.basename(disk.path)) for disk in self._sim.mappings(self._lpar.uuid)]
        for disk in disks or [(self._lpar.name, '-', '-', 'none', '-')]:
            yield (name, *disk, *cost)
        return outcome


def _grow(path: str, size: int) -> None:
    with open(path, 'ab') as volume:
        volume.truncate(size)
