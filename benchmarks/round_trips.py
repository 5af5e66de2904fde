# SPDX-License-Identifier: Apache-2.0
"""How many requests does an attach or a detach need?

Cold: the first thing that is done over an open session. Warm: what is done later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks import client
from benchmarks import contenders
from benchmarks.report import Row
from benchmarks.report import Table
from benchmarks.report import Target
from benchmarks.report import value
from benchmarks.stage import Case
from benchmarks.stage import Size
from benchmarks.stage import median
from benchmarks.stage import stage

TITLE = 'How many requests does an attach or a detach make?'
TABLES = [Table('Requests, with 100 mappings on the host', {'act': 'act'}, 'requests', '{:.0f}')]


def cases(size: Size, names: Sequence[str]) -> list[Case]:
    return [Case(name, lambda name=name: measure(name, size.rounds)) for name in names]


def measure(name: str, rounds: int) -> list[dict[str, Any]]:
    found: dict[str, list[tuple[int, int]]] = {}
    with stage(name) as there:
        lpar_uuid = there.add_lpar()
        for _ in range(rounds):
            first, second = there.volume(lpar_uuid), there.volume(lpar_uuid)
            for act, what, volume in (
                    ('', client.open_new_session, None),
                    ('cold attach', client.attach, first),
                    ('', client.open_new_session, None),
                    ('cold detach', client.detach, first),
                    ('', client.attach, first),
                    ('', client.detach, first),
                    ('warm attach', client.attach, second),
                    ('warm detach', client.detach, second)):
                arguments = {} if volume is None else {'volume': volume}
                there.simulator.requests.clear()
                there.client.ask(what, **arguments)
                # Not the logging off of sessions before, which happens whenever they are collected.
                records = there.simulator.requests.records(path='/uom/')
                found.setdefault(act, []).append(
                    (len(records), sum(one.bytes_in + one.bytes_out for one in records)))
    return [{'contender': name, 'act': act, 'runs': rounds,
             'requests': median([count for count, _ in pairs]),
             'megabytes': median([size / 1e6 for _, size in pairs])}
            for act, pairs in found.items() if act]


def targets(rows: Sequence[Row]) -> list[Target]:
    return [Target(f'Requests of a {act}', limit,
                   value(rows, 'requests', contender=contenders.OURS, act=act))
            for act, limit in (('cold attach', 3), ('cold detach', 3), ('warm attach', 1),
                               ('warm detach', 1))]
