# SPDX-License-Identifier: Apache-2.0
"""How many requests does an attach or a detach need?

Cold: the first thing that is done over an open session. Warm: what is done later. Recorded mappings
of files name no LPAR, so that ids of LPARs, which are reused, have to be asked for; where a server
names the LPARs of all mappings, nothing is asked.
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
TABLES = [Table('Requests, with 100 mappings on the host', {
    'mappings': 'mappings of files', 'act': 'act'}, 'requests', '{:.0f}')]
RECORDED, WITH_LPARS = 'as recorded', 'name their LPARs'


def cases(size: Size, names: Sequence[str]) -> list[Case]:
    return [Case(f'{name}, mappings {mappings}',
                 lambda name=name, mappings=mappings: measure(name, mappings, size.rounds))
            for mappings in (RECORDED, WITH_LPARS) for name in names]


def measure(name: str, mappings: str, rounds: int) -> list[dict[str, Any]]:
    found: dict[str, list[tuple[int, int]]] = {}
    with stage(name, links_of_files=mappings == WITH_LPARS) as there:
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
    return [{'contender': name, 'mappings': mappings, 'act': act, 'runs': rounds,
             'requests': median([count for count, _ in pairs]),
             'megabytes': median([size / 1e6 for _, size in pairs])}
            for act, pairs in found.items() if act]


def targets(rows: Sequence[Row]) -> list[Target]:
    return [Target(f'Requests of a {act}, mappings {mappings}', limit + asked,
                   value(rows, 'requests', contender=contenders.OURS, mappings=mappings, act=act))
            for mappings, asked in ((WITH_LPARS, 0), (RECORDED, 1))
            for act, limit in (('cold attach', 3), ('cold detach', 3), ('warm attach', 1),
                               ('warm detach', 1))]
