# SPDX-License-Identifier: Apache-2.0
"""Output of all commands: one thing as a record, several as a table, and the exit code beside."""

from __future__ import annotations

import argparse
import functools
import shutil
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from cliff import columns as cliff_columns
from cliff import lister
from cliff.formatters import base

from powervm_fileio_connector.cli import options
from powervm_fileio_connector.cli import parser as parser_module
from powervm_fileio_connector.cli import table
from powervm_fileio_connector.cli.errors import ExitCode
from powervm_fileio_connector.cli.errors import OutputLost
from powervm_fileio_connector.cli.errors import UsageError

Output = tuple[Sequence[str], Iterable[Any]]
"""Keys, and rows of their values."""


class Size(cliff_columns.FormattableColumn):
    """A number of bytes; the table shows it in the unit that suits it."""

    def human_readable(self) -> str:
        return size_shown(self._value)


class Seconds(cliff_columns.FormattableColumn):
    """A number of seconds; the table shows it in the unit that suits it."""

    def human_readable(self) -> str:
        return seconds_shown(self._value)


class Lines(cliff_columns.FormattableColumn):
    """Several texts; the table shows each in a line of its own."""

    def human_readable(self) -> str:
        return '\n'.join(self._value) or '-'


class Outcome(cliff_columns.FormattableColumn):
    """The result for a volume; the table shows the kind of an error beside it."""

    def __init__(self, value: str, error_type: str | None) -> None:
        super().__init__(value)
        self._error_type = error_type

    def human_readable(self) -> str:
        return f'{self._value}: {self._error_type}' if self._error_type else self._value


def require_keys(keys: Sequence[str], parsed_args: argparse.Namespace) -> None:
    """Check what the user wants to see before anything is done.

    :raises UsageError: a key is asked for that is none
    """
    _chosen(list(keys), [*parsed_args.columns, *parsed_args.sort_columns])


class Table(lister.Lister, parser_module.CommandBase):
    """A command that ends with what it shows, and with an exit code that goes with it.

    ``take_action`` returns keys and rows. The keys are the same in every command and every format;
    a table has headings made of them.

    :ivar is_one: the data is the values of one thing, shown as ``ShowOne`` would
    :ivar was_done: a sentence about what was changed, in case that the result cannot be written
    :ivar nothing: the meaning of an empty table
    :ivar in_table: the keys that a table shows; None: all. Other formats show all
    :ivar also: what a record's table shows before the rest
    """

    exit_code = ExitCode.OK
    is_one = False
    asks_novalink = True
    was_done = ''
    nothing = ''
    in_table: Sequence[str] | None = None
    also: tuple[tuple[str, Any], ...] = ()

    def _load_formatter_plugins(self) -> Any:
        return _Formatters(super()._load_formatter_plugins)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser_module.hide_formatting(parser)
        self.add_arguments(parser)
        if self.asks_novalink:
            options.add_novalink(parser)
        return parser

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments that this command alone has."""

    def run(self, parsed_args: argparse.Namespace) -> int:
        with self.naming_help():
            try:
                super().run(parsed_args)
            except UsageError as err:
                raise UsageError(f'{err}{self._done}') from err
        return self.exit_code

    def say(self, text: str) -> None:
        """Tell the user something that is not part of the output."""
        self.app.stderr.write(text + '\n')
        self.app.stderr.flush()

    def agrees(self, question: str) -> bool:
        """Ask the user a question; whatever is not "yes" is no."""
        self.app.stderr.write(f'{question} [y/N] ')
        self.app.stderr.flush()
        answer = self.app.stdin.readline()
        if not self.app.stdin.isatty():
            self.say('')
        return answer.strip().lower() in ('y', 'yes')

    def produce_output(self, parsed_args: argparse.Namespace, column_names: Sequence[str],
                       data: Iterable[Any]) -> int:
        try:
            self._write(parsed_args, list(column_names), [*data])
            self.app.stdout.flush()
        except OSError as err:
            if isinstance(err, BrokenPipeError) and not self.was_done:
                raise       # the reader has what it wants
            raise OutputLost(f'The result cannot be written: {err.strerror}.{self._done}') from err
        return 0

    @property
    def _done(self) -> str:
        return f' But the command was carried out: {self.was_done}.' if self.was_done else ''

    def _write(self, parsed_args: argparse.Namespace, keys: list[str], data: list[Any]) -> None:
        is_table = parsed_args.formatter == 'table'
        rows: list[list[Any]] = [data] if self.is_one else [list(row) for row in data]
        chosen = _chosen(keys, parsed_args.columns)
        if not parsed_args.columns and is_table and not self.is_one and not getattr(
                parsed_args, 'wide', False):
            chosen = [key for key in self.in_table or keys if key in keys]
        rows = _sorted(rows, keys, parsed_args)
        rows = [[row[keys.index(key)] for key in chosen] for row in rows]
        if not is_table:
            # As text, null is nothing.
            blank = '' if parsed_args.formatter in ('csv', 'value') else None
            plain = [[_plain(value, blank) for value in row] for row in rows]
            self._emit(parsed_args, chosen, plain)
        elif self.is_one:
            if not parsed_args.columns:
                chosen, rows = _without_errors(chosen, rows)
            also = [] if parsed_args.columns else self.also
            names = [*(key for key, _ in also), *chosen]
            values = [*(value for _, value in also), *map(table.shown, rows[0])]
            self._emit(parsed_args, names, [table.fit_record(
                names, values, _width(self.app.stdout, parsed_args))])
        elif self.nothing and not rows:
            self.say(self.nothing)
        else:
            shown = [[table.shown(value) for value in row] for row in rows]
            table.fit(chosen, shown, _width(self.app.stdout, parsed_args))
            if parser_module.uses_colour(self.app.stdout):
                table.colour(chosen, shown)
            self._emit(parsed_args, [table.heading(key) for key in chosen], shown)

    def _emit(self, parsed_args: argparse.Namespace, names: list[str],
              rows: list[list[Any]]) -> None:
        if self.is_one and isinstance(self.formatter, base.SingleFormatter):
            self.formatter.emit_one(names, rows[0], self.app.stdout, parsed_args)
        else:
            self.formatter.emit_list(names, rows, self.app.stdout, parsed_args)


class _Formatters:
    """The plug-ins that format output, found when they are needed: the list of commands, for which
    cliff makes every command, does without.
    """

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find

    @functools.cached_property
    def _found(self) -> Any:
        return self._find()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._found, name)

    def __getitem__(self, name: str) -> Any:
        return self._found[name]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._found)


def size_shown(size_bytes: int) -> str:
    """A number of bytes in the unit that shows it best."""
    gib = size_bytes / 2**30
    return f'{gib * 1024:.4g} MiB' if gib < 1 else f'{gib:.6g} GiB'


def growth_shown(before: int | None, after: int) -> str:
    """How the size of a disk has changed, in bytes; None: it was not known."""
    if before == after:
        return f'already {size_shown(after)}'
    return f'{"unknown" if before is None else size_shown(before)} -> {size_shown(after)}'


def seconds_shown(seconds: float) -> str:
    """A time in the unit that shows it best."""
    return f'{seconds * 1000:.3g} ms' if seconds < 1 else f'{seconds:.1f} s'


def _plain(value: Any, blank: str | None) -> Any:
    if isinstance(value, cliff_columns.FormattableColumn):
        value = value.machine_readable()
    if isinstance(value, list) and blank is not None:
        return ' '.join(value)
    return blank if value is None else value


def _chosen(keys: list[str], wanted: list[str]) -> list[str]:
    """Return the keys that are asked for, by themselves or by the headings made of them.

    :raises UsageError: one is none
    """
    headings = {table.heading(key).lower(): key for key in keys}
    chosen = []
    for name in wanted:
        text = name.strip().lower()
        key = headings.get(text, text.replace(' ', '_'))
        if key not in keys:
            raise UsageError(parser_module.sentence(
                f'There is no key {name}{parser_module.nearest(key, keys)}')
                + f' There are {", ".join(keys)}.')
        if key not in chosen:
            chosen.append(key)
    return chosen or keys


def _without_errors(keys: list[str],
                    rows: list[list[Any]]) -> tuple[list[str], list[list[Any]]]:
    """Leave out of a record's table what only an error would fill."""
    places = [place for place, key in enumerate(keys)
              if rows[0][place] is not None or key not in ('error', 'error_type', 'delayed_by')]
    return [keys[place] for place in places], [[row[place] for place in places] for row in rows]


def _sorted(rows: list[list[Any]], keys: list[str],
            parsed_args: argparse.Namespace) -> list[list[Any]]:
    if not parsed_args.sort_columns:
        return rows
    places = [keys.index(key) for key in _chosen(keys, parsed_args.sort_columns)]

    return sorted(rows, key=lambda row: [_order(row[place]) for place in places],
                  reverse=parsed_args.sort_direction == 'desc')


def _order(value: Any) -> tuple[bool, bool, Any]:
    """What a value is sorted by: numbers before texts, unknown ones last."""
    plain = _plain(value, None)
    return plain is None, isinstance(plain, str), 0 if plain is None else plain


def _width(stdout: Any, parsed_args: argparse.Namespace) -> int | None:
    if parsed_args.max_width > 0:
        return int(parsed_args.max_width)
    return shutil.get_terminal_size().columns if stdout.isatty() else None
