# SPDX-License-Identifier: Apache-2.0
"""What this process, with the helpers that it started, has used."""

from __future__ import annotations

import contextlib
import pathlib
import resource
import threading
import time
from collections.abc import Callable
from collections.abc import Iterable
from typing import Any


def cpu_s() -> float:
    """Processor time of this process and of its descendants, those that still run included.

    What is missing is the last of workers that were killed: their probes, not their start.
    """
    reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = 0.0
    for pid in descendants():
        # The clock that clock_getcpuclockid(3) names for another process.
        with contextlib.suppress(OSError):
            running += time.clock_gettime((~pid << 3) | 2)
    return time.process_time() + reaped.ru_utime + reaped.ru_stime + running


def descendants(pid: int | str = 'self') -> list[int]:
    """The processes below a process: children, and theirs."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError):            # it has just ended
        for task in pathlib.Path(f'/proc/{pid}/task').iterdir():
            with contextlib.suppress(FileNotFoundError):    # or only this thread of it
                for child in map(int, (task / 'children').read_text().split()):
                    found += [child, *descendants(child)]
    return found


def peak_mib(pid: int | str = 'self') -> float:
    """The most memory that a process had resident.

    Not ``ru_maxrss``: that survives ``exec``, so it can be that of the process that started it.
    """
    for line in pathlib.Path(f'/proc/{pid}/status').read_text().splitlines():
        if line.startswith('VmHWM:'):
            return int(line.split()[1]) / 1024
    raise ValueError(f'process {pid} has no memory')


def timed(call: Callable[..., Any], *args: Any) -> dict[str, float]:
    """Call something; return the wall and processor time that it took, in milliseconds."""
    cpu, wall = cpu_s(), time.perf_counter()
    call(*args)
    return {'wall_ms': (time.perf_counter() - wall) * 1000, 'cpu_ms': (cpu_s() - cpu) * 1000}


def at_once(calls: Iterable[Callable[[], Any]], limit_s: float) -> dict[str, Any]:
    """Make calls from a thread each, all at once; those that outlast the limit are left behind.

    :returns: ``wall_s`` till the last one ended, ``done`` in time, the ``failed`` by their error
    """
    calls = list(calls)
    start = threading.Barrier(len(calls) + 1)
    ended: list[float] = []
    failed: list[str] = []

    def run(call: Callable[[], Any]) -> None:
        start.wait()
        try:
            call()
            ended.append(time.perf_counter())
        except Exception as err:  # noqa: BLE001 - counted, whatever it is
            failed.append(type(err).__name__)

    threads = [threading.Thread(target=run, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    start.wait()
    began, cpu = time.perf_counter(), cpu_s()
    for thread in threads:
        thread.join(max(0.0, began + limit_s - time.perf_counter()))
    is_late = any(thread.is_alive() for thread in threads)
    return {'wall_s': limit_s if is_late else max([*ended, began]) - began,
            'cpu_s': cpu_s() - cpu, 'done': len(ended), 'failed': sorted(failed),
            'is_late': is_late}
