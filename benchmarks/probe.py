# SPDX-License-Identifier: Apache-2.0
"""What does one probe of a share cost, made by a process that can be killed?"""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from benchmarks import contenders
from benchmarks.measure import timed
from benchmarks.report import Row
from benchmarks.report import Table
from benchmarks.report import Target
from benchmarks.report import value
from benchmarks.stage import Case
from benchmarks.stage import Size
from benchmarks.stage import median
from benchmarks.stage import stage
from powervm_fileio_connector.host import probe

TITLE = 'What does one probe of a healthy share cost?'
TABLES = [Table('Median in ms, helpers included', {'what': 'what'}, 'ms', '{:.2f}',
                across='measure')]
FIRST = 'the first probe, which starts a helper'
PROBE = 'a probe'
VALID = 'check_valid_device: a probe and the mount table'
STAT = 'os.stat in the same process, without protection'


def cases(size: Size, names: Sequence[str]) -> list[Case]:
    return [Case('probes', lambda: measure(size))]


def measure(size: Size) -> list[dict[str, Any]]:
    with stage(contenders.OURS, clients=0) as there:
        volume = there.volume('')
        firsts = []
        for _ in range(size.rounds):
            client = there.make_client()
            found = client.ask(probes, path=volume['path'], count=size.probes)
            firsts.append(found.pop(FIRST))
            client.close()
        first = {name: median([one[name] for one in firsts]) for name in firsts[0]}
    return [{'what': what, 'measure': measure, 'ms': ms, 'runs': size.rounds if what == FIRST
             else size.probes} for what, facts in ({FIRST: first} | found).items()
            for measure, ms in facts.items()]


def probes(contender: Any, path: str, count: int) -> dict[str, dict[str, float]]:
    prober = probe.Prober(10.0)
    request = probe.FileProbe('/dev/shm', os.path.relpath(path, '/dev/shm'))

    def probe_once() -> None:
        answer = prober.probe(request)
        assert answer.facts is not None, answer

    def check() -> None:
        assert contender.connector.check_valid_device(path)

    return {FIRST: medians(probe_once, 1), PROBE: medians(probe_once, count),
            VALID: medians(check, count),
            STAT: medians(lambda: os.stat(path), count)}


def medians(call: Callable[[], Any], count: int) -> dict[str, float]:
    each = [timed(call) for _ in range(count)]
    return {name: median([facts[f'{name}_ms'] for facts in each]) for name in ('wall', 'cpu')}


def targets(rows: Sequence[Row]) -> list[Target]:
    return [Target(f'{name} of one probe of a healthy share, in ms', 3,
                   value(rows, 'ms', what=PROBE, measure=measure))
            for name, measure in (('Wall time', 'wall'), ('Processor time', 'cpu'))]
