# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio demo``: attach, extend and detach a volume, against the simulator."""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
import time
import uuid
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterator
from typing import Any

from powervm_fileio_connector.cli import output
from powervm_fileio_connector.cli import signals

# Every Linux has a tmpfs here, so a real mount that is not the root file system.
_MOUNT = '/dev/shm'  # noqa: S108 - a directory of our own is made in it
_MIB = 1024 * 1024


class Demo(output.Table):
    """Attach, repeat, extend and detach a volume of a simulated LPAR.

    A simulated NovaLink is started on loopback and a small sparse file is made below /dev/shm.
    The connector comes from os-brick's own factory and speaks real HTTP through pypowervm. Each row
    shows the disk as NovaLink shows it after the step, and the requests that the step took. Nothing
    is left behind.
    """

    example = 'powervm-fileio demo'
    asks_novalink = False
    in_table = ('step', 'slot', 'lua', 'size_bytes', 'name', 'get', 'post', 'seconds')

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple]]:
        with signals.ending_cleanly():
            rows = list(self._steps())
        return ('step', 'lpar', 'slot', 'lua', 'size_bytes', 'name', 'get', 'post',
                'other_requests', 'seconds'), rows

    def run(self, parsed_args: argparse.Namespace) -> int:
        code = super().run(parsed_args)
        if parsed_args.formatter == 'table':
            self.say('A simulated LPAR got a file as a disk, saw it grow and lost it again; '
                     'repeating\na step sent no POST. Next: run "powervm-fileio simulate", and '
                     'elsewhere\n"powervm-fileio attach FILE --lpar lpar1 --simulator URL".')
        return code

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
            # The simulated management partition is not this host, which may be a Power LPAR.
            connector.checks_host = False
            volume = {'driver_volume_type': 'gpfs', 'volume_id': volume_id,
                      'data': {'name': 'volume-1', 'device_path': path}}
            step = functools.partial(_step, sim, lpar)
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


def _step(sim: Any, lpar: Any, name: str, act: Callable[[], Any]) -> Generator[tuple, None, Any]:
    """Do one step, and make a row of the disk and the requests that the step took."""
    sim.requests.clear()
    start = time.perf_counter()
    outcome = act()
    seconds = output.Seconds(round(time.perf_counter() - start, 3))
    gets, posts = sim.requests.count('GET'), sim.requests.count('POST')
    cost = (gets, posts, sim.requests.count() - gets - posts, seconds)
    disks: list[tuple] = [
        (lpar.name, disk.slot, disk.lua, output.Size(round(float(disk.capacity_gb) * 1024) * _MIB),
         os.path.basename(disk.path)) for disk in sim.mappings(lpar.uuid)]
    for disk in disks or [(lpar.name, None, None, None, None)]:
        yield (name, *disk, *cost)
    return outcome


def _grow(path: str, size: int) -> None:
    with open(path, 'ab') as volume:
        volume.truncate(size)
