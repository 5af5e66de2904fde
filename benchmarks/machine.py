# SPDX-License-Identifier: Apache-2.0
"""Where and when something was measured."""

from __future__ import annotations

import datetime
import os
import platform
import re
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """The machine in short; it is not named."""
    cpu = re.search(r'model name\s*: (.*)', Path('/proc/cpuinfo').read_text())
    memory = re.search(r'MemTotal:\s*(\d+)', Path('/proc/meminfo').read_text())
    return {'cpu': cpu.group(1) if cpu else platform.machine(), 'cores': os.cpu_count(),
            'memory_gib': round(int(memory.group(1)) / 2**20, 1) if memory else None,
            'system': platform.system(), 'python': platform.python_version()}


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime('%Y-%m-%d %H:%M UTC')


def load() -> float:
    """The load average of the last minute."""
    return round(os.getloadavg()[0], 2)
