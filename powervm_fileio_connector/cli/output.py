# SPDX-License-Identifier: Apache-2.0
"""Output of all commands: one thing as a record, several as a table, and the exit code beside."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from cliff import lister
from cliff.formatters import base

from powervm_fileio_connector.cli.errors import ExitCode
from powervm_fileio_connector.cli.errors import OutputLost
from powervm_fileio_connector.cli.errors import UsageError


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


class Table(lister.Lister):
    """A command that ends with what it shows, and with an exit code that goes with it.

    :ivar is_one: the data is the values of one thing, shown as ``ShowOne`` would
    :ivar was_done: what has been changed, in words, in case that the result cannot be written
    :ivar nothing: what an empty table stands for
    """

    exit_code = ExitCode.OK
    is_one = False
    was_done = ''
    nothing = ''

    def get_epilog(self) -> str:
        """Nothing: cliff would read the metadata of every installed distribution to find none."""
        return ''

    def _load_formatter_plugins(self) -> Any:
        return _Formatters(super()._load_formatter_plugins)

    def run(self, parsed_args: argparse.Namespace) -> int:
        super().run(parsed_args)
        return self.exit_code

    def say(self, text: str) -> None:
        """Tell the user something that is not part of the output."""
        self.app.stderr.write(text + '\n')
        self.app.stderr.flush()

    def produce_output(self, parsed_args: argparse.Namespace, column_names: Sequence[str],
                       data: Iterable[Any]) -> int:
        try:
            self._write(parsed_args, column_names, data)
            self.app.stdout.flush()
        except OSError as err:
            if isinstance(err, BrokenPipeError) and not self.was_done:
                raise       # the reader has read enough of it
            raise OutputLost(f'The result cannot be written: {err.strerror}.' + (
                f' But the command was carried out: {self.was_done}.' if self.was_done else ''),
            ) from err
        return 0

    def _write(self, parsed_args: argparse.Namespace, column_names: Sequence[str],
               data: Iterable[Any]) -> None:
        try:
            columns, selector = self._generate_columns_and_selector(parsed_args, column_names)
        except ValueError as err:
            raise UsageError(str(err)) from err
        blank = '-' if parsed_args.formatter == 'table' else None
        if not self.is_one:
            rows = [tuple(blank if value is None else value for value in row) for row in data]
            if self.nothing and not rows and parsed_args.formatter == 'table':
                self.say(self.nothing)
            else:
                super().produce_output(parsed_args, column_names, rows)
            return
        values = tuple(blank if value is None else value for value in data)
        if selector is not None:
            values = tuple(self._compress_iterable(values, selector))
        if isinstance(self.formatter, base.SingleFormatter):
            self.formatter.emit_one(columns, values, self.app.stdout, parsed_args)
        else:
            self.formatter.emit_list(columns, [values], self.app.stdout, parsed_args)
