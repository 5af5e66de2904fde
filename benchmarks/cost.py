# SPDX-License-Identifier: Apache-2.0
"""What does an attach cost on a host that has many mappings already?

The contenders take turns, each with a host of its own, so that a noisy moment hits all alike.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
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
from benchmarks.stage import Stage
from benchmarks.stage import median
from benchmarks.stage import server_cpu
from benchmarks.stage import stage

TITLE = 'What does one warm attach or detach cost the client?'
_BY = {'mappings': 'mappings', 'act': 'act'}
TABLES = [Table('Processor time, helpers included, in ms', _BY, 'cpu_ms')]


def cases(size: Size, names: Sequence[str]) -> list[Case]:
    return [Case(f'{count} mappings', lambda count=count: measure(names, count, size.cost_rounds))
            for count in size.mappings]


def measure(names: Sequence[str], mappings: int, rounds: int) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    with contextlib.ExitStack() as stack:
        stages = {name: stack.enter_context(stage(name, mappings)) for name in names}
        lpar_uuids = {name: there.add_lpar() for name, there in stages.items()}
        for turn in range(-2, rounds):
            for name, there in stages.items():
                volume = there.volume(lpar_uuids[name])
                for act in ('attach', 'detach'):
                    facts = measured(there, act, volume)
                    if turn >= 0:       # those before have warmed it up
                        found.setdefault((name, act), []).append(facts)
    return [{'contender': name, 'mappings': mappings, 'act': act, 'runs': rounds,
             **{what: median([one[what] for one in each]) for what in each[0]},
             'cpu_ms_each': [round(one['cpu_ms'], 2) for one in each]}
            for (name, act), each in found.items()]


def measured(there: Stage, act: str, volume: contenders.Volume) -> dict[str, float]:
    there.simulator.requests.clear()
    facts = there.client.ask(act_once, act=act, volume=volume)
    return facts | server_cpu(there.simulator.requests.records())


def act_once(contender: Any, act: str, volume: contenders.Volume) -> dict[str, float]:
    return timed(getattr(contender, act), volume)


def targets(rows: Sequence[Row]) -> list[Target]:
    def cpu_ms(name: str, act: str) -> float | None:
        return value(rows, 'cpu_ms', contender=name, act=act, mappings=3000)

    return [Target(f"Processor time of a warm attach, of {other}'s (3000 mappings)", limit,
                   ratio(cpu_ms(contenders.OURS, 'attach'), cpu_ms(other, 'attach')))
            for other, limit in ((contenders.PLAIN, 0.35), (contenders.NOVA, 0.15))]
