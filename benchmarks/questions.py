# SPDX-License-Identifier: Apache-2.0
"""The questions, by name, in the order in which they are asked.

Each is a module with ``TITLE``, ``TABLES``, ``cases(size, names)`` and ``targets(rows)``.
"""

from __future__ import annotations

from types import ModuleType

from benchmarks import at_once
from benchmarks import calls
from benchmarks import command_start
from benchmarks import cost
from benchmarks import hung_share
from benchmarks import memory
from benchmarks import mixed
from benchmarks import mounts
from benchmarks import probe
from benchmarks import round_trips

ALL: dict[str, ModuleType] = {module.__name__.rpartition('.')[2]: module for module in (
    round_trips, cost, calls, at_once, memory, mixed, hung_share, mounts, probe,
    command_start)}
