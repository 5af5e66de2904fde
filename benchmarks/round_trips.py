# SPDX-License-Identifier: Apache-2.0
"""How many requests does an attach or a detach need?

Cold: the first thing that a process does over an open session. Warm: what it does later.
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

TITLE = 'Requests for an attach and a detach'
TABLES = [Table('Requests (100 mappings)', {'act': 'act'}, 'requests', '{:.0f}'),
          Table('Megabytes sent and received', {'act': 'act'}, 'megabytes', '{:.2f}')]


def cases(size: Size, names: Sequence[str]) -> list[Case]:
    return [Case(name, lambda name=name: measure(name, size.rounds)) for name in names]


def measure(name: str, rounds: int) -> list[dict[str, Any]]:
    found: dict[str, list[tuple[int, int]]] = {}
    with stage(name) as there:
        lpar_uuid = there.add_lpar()
        for _ in range(rounds):
            first, second = there.volume(lpar_uuid), there.volume(lpar_uuid)
            one, other = there.make_client(), there.make_client()
            for act, who, what, volume in (
                    ('cold attach', one, client.attach, first),
                    ('cold detach', other, client.detach, first),
                    ('', other, client.attach, first),
                    ('', other, client.detach, first),
                    ('warm attach', other, client.attach, second),
                    ('warm detach', other, client.detach, second)):
                records = there.requests_of(lambda: who.ask(what, volume=volume))   # noqa: B023
                found.setdefault(act, []).append(
                    (len(records), sum(one.bytes_in + one.bytes_out for one in records)))
            one.close()
            other.close()
    return [{'contender': name, 'act': act, 'runs': rounds,
             'requests': median([count for count, _ in pairs]),
             'megabytes': median([size / 1e6 for _, size in pairs])}
            for act, pairs in found.items() if act]


def targets(rows: Sequence[Row]) -> list[Target]:
    return [Target(f'Requests of a {act}', limit,
                   value(rows, 'requests', contender=contenders.OURS, act=act))
            for act, limit in (('cold attach', 3), ('cold detach', 3), ('warm attach', 1),
                               ('warm detach', 1))]
