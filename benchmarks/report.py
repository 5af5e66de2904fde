# SPDX-License-Identifier: Apache-2.0
"""Tables and targets, as text that is reStructuredText as well."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """One value of many rows, side by side.

    :ivar by: what makes a line, with its heading
    :ivar across: what makes a column
    """

    title: str
    by: Mapping[str, str]
    value: str
    form: str = '{:.1f}'
    across: str = 'contender'

    def text(self, rows: Sequence[Row]) -> str:
        """The table; a dash is where there is nothing."""
        rows = [row for row in rows if row.get(self.value) is not None]
        columns = list(dict.fromkeys(row[self.across] for row in rows))
        lines: dict[tuple[Any, ...], dict[Any, str]] = {}
        for row in rows:
            key = tuple(str(row[name]) for name in self.by)
            lines.setdefault(key, {})[row[self.across]] = self._cell(row)
        return grid([*self.by.values(), *columns],
                    [[*key, *(cells.get(column, '-') for column in columns)]
                     for key, cells in lines.items()])

    def _cell(self, row: Row) -> str:
        text = self.form.format(row[self.value])
        return f'> {text}' if row.get('is_late') and self.value.startswith('wall') else text


@dataclass(frozen=True)
class Figures:
    """Several values of the one row that each contender has.

    :ivar figures: the heading and the form of each value
    """

    title: str
    figures: Mapping[str, tuple[str, str]]

    @property
    def value(self) -> str:
        """The value without which there is no table."""
        return next(iter(self.figures))

    def text(self, rows: Sequence[Row]) -> str:
        """The table: a line for each value, a column for each contender."""
        rows = [row for row in rows if row.get(self.value) is not None]
        return grid(['figure', *(row['contender'] for row in rows)],
                    [[heading, *(form.format(row[name]) for row in rows)]
                     for name, (heading, form) in self.figures.items()])


@dataclass(frozen=True)
class Target:
    """What was promised, and what was measured; None: it was not measured."""

    name: str
    limit: float
    measured: float | None

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return 'not measured'
        return 'met' if self.measured <= self.limit else 'not met'


def targets_text(targets: Iterable[Target]) -> str:
    return grid(['Target', 'at most', 'measured', 'verdict'], [
        [target.name, f'{target.limit:g}',
         '-' if target.measured is None else f'{target.measured:.3g}', target.verdict]
        for target in targets])


def grid(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A simple table of reStructuredText: text to the left, numbers to the right."""
    cells = [list(headings), *([*line] for line in lines)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(headings))]
    rule = '  '.join('=' * width for width in widths)

    def shown(line: Sequence[str]) -> str:
        return '  '.join(
            cell.rjust(width) if _is_number(cell) else cell.ljust(width)
            for cell, width in zip(line, widths, strict=True)).rstrip()

    return '\n'.join([rule, shown(cells[0]), rule, *map(shown, cells[1:]), rule, ''])


def value(rows: Iterable[Row], what: str, /, **where: Any) -> float | None:
    """One value of the row that fits; None: there is no such row."""
    for row in rows:
        if all(row.get(key) == wanted for key, wanted in where.items()):
            return row.get(what)
    return None


def ratio(one: float | None, other: float | None) -> float | None:
    """The one by the other, where both are known."""
    return one / other if one is not None and other else None


def _is_number(cell: str) -> bool:
    return cell.removeprefix('> ').replace('.', '', 1).replace('-', '0').isdigit()
