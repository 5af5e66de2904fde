# SPDX-License-Identifier: Apache-2.0
"""How much memory does a client need on a host with many mappings?

A fresh process attaches and detaches three times. Its peak begins with what is imported, so that is
shown too; the processes that probe shares are counted as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks import contenders
from benchmarks.measure import descendants
from benchmarks.measure import peak_mib
from benchmarks.report import Row
from benchmarks.report import Table
from benchmarks.report import Target
from benchmarks.report import ratio
from benchmarks.report import value
from benchmarks.stage import Case
from benchmarks.stage import Size
from benchmarks.stage import median
from benchmarks.stage import stage

TITLE = 'How much memory does the client need at most?'
TABLES = [Table('MiB at the peak', {'mappings': 'mappings', 'what': 'what'}, 'mib')]
ACTS = 3


def cases(size: Size, names: Sequence[str]) -> list[Case]:
    mappings = max(size.mappings)
    return [Case(name, lambda name=name: measure(name, mappings, size.rounds)) for name in names]


def measure(name: str, mappings: int, rounds: int) -> list[dict[str, Any]]:
    found = []
    with stage(name, mappings, clients=0) as there:
        lpar_uuid = there.add_lpar()
        for _ in range(rounds):
            client = there.make_client()
            found.append(client.ask(
                peaks, volumes=[there.volume(lpar_uuid) for _ in range(ACTS)]))
            client.close()
    return [{'contender': name, 'mappings': mappings, 'what': what, 'runs': rounds,
             'mib': median([facts[what] for facts in found])} for what in found[0]]


def peaks(contender: Any, volumes: Sequence[contenders.Volume]) -> dict[str, float]:
    before = peak_mib()
    for volume in volumes:
        contender.attach(volume)
        contender.detach(volume)
    after, helpers = peak_mib(), sum(map(peak_mib, descendants()))
    return {'imports': before, 'work above that': after - before, 'process': after,
            'helpers': helpers}


def targets(rows: Sequence[Row]) -> list[Target]:
    def mib(name: str, what: str) -> float | None:
        return value(rows, 'mib', contender=name, what=what, mappings=3000)

    return [Target(f"Peak memory of the process, of {contenders.PLAIN}'s (3000 mappings)", 1,
                   ratio(mib(contenders.OURS, 'process'), mib(contenders.PLAIN, 'process')))]
