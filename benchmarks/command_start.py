# SPDX-License-Identifier: Apache-2.0
"""How long does the command take to start, beside one of the same framework that does nothing?"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from benchmarks import cli_start
from benchmarks.report import Row
from benchmarks.report import Table
from benchmarks.report import Target
from benchmarks.report import ratio
from benchmarks.report import value
from benchmarks.stage import Case
from benchmarks.stage import Size
from benchmarks.stage import median

TITLE = 'How long does the command take to start?'
TABLES = [Table('Wall time in ms', {'what': 'what'}, 'ms', '{:.0f}', across='measure')]
EMPTY, OURS = 'cliff without commands, --help', 'powervm-fileio --help'


def cases(size: Size, names: Sequence[str]) -> list[Case]:
    return [Case('in turns', lambda: measure(4 * size.rounds))]


def measure(rounds: int) -> list[dict[str, Any]]:
    if importlib.util.find_spec('cliff') is None:
        return [{'why_not': 'cliff is not installed'}]
    pairs = [(cli_start.took_s(cli_start.EMPTY), cli_start.took_s(cli_start.OURS))
             for _ in range(rounds)]
    return [{'what': what, 'measure': 'wall', 'ms': median([1000 * one for one in each]),
             'runs': rounds} for what, each in zip((EMPTY, OURS), zip(*pairs, strict=True),
                                                   strict=True)]


def targets(rows: Sequence[Row]) -> list[Target]:
    return [Target("Start of the command, of that of cliff without commands", cli_start.MOST,
                   ratio(value(rows, 'ms', what=OURS), value(rows, 'ms', what=EMPTY)))]
