# SPDX-License-Identifier: Apache-2.0
"""What was measured, as text: for the terminal, and for the documentation to include.

Both are made from the same JSON data, so that they cannot disagree.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from benchmarks import questions
from benchmarks.report import Target
from benchmarks.report import targets_text

PICTURED = ('cost', 'at_once', 'memory', 'mixed')


def targets(results: dict[str, Any]) -> list[Target]:
    """What was promised about the questions that were asked."""
    return [target for name, rows in results['questions'].items()
            for target in questions.ALL[name].targets(rows)]


def merged(results: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    """Return results with the answers of a later run, which asked only some of the questions."""
    answers = results['questions'] | run['questions']
    how = {name: value for name, value in run.items() if name != 'questions'}
    return {**results, 'apart': results.get('apart', {}) | dict.fromkeys(run['questions'], how),
            'questions': {name: answers[name] for name in questions.ALL if name in answers}}


def text(results: dict[str, Any], pictures: bool = False) -> str:
    """All of it, as reStructuredText that reads well as it is.

    :param pictures: show those that ``benchmarks.plots`` draws, as the documentation does
    """
    return '\n'.join(itertools.chain(
        _heading('Results', '='), _circumstances(results),
        _heading('Targets'), [targets_text(targets(results))],
        *(_answer(name, rows, pictures) for name, rows in results['questions'].items())))


def _circumstances(results: dict[str, Any]) -> Iterator[str]:
    yield f'Measured {_when_and_where(results)}.\n'
    for name, reason in results['missing'].items():
        yield f'{name} was not measured: {reason}.\n'
    for name, run in results.get('apart', {}).items():
        yield f'Apart from the others, *{questions.ALL[name].TITLE}*: {_when_and_where(run)}.\n'


def _when_and_where(run: dict[str, Any]) -> str:
    machine = run['machine']
    versions = ', '.join(f'{name} {version}' for name, version in run['versions'].items())
    return (f'from {run["begun"]} to {run["ended"]} ({run["size"]} size) on '
            f'{machine["cpu"]}, {machine["cores"]} cores, {machine["memory_gib"]} GiB, '
            f'{machine["system"]}, Python {machine["python"]}; load average '
            f'{run["load_before"]} before and {run["load_after"]} after it. '
            f'Versions: {versions}')


def _answer(name: str, rows: list[dict[str, Any]], pictures: bool) -> Iterator[str]:
    question = questions.ALL[name]
    yield from _heading(question.TITLE)
    if pictures and name in PICTURED:
        yield f'.. image:: performance/{name}.svg\n   :alt: {question.TITLE} See the table.\n'
    for row in rows:
        if 'why_not' in row:
            yield f'Not measured: {row["why_not"]}.\n'
    runs = sorted({row['runs'] for row in rows if 'runs' in row})
    if runs:
        yield f'Medians of {" or ".join(map(str, runs))} runs.\n'
    for table in question.TABLES:
        if any(row.get(table.value) is not None for row in rows):
            yield f'{table.title}:\n'
            yield table.text(rows)


def _heading(title: str, underline: str = '-') -> Iterator[str]:
    yield f'{title}\n{underline * len(title)}\n'
