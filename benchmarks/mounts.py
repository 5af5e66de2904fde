# SPDX-License-Identifier: Apache-2.0
"""What does a long mount table cost, of which a fifth shows one export?

File systems are mounted in a mount namespace of the client's own. A volume of the export is
attached, attached again and detached, with one mount and with thousands.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import contenders
from benchmarks.measure import timed
from benchmarks.report import Row
from benchmarks.report import Table
from benchmarks.report import Target
from benchmarks.report import ratio
from benchmarks.report import value
from benchmarks.stage import Case
from benchmarks.stage import Size
from benchmarks.stage import median
from benchmarks.stage import stage

TITLE = 'What do thousands of mounts cost, of which a fifth show one export?'
TABLES = [Table('Processor time, helpers included, in ms',
                {'mounts': 'mounts', 'table': 'mount table'}, 'cpu_ms', '{:.2f}', across='act')]
EXPORT = 'nas1:/vols'
SHARE_OF_EXPORT = 5     # one of so many mounts shows it
ACTS = ('attach', 'repeat', 'detach')
UNCHANGED, CHANGED = 'unchanged', 'changed before each act'
_MS_BIND = 4096


def why_not() -> str | None:
    """Why it cannot be measured here; None: it can."""
    if os.geteuid() != 0:
        return 'mounting needs root'
    return None if shutil.which('unshare') else 'unshare is missing'


def cases(size: Size, names: Sequence[str]) -> list[Case]:
    return [Case('in turns', lambda: measure(size.mounts, size.cost_rounds))]


def measure(mounts: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    reason = why_not()
    if reason is not None:
        return [{'why_not': reason}]
    found: dict[tuple[int, str, str], list[float]] = {}
    lines: dict[int, int] = {}
    with stage(contenders.OURS, prefix=[
            'unshare', '--mount', '--propagation', 'private']) as there:
        lpar_uuid = there.add_lpar()
        directory = Path(there.volume(lpar_uuid)['path']).parent
        for count in mounts:
            lines[count] = there.client.ask(mount, directory=str(directory / 'mounts'), count=count)
            for turn, table in itertools.product(range(-2, rounds), (UNCHANGED, CHANGED)):
                facts = there.client.ask(act_all, lpar_uuid=lpar_uuid, changes=table == CHANGED)
                for act, cpu_ms in facts.items():
                    if turn >= 0:       # those before have warmed it up
                        found.setdefault((count, table, act), []).append(cpu_ms)
    return [{'mounts': count, 'table': table, 'act': act, 'runs': rounds, 'cpu_ms': median(each),
             'lines': lines[count]} for (count, table, act), each in found.items()]


def mount(contender: Any, directory: str, count: int) -> int:
    """Mount as many as are missing; return how many lines the mount table has."""
    for number in range(len(getattr(contender, 'places', [])), count):
        place = f'{directory}/{number}'
        os.makedirs(place)
        if number == 0:
            # Twice: below the mount as well, since the simulator sees only what is there.
            _make_volume(place)
            _mount(EXPORT, place, b'tmpfs')
            _make_volume(place)
            contender.places, contender.changes = [], 0
            contender.changing = f'{directory}/changing'
            os.mkdir(contender.changing)
        elif number % SHARE_OF_EXPORT == 0:
            _mount(contender.places[0], place, None, _MS_BIND)
        else:
            _mount(f'{EXPORT}-{number}', place, b'tmpfs')
        contender.places.append(place)
    return Path('/proc/self/mountinfo').read_bytes().count(b'\n')


def act_all(contender: Any, lpar_uuid: str, changes: bool) -> dict[str, float]:
    """Attach, attach again and detach; return the processor time of each."""
    volume = {'driver_volume_type': 'nfs', 'data': {
        'export': EXPORT, 'name': 'volume-1', 'lpar_uuid': lpar_uuid}}
    connect, disconnect = contender.connector.connect_volume, contender.connector.disconnect_volume
    spent = {}
    for act, call in zip(ACTS, _calls(connect, disconnect, volume), strict=True):
        if changes:
            _change(contender)
        spent[act] = timed(call)['cpu_ms']
    return spent


def _calls(connect: Callable[..., Any], disconnect: Callable[..., Any],
           volume: dict[str, Any]) -> Iterator[Callable[[], Any]]:
    yield lambda: connect(volume)
    yield lambda: connect(volume)
    yield lambda: disconnect(volume, None)


def _make_volume(place: str) -> None:
    Path(place, 'volume-1').write_bytes(bytes(1 << 20))


def _change(contender: Any) -> None:
    """Mount another file system in the place of one, so that the table is as it never was."""
    if contender.changes:
        _called(_libc().umount2(contender.changing.encode(), 0))
    contender.changes += 1
    _mount(f'{EXPORT}-changed-{contender.changes}', contender.changing, b'tmpfs')


def _mount(source: str, place: str, fstype: bytes | None, flags: int = 0) -> None:
    _called(_libc().mount(source.encode(), place.encode(), fstype, flags, None))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _called(failed: int) -> None:
    if failed:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def targets(rows: Sequence[Row]) -> list[Target]:
    counts = sorted({row['mounts'] for row in rows if 'mounts' in row})
    if not counts:
        return []
    few, many = counts[0], counts[-1]

    def cpu_ms(act: str, mounts: int, table: str = UNCHANGED) -> float | None:
        return value(rows, 'cpu_ms', act=act, mounts=mounts, table=table)

    return [Target(f'Processor time of {act} with {many} mounts, of that with {few}', 2,
                   ratio(cpu_ms(act, many), cpu_ms(act, few))) for act in ACTS] + [
        Target(f'Microseconds more of {act} for each of {many} mounts, after a change', 25,
               per_mount(cpu_ms(act, many, CHANGED), cpu_ms(act, many), many)) for act in ACTS]


def per_mount(changed: float | None, unchanged: float | None, mounts: int) -> float | None:
    """Return the microseconds more for each mount."""
    if changed is None or unchanged is None:
        return None
    return (changed - unchanged) * 1000 / mounts
