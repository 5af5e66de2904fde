# SPDX-License-Identifier: Apache-2.0
"""How many calls of its own functions, probes and requests does a warm attach make?

These are counted, not timed: the same on every machine. A comprehension is no call.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import powervm_fileio_connector
from benchmarks import contenders
from benchmarks import mounts
from benchmarks.report import Row
from benchmarks.report import Table
from benchmarks.report import Target
from benchmarks.report import value
from benchmarks.stage import Case
from benchmarks.stage import Size
from benchmarks.stage import stage

TITLE = 'How many calls of our functions does a warm attach by path make?'
TABLES = [Table('Counted, by how many file systems were mounted besides', {'what': 'what'}, 'count',
                '{:.0f}', across='mounts')]
FEW, MANY = 20, 40
WARM_UPS = 3
CALLS, PROBES, READS = 'calls of our functions', 'probes', 'questions to the mount table'
REQUESTS = 'requests to NovaLink'

_PACKAGE = os.path.dirname(powervm_fileio_connector.__file__)
_COUNTED = {('channel.py', 'Channel.send'): PROBES, ('mount_table.py', 'table'): READS}


def cases(size: Size, names: Sequence[str]) -> list[Case]:
    return [Case('a warm attach', measure)]


def measure() -> list[dict[str, Any]]:
    reason = mounts.why_not()
    if reason is not None:
        return [{'why_not': reason}]
    rows = []
    for mounted in (FEW, MANY):
        with stage(contenders.OURS, mappings=0, prefix=[
                'unshare', '--mount', '--propagation', 'private']) as there:
            lpar_uuid = there.add_lpar()
            volumes = [there.volume(lpar_uuid) for _ in range(WARM_UPS + 1)]
            there.client.ask(mounts.mount, count=mounted,
                             directory=str(Path(volumes[0]['path']).parent / 'mounts'))
            for volume in volumes:
                there.simulator.requests.clear()
                found = there.client.ask(attach_counted, volume=volume)
            found[REQUESTS] = len(there.simulator.requests.records(path='/uom/'))
        rows += [{'mounts': str(mounted), 'what': what, 'count': count}
                 for what, count in found.items()]
    return rows


def attach_counted(contender: Any, volume: contenders.Volume) -> dict[str, int]:
    """Attach a volume by its path alone, and count."""
    counts = {CALLS: 0, PROBES: 0, READS: 0}

    def count(frame: Any, event: str, argument: Any) -> None:
        code = frame.f_code
        if event != 'call' or not code.co_filename.startswith(_PACKAGE):
            return
        name = code.co_qualname
        if not name.endswith('>') or name.endswith('<lambda>'):
            counts[CALLS] += 1
        what = _COUNTED.get((os.path.basename(code.co_filename), name))
        if what is not None:
            counts[what] += 1

    properties = {'driver_volume_type': 'local', 'device_path': volume['path'],
                  'lpar_uuid': volume['lpar_uuid']}
    sys.setprofile(count)
    try:
        contender.connector.connect_volume(properties)
    finally:
        sys.setprofile(None)
    return counts


def targets(rows: Sequence[Row]) -> list[Target]:
    def counted(what: str, mounted: int = FEW) -> float | None:
        return value(rows, 'count', what=what, mounts=str(mounted))

    few, many = counted(CALLS), counted(CALLS, MANY)
    return [Target('Calls of our functions in a warm attach by path', 400, few),
            Target(f'More calls with {MANY} mounts than with {FEW}', 0,
                   None if few is None or many is None else many - few),
            Target('Probes in a warm attach by path', 3, counted(PROBES)),
            Target('Questions to the mount table in a warm attach by path', 2, counted(READS))]
