# SPDX-License-Identifier: Apache-2.0
"""Cases that run in the machine: known here by name, before and without running them.

A group sets something up once, and its checks, which are functions, run in it one after the other.
"""

import dataclasses
import json
import pathlib
import time
import traceback
from collections.abc import Callable

from os_brick import exception

RESULTS = pathlib.Path('/run/machine')
"""In the machine: a directory of the host's."""

AT_THE_END = 'no_process_outlives_the_connector'


@dataclasses.dataclass(frozen=True)
class Group:
    """Checks that share a set-up.

    :ivar setup: called with the site and the version; a context manager that yields what the
        checks are called with
    """

    version: str
    name: str
    setup: Callable
    checks: tuple[Callable, ...]

    def named_checks(self):
        return {f'{self.version}-{self.name}-{check.__name__}': check for check in self.checks}


class CaseFailed(Exception):
    """A check of a case failed, as opposed to something that the check needs."""


@dataclasses.dataclass(frozen=True)
class Result:
    """How a check ended.

    :ivar failure: a traceback; None: it passed
    :ivar is_verdict: whether the failure is what the check asserts, or an error of the connector
    """

    name: str
    failure: str | None = None
    is_verdict: bool = True
    seconds: float = 0.0

    def raise_failure(self):
        if self.failure is not None:
            raise (CaseFailed if self.is_verdict else RuntimeError)(self.failure)


class Recorder:
    """Runs checks, and writes one line of JSON for each result."""

    def __init__(self, path):
        self._file = open(path, 'a', buffering=1)  # noqa: SIM115  open as long as we are

    def run(self, group, site, selected):
        """Run the selected checks of a group; where it cannot be set up, each of them fails."""
        checks = {name: check for name, check in group.named_checks().items() if name in selected}
        left = list(checks)
        if not left:
            return
        try:
            with group.setup(site, group.version) as subject:
                for name, check in checks.items():
                    left.remove(name)
                    if not self.record(name, check, subject):
                        site.detach_all()
                site.record_table(f'{group.version}-{group.name}', subject)
        except Exception:  # noqa: BLE001  a failure is a result, whatever it is
            for name in left or [list(checks)[-1]]:
                self._write(Result(name, traceback.format_exc(), is_verdict=False))

    def record(self, name, check, *arguments):
        """Run one check, and tell whether it passed."""
        started = time.monotonic()
        failure, is_verdict = None, True
        try:
            check(*arguments)
        except Exception as err:  # noqa: BLE001  a failure is a result, whatever it is
            failure = traceback.format_exc()
            is_verdict = isinstance(err, (AssertionError, exception.BrickException))
        self._write(Result(name, failure, is_verdict, round(time.monotonic() - started, 2)))
        return failure is None

    def _write(self, result):
        self._file.write(json.dumps(dataclasses.asdict(result)) + '\n')


def selected(names, words):
    """Return the names that the host selected, or else those that contain a word, or all."""
    chosen = RESULTS / 'selected'
    return set(chosen.read_text().split()) if chosen.exists() else {
        name for name in names if not words or any(word in name for word in words)}


def run_facts(facts, words, run=lambda fact: fact()):
    """Run facts, which are functions: those that the host selected, or named by a word, or all.

    :param run: calls one
    """
    (RESULTS / 'kernel').write_text(pathlib.Path('/proc/version').read_text())
    names = selected((fact.__name__ for fact in facts), words)
    recorder = Recorder(RESULTS / 'results-facts')
    for fact in facts:
        if fact.__name__ in names:
            passed = recorder.record(fact.__name__, run, fact)
            print(f'{fact.__name__}: {"holds" if passed else "does not hold"}', flush=True)


def read(directories):
    """Return the results by name; of several of one name, a failure."""
    results = {}
    for path in (path for directory in directories for path in directory.glob('results-*')):
        for line in path.read_text().splitlines():
            result = Result(**json.loads(line))
            if result.name not in results or result.failure is not None:
                results[result.name] = result
    return results
