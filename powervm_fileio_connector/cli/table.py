# SPDX-License-Identifier: Apache-2.0
"""How a table shows keys and values: headings, widths, colours."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from cliff import columns

_HEADINGS = {
    'lpar': 'LPAR', 'lpar_uuid': 'LPAR UUID', 'lpar_id': 'LPAR id', 'lua': 'LUA', 'udid': 'UDID',
    'size_bytes': 'Size', 'file_bytes': 'File has', 'file_state': 'File', 'mount_state': 'Mount',
    'seconds': 'Time', 'get': 'GET', 'post': 'POST'}

# Long values that may be shortened, in this order, and to how much at least.
_SHORTENED = {'tag': 12, 'udid': 12, 'lpar_uuid': 12, 'path': 24, 'volume': 12}
_LEAST = 12

_RED, _GREEN, _YELLOW, _PLAIN = '\033[31m', '\033[32m', '\033[33m', '\033[0m'
_COLOURS = {
    'ok': _GREEN, 'healthy': _GREEN, 'present': _GREEN, 'FAILED': _RED, 'failed': _RED,
    'missing': _RED, 'unsafe': _RED, 'hung': _RED, 'stale': _RED, 'absent': _RED,
    'read-only': _RED, 'not checked': _YELLOW, 'unknown': _YELLOW, 'root': _YELLOW,
    'delayed': _YELLOW, 'not tried': _YELLOW}


def heading(key: str) -> str:
    """Return the heading of a key."""
    return _HEADINGS.get(key, key[:1].upper() + key[1:].replace('_', ' '))


def shown(value: Any) -> Any:
    """Return a value as the table shows it."""
    if isinstance(value, columns.FormattableColumn):
        value = value.human_readable()
    return '-' if value is None else value


def fit(keys: Sequence[str], rows: list[list[Any]], width: int | None) -> None:
    """Shorten long values, and wrap what is still too wide, in place, to the terminal's width.

    :param width: None: the table is as wide as it is
    """
    if width is None:
        return
    widths = [max(len(line) for text in (heading(key), *(row[place] for row in rows))
                  for line in str(text).split('\n')) for place, key in enumerate(keys)]
    excess = sum(widths) + 3 * len(keys) + 1 - width
    for key, least in _SHORTENED.items():
        if key in keys and excess > 0:
            place = keys.index(key)
            most = min(widths[place], max(least, widths[place] - excess))
            excess -= widths[place] - most
            widths[place] = most
            for row in rows:
                row[place] = _shortened(row[place], most)
    for place in _narrowed(keys, widths, excess):
        fitted: Callable[[Any, int], Any] = _shortened if keys[place] in _SHORTENED else _wrapped
        for row in rows:
            row[place] = fitted(row[place], widths[place])


def fit_record(keys: Sequence[str], values: list[Any], width: int | None) -> list[Any]:
    """Return the values of a record, wrapped to the terminal's width."""
    if width is None:
        return values
    most = max(_LEAST, width - max(map(len, (*keys, 'Field'))) - 7)
    return [_wrapped(value, most) for value in values]


def _narrowed(keys: Sequence[str], widths: list[int], excess: int) -> set[int]:
    """Make the widest columns narrower, in place, and return which they are."""
    least = [len(heading(key)) for key in keys]
    narrowed = set()
    while excess > 0:
        places = [place for place in range(len(keys)) if widths[place] > least[place]]
        if not places:
            break
        widest = max(places, key=lambda place: widths[place])
        widths[widest] -= 1
        excess -= 1
        narrowed.add(widest)
    return narrowed


def _wrapped(value: Any, most: int) -> Any:
    lines = str(value).split('\n')
    if max(map(len, lines)) <= most:
        return value
    return '\n'.join(part for line in lines for part in textwrap.wrap(
        line, most, break_on_hyphens=False))


def colour(keys: Sequence[str], rows: list[list[Any]]) -> None:
    """Colour verdicts and states, in place."""
    for row in rows:
        for place, value in enumerate(row):
            ansi = _COLOURS.get(str(value).partition(':')[0])
            if ansi and keys[place] in ('verdict', 'result', 'file_state', 'mount_state'):
                row[place] = f'{ansi}{value}{_PLAIN}'


def _shortened(value: Any, most: int) -> str:
    """Leave out the beginning of a path, and the end of anything else."""
    text = str(value)
    if len(text) <= most:
        return text
    is_path = text.startswith(('/', '…'))
    return '…' + text[len(text) - most + 1:] if is_path else text[:most - 1] + '…'
