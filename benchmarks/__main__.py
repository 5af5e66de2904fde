# SPDX-License-Identifier: Apache-2.0
"""The runner: ``python -m benchmarks [--quick] [--only NAME] [--out DIR]``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks import contenders
from benchmarks import machine
from benchmarks import questions
from benchmarks import results
from benchmarks.stage import FULL
from benchmarks.stage import QUICK
from benchmarks.stage import Size

DOC = Path(__file__).parents[1] / 'doc' / 'source' / 'performance'


def main(argv: Sequence[str] | None = None) -> int:
    """Ask the questions, print the answers; 1 if a target is not met."""
    options = _parser().parse_args(argv)
    if options.render:
        found = json.loads((options.out / 'results.json').read_text())
    else:
        names = options.only or list(questions.ALL)
        found = measured(names, QUICK if options.quick else FULL)
        if options.out is not None and options.only:
            found = results.merged(json.loads((options.out / 'results.json').read_text()), found)
    print(results.text(found))
    if options.out is not None:
        write(found, options.out)
    return int(any(target.verdict == 'not met' for target in results.targets(found)))


def measured(names: Sequence[str], size: Size) -> dict[str, Any]:
    """Measure what answers these questions."""
    missing = contenders.missing()
    taking_part = [name for name in contenders.KNOWN if name not in missing]
    found = {'begun': machine.now(), 'load_before': machine.load(),
             'size': 'quick' if size is QUICK else 'full', 'machine': machine.describe(),
             'versions': contenders.versions(), 'missing': missing}
    todo = [(name, case) for name in names for case in questions.ALL[name].cases(size, taking_part)]
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    # None: shown on a terminal only.
    with tqdm(todo, disable=None, unit='case', dynamic_ncols=True) as bar:
        for name, case in bar:
            bar.set_postfix_str(f'{name}: {case.label}')
            rows[name] += case.run()
    return {**found, 'load_after': machine.load(), 'ended': machine.now(), 'questions': rows}


def write(found: dict[str, Any], out: Path) -> None:
    """Leave data, text and pictures in a directory."""
    from benchmarks import plots  # slow to import, and not installed everywhere
    out.mkdir(parents=True, exist_ok=True)
    (out / 'results.json').write_text(json.dumps(found, indent=1) + '\n')
    (out / 'results.inc').write_text(results.text(found, pictures=True))
    for path in plots.draw(found['questions'], out):
        print(f'wrote {path}')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='python -m benchmarks', description=__doc__)
    parser.add_argument('--quick', action='store_true',
                        help='the smallest sizes, once: to see that it works, not for figures')
    parser.add_argument('--only', action='append', choices=list(questions.ALL), metavar='NAME',
                        help=f'ask only this; may be repeated: {", ".join(questions.ALL)}')
    parser.add_argument('--out', type=Path, metavar='DIR',
                        help='write data, text and plots there, as doc/source/performance has '
                        'them; with --only, lay them over those that are there')
    parser.add_argument('--render', action='store_true',
                        help='measure nothing: write text and plots of the JSON in DIR again')
    return parser


if __name__ == '__main__':
    sys.exit(main())
