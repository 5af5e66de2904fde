# SPDX-License-Identifier: Apache-2.0
"""How much gets done when several processes, with several threads each, attach and detach?

Each thread has volumes of its own, and attaches or detaches one of them at random until the time is
up. All processes have the same lock path, as the services of one host do.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import contenders
from benchmarks.measure import at_once
from benchmarks.measure import cpu_s
from benchmarks.report import Figures
from benchmarks.report import Row
from benchmarks.report import Target
from benchmarks.stage import REAL_LATENCY
from benchmarks.stage import Case
from benchmarks.stage import Size
from benchmarks.stage import median
from benchmarks.stage import stage

TITLE = 'How many attaches and detaches do several processes get done?'
TABLES = [Figures('By all of them together', {
    'per_s': ('done per second', '{:.2f}'),
    'posts_per_act': ('POSTs for each', '{:.2f}'),
    'cpu_ms_per_act': ("clients' processor time for each, in ms", '{:.1f}'),
    'longest_s': ('longest, in s', '{:.2f}'),
    'failed': ('failed', '{:.0f}')})]
LPARS = 6
VOLUMES_EACH = 4
GRACE_S = 5.0


def cases(size: Size, names: Sequence[str]) -> list[Case]:
    return [Case(name, lambda name=name: measure(name, size))
            for name in names if name != contenders.KEPT]


def measure(name: str, size: Size) -> list[dict[str, Any]]:
    found = [once(name, size, seed) for seed in range(size.rounds)]
    return [{'contender': name, 'runs': size.rounds, 'seconds': size.mixed_s,
             'clients': f'{size.processes} processes x {size.threads} threads',
             **{what: median([facts[what] for facts in found]) for what in found[0]}}]


def once(name: str, size: Size, seed: int) -> dict[str, float]:
    with stage(name, latency=REAL_LATENCY, clients=size.processes) as there:
        lpar_uuids = [there.add_lpar() for _ in range(LPARS)]
        there.simulator.requests.clear()
        for place, client in enumerate(there.clients):
            client.send(work, seconds=size.mixed_s, seed=f'{seed} {place}', volumes=[
                [there.volume(lpar_uuids[(place + i) % LPARS]) for i in range(VOLUMES_EACH)]
                for _ in range(size.threads)])
        answers = [client.receive() for client in there.clients]
        records = there.simulator.requests.records()
    acts = max(1, sum(answer['acts'] for answer in answers))
    return {'per_s': sum(answer['in_time'] for answer in answers) / size.mixed_s,
            'failed': sum(answer['failed'] for answer in answers),
            'posts_per_act': sum(one.method == 'POST' for one in records) / acts,
            'stale_per_act': sum(one.status == 412 for one in records) / acts,
            'cpu_ms_per_act': sum(one['cpu_s'] for one in answers) * 1000 / acts,
            'longest_s': max(answer['longest_s'] for answer in answers)}


def work(contender: Any, seconds: float, seed: str,
         volumes: Sequence[Sequence[contenders.Volume]]) -> dict[str, float]:
    """Keep a thread busy with each list of volumes; what has begun may end a little later."""
    end, cpu = time.monotonic() + seconds, cpu_s()
    took: list[float] = []
    in_time: list[bool] = []
    failed: list[str] = []

    def keep_busy(place: int) -> None:
        dice = random.Random(f'{seed} {place}')
        attached = dict.fromkeys(range(len(volumes[place])), False)
        while time.monotonic() < end:
            one = dice.randrange(len(attached))
            act = contender.detach if attached[one] else contender.attach
            began = time.monotonic()
            try:
                act(volumes[place][one])
            except Exception as err:  # noqa: BLE001 - counted, whatever it is
                failed.append(type(err).__name__)
            else:
                attached[one] = not attached[one]
                took.append(time.monotonic() - began)
                in_time.append(time.monotonic() < end)

    at_once([lambda place=place: keep_busy(place) for place in range(len(volumes))],
            seconds + GRACE_S)
    return {'acts': len(took), 'in_time': sum(in_time), 'failed': len(failed),
            'cpu_s': cpu_s() - cpu,
            'longest_s': max(took, default=0.0)}


def targets(rows: Sequence[Row]) -> list[Target]:
    return []
