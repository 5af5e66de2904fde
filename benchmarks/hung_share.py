# SPDX-License-Identifier: Apache-2.0
"""Does a share that hangs delay the volumes of others?

A FUSE file system that never answers is mounted in a mount namespace of the client's own. Healthy
volumes are attached all at once, with and without one of the hung share among them, in turns.
"""

from __future__ import annotations

import contextlib
import ctypes.util
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import contenders
from benchmarks.measure import at_once
from benchmarks.report import Row
from benchmarks.report import Table
from benchmarks.report import Target
from benchmarks.report import ratio
from benchmarks.report import value
from benchmarks.stage import REAL_LATENCY
from benchmarks.stage import Case
from benchmarks.stage import Size
from benchmarks.stage import median
from benchmarks.stage import stage

TITLE = 'Does one hung share delay the others?'
TABLES = [Table('Wall time in s', {'what': 'what'}, 'seconds', '{:.2f}', across='shares')]
SHARE = Path(__file__).parents[1] / 'tests' / 'host' / 'fuse_share.py'
PROBE_TIMEOUT_S = 2.0
HEALTHY, HUNG = 'all healthy', 'one hung'
ATTACHED, REFUSED = 'until all healthy ones are attached', 'until the hung one is refused'


def why_not() -> str | None:
    """Why it cannot be measured here; None: it can."""
    if os.geteuid() != 0:
        return 'mounting needs root'
    if not (os.path.exists('/dev/fuse') and ctypes.util.find_library('fuse')
            and importlib.util.find_spec('fuse')):
        return 'FUSE, libfuse 2 or fusepy is missing'
    if shutil.which('unshare') is None or not SHARE.exists():
        return f'unshare or {SHARE.name} is missing'
    return None


def cases(size: Size, names: Sequence[str]) -> list[Case]:
    return [Case('in turns', lambda: measure(size.rounds, size.attaches_beside_hung))]


def measure(rounds: int, count: int) -> list[dict[str, Any]]:
    reason = why_not()
    if reason is not None:
        return [{'why_not': reason}]
    times: dict[tuple[str, str], list[float]] = {}
    with stage(contenders.OURS, latency=REAL_LATENCY, prefix=[
            'unshare', '--mount', '--propagation', 'private']) as there:
        hung = there.volume(there.add_lpar())
        hung = {**hung, 'path': there.client.ask(mount_hung_share, timeout_s=PROBE_TIMEOUT_S)}
        for turn in range(-1, rounds):
            for shares in (HEALTHY, HUNG):
                lpar_uuid = there.add_lpar()
                facts = there.client.ask(
                    attach_beside, volumes=[there.volume(lpar_uuid) for _ in range(count)],
                    hung=hung if shares == HUNG else None)
                for what, seconds in facts.items():
                    if turn >= 0:
                        times.setdefault((what, shares), []).append(seconds)
        there.client.ask(let_go)
    return [{'what': what, 'shares': shares, 'attaches': count, 'runs': rounds,
             'probe_timeout_s': PROBE_TIMEOUT_S, 'seconds': median(each),
             'seconds_each': [round(one, 3) for one in each]}
            for (what, shares), each in times.items()]


def mount_hung_share(contender: Any, timeout_s: float) -> str:
    """Mount it, and expect it to answer soon; return the path of its one file."""
    from oslo_config import cfg
    place = tempfile.mkdtemp(prefix='benchmarks-hung-')
    share = subprocess.Popen([sys.executable, str(SHARE), place, 'nas1:/export', 'nfs'], text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert share.stdin
    assert share.stdout
    assert share.stdout.readline() == 'ready\n'
    share.stdin.write('hang\n')
    share.stdin.flush()
    assert share.stdout.readline() == 'done\n'
    # From here on it only holds requests; its words are read so that it is never held up itself.
    threading.Thread(target=share.stdout.read, daemon=True).start()
    contender.share, contender.place = share, place
    cfg.CONF.set_override('probe_timeout_s', timeout_s, 'powervm_fileio')
    contender.open_connector()
    return f'{place}/volume-1'


def let_go(contender: Any) -> None:
    contender.share.kill()
    contender.share.wait()
    subprocess.run(['umount', '--lazy', contender.place], check=True)
    os.rmdir(contender.place)


def attach_beside(contender: Any, volumes: Sequence[contenders.Volume],
                  hung: contenders.Volume | None) -> dict[str, float]:
    from powervm_fileio_connector import exceptions
    refused: list[float] = []

    def attach_hung() -> None:
        began = time.perf_counter()
        with contextlib.suppress(exceptions.MountNotResponding):
            contender.attach(hung)
        refused.append(time.perf_counter() - began)

    thread = threading.Thread(target=attach_hung)
    if hung is not None:
        thread.start()
    facts = at_once([lambda one=one: contender.attach(one) for one in volumes], 60.0)
    assert facts['done'] == len(volumes), facts
    if hung is None:
        return {ATTACHED: facts['wall_s']}
    thread.join()
    return {ATTACHED: facts['wall_s'], REFUSED: refused[0]}


def targets(rows: Sequence[Row]) -> list[Target]:
    def seconds(what: str, shares: str) -> float | None:
        return value(rows, 'seconds', what=what, shares=shares)

    return [Target('Healthy attaches beside a hung share, of those without', 1.2,
                   ratio(seconds(ATTACHED, HUNG), seconds(ATTACHED, HEALTHY))),
            Target('Refusal of the volume on the hung share, in s', PROBE_TIMEOUT_S + 2,
                   seconds(REFUSED, HUNG))]
