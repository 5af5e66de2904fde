# SPDX-License-Identifier: Apache-2.0
"""In the machine: hold facts about LIO against the kernel; ``python -m tests.kernel.lio.run``."""

import pathlib
import sys
import time

from tests.kernel import cases
from tests.kernel.lio import facts
from tests.kernel.lio import target

RESULTS = pathlib.Path('/run/machine')


def main(*words):
    (RESULTS / 'kernel').write_text(pathlib.Path('/proc/version').read_text())
    selected = RESULTS / 'selected'
    names = selected.read_text().split() if selected.exists() else [
        fact.__name__ for fact in facts.FACTS if not words or any(
            word in fact.__name__ for word in words)]
    started = time.monotonic()
    target.start()
    facts.prepare()
    recorder = cases.Recorder(RESULTS / 'results-lio')
    for fact in facts.FACTS:
        if fact.__name__ in names:
            passed = recorder.record(fact.__name__, fact)
            print(f'{time.monotonic() - started:6.1f} {fact.__name__}: '
                  f'{"holds" if passed else "does not hold"}', flush=True)


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
