# SPDX-License-Identifier: Apache-2.0
"""How long do many attaches at once take, from threads of one process?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks import client
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
from benchmarks.stage import Stage
from benchmarks.stage import median
from benchmarks.stage import server_cpu
from benchmarks.stage import stage

TITLE = 'How long do many attaches at once take, where a GET takes 50 ms and a POST 200?'
_BY = {'attaches': 'attaches'}
TABLES = [Table('Wall time until the last one is attached, in s', _BY, 'wall_s', '{:.2f}'),
          Table('POSTs', _BY, 'posts', '{:.0f}')]
LPARS = 4


def cases(size: Size, names: Sequence[str]) -> list[Case]:
    # Who keeps a document is alone; the others take minutes for the most.
    return [Case(f'{count} at once, {name}', lambda name=name, count=count: measure(
                name, count, runs(name, count, size), size.limit_s))
            for count in size.at_once for name in names if name != contenders.KEPT]


def runs(name: str, count: int, size: Size) -> int:
    is_slow = count > 32 or (count > 8 and name == contenders.NOVA)
    return 1 if is_slow and name != contenders.OURS else size.rounds


def measure(name: str, count: int, rounds: int, limit_s: float) -> list[dict[str, Any]]:
    found = []
    with stage(name, latency=REAL_LATENCY) as there:
        warm_up = there.volume(there.add_lpar())
        there.client.ask(client.attach, volume=warm_up)
        for _ in range(rounds):
            found.append(once(there, count, limit_s))
            if found[-1]['is_late']:
                break       # some still run, and would disturb
    row = {'contender': name, 'attaches': count, 'runs': len(found),
           'is_late': any(facts['is_late'] for facts in found),
           'failed': sorted(error for facts in found for error in facts['failed'])}
    return [row | {what: median([facts[what] for facts in found]) for what in (
        'wall_s', 'posts', 'requests', 'done', 'cpu_ms_per_attach',
        'server_cpu_ms', 'server_cpu_ms_per_request')}]


def once(there: Stage, count: int, limit_s: float) -> dict[str, Any]:
    # New LPARs, so that each run makes the adapter pairs that the first ones made.
    lpar_uuids = [there.add_lpar() for _ in range(min(LPARS, count))]
    volumes = [there.volume(lpar_uuids[i % len(lpar_uuids)]) for i in range(count)]
    there.simulator.requests.clear()
    facts = there.client.ask(attach_at_once, volumes=volumes, limit_s=limit_s)
    records = there.simulator.requests.records()
    return {**facts, **server_cpu(records), 'requests': len(records),
            'posts': sum(record.method == 'POST' for record in records),
            'cpu_ms_per_attach': facts['cpu_s'] * 1000 / count}


def attach_at_once(contender: Any, volumes: Sequence[contenders.Volume],
                   limit_s: float) -> dict[str, Any]:
    return at_once([lambda volume=volume: contender.attach(volume) for volume in volumes], limit_s)


def targets(rows: Sequence[Row]) -> list[Target]:
    def of(name: str, count: int, what: str) -> float | None:
        return value(rows, what, contender=name, attaches=count)

    ours, plain = contenders.OURS, contenders.PLAIN
    return [Target('POSTs for 32 attaches at once', 3, of(ours, 32, 'posts')),
            Target(f"Wall time of 32 attaches at once, of {plain}'s", 1 / 8,
                   ratio(of(ours, 32, 'wall_s'), of(plain, 32, 'wall_s'))),
            Target('POSTs for 128 attaches at once', 4, of(ours, 128, 'posts'))]
