# SPDX-License-Identifier: Apache-2.0
"""How long ``powervm-fileio --help`` takes, beside a cliff application that has no commands.

    python benchmarks/cli_start.py [ROUNDS]

The two are started in turn, so that whatever else the machine does hits both; the medians are
compared. Ends with 1 if ours takes more than 1.5 times as long.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

MOST = 1.5

EMPTY = """
import sys
from cliff import app, commandmanager
sys.exit(app.App('an application', '1.0', commandmanager.CommandManager('no.such.namespace'))
         .run(['--help']))
"""
OURS = 'import sys; from powervm_fileio_connector.cli.main import main; sys.exit(main(["--help"]))'


def took_s(code: str) -> float:
    """Run it in a new Python; return the seconds."""
    start = time.perf_counter()
    subprocess.run([sys.executable, '-c', code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> int:
    """Measure and compare."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    pairs = [(took_s(EMPTY), took_s(OURS)) for _ in range(rounds)]
    empty, ours = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(f'cliff without commands  {empty * 1000:6.0f} ms\n'
          f'powervm-fileio --help   {ours * 1000:6.0f} ms   {ours / empty:.2f} times '
          f'(at most {MOST})')
    return ours > MOST * empty


if __name__ == '__main__':
    sys.exit(main())
