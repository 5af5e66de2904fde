# SPDX-License-Identifier: Apache-2.0
"""The parser of each command: help that begins with an example, errors of one line."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any
from typing import NoReturn

from cliff import command

from powervm_fileio_connector.cli import errors

MOST_COLUMNS = 80
"""The width that help never exceeds."""

_SYNONYMS = {
    '-o': '--format', '--output': '--format', 'get': 'list', 'ls': 'list', 'describe': 'show',
    'create': 'attach', 'add': 'attach', 'delete': 'detach', 'remove': 'detach', 'rm': 'detach',
    'resize': 'extend', 'grow': 'extend', 'verify': 'check', 'completion': 'complete'}
"""What other commands call what this one has, such as openstack, kubectl and systemctl."""

_FORMATTING = ('output formatters', 'json formatter', 'table formatter', 'CSV Formatter',
               'shell formatter')


class Parser(argparse.ArgumentParser):
    """An argument parser whose help begins with an example and whose errors are one line."""

    def __init__(self, example: str = '', **kwargs: Any) -> None:
        super().__init__(**{'formatter_class': _HelpFormatter, **kwargs})
        self._example = example

    def format_help(self) -> str:
        """Return the help, with an example first."""
        names = [(str(action.metavar or action.dest).upper(), action.nargs not in ('?', '*'))
                 for action in self._get_positional_actions()]
        required = [f'{action.option_strings[-1]} {action.metavar}' for action in self._actions
                    if action.required and action.option_strings]
        self.usage = ' '.join([self.prog, *required, '[OPTION]...', *(
            name if is_needed else f'[{name}]' for name, is_needed in names)])
        text = super().format_help()
        return f'example: {self._example}\n\n{text}' if self._example else text

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse all arguments; an unknown option is an error that names the nearest one."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(f'unknown argument {unknown[0]}'
                       + nearest(unknown[0].partition('=')[0], self._option_string_actions))
        return parsed

    def error(self, message: str) -> NoReturn:
        """End with one line, which says where the help is."""
        sys.stderr.write(f'{self.prog}: {sentence(message)} See "{self.prog} --help".\n')
        raise SystemExit(errors.ExitCode.USAGE)


class CommandBase(command.Command):
    """What all commands have in common.

    :cvar example: a command line that does what the command is for
    """

    example = ''

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = Parser(prog=prog_name, example=self.example, description=self.get_description(),
                        epilog=errors.exit_codes_text())
        parser.set_defaults(is_debug=getattr(self.app_args, 'debug', False))
        return parser

    def get_epilog(self) -> str:
        """Nothing: cliff would read the metadata of every installed distribution to find none."""
        return ''

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run the command; a usage error says where the help is."""
        with self.naming_help():
            return super().run(parsed_args)

    @contextlib.contextmanager
    def naming_help(self) -> Iterator[None]:
        """Have usage errors say where the help is."""
        try:
            yield
        except errors.UsageError as err:
            raise errors.UsageError(f'{sentence(str(err))} See "powervm-fileio {self.cmd_name} '
                                    '--help".') from err


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a question after the most similar of some names, or nothing."""
    known = list(names)
    synonyms = [_SYNONYMS[name]] if _SYNONYMS.get(name) in known else []
    found = synonyms or difflib.get_close_matches(name, known, 1)
    return f': did you mean {found[0]}?' if found else ''


def sentence(text: str) -> str:
    """Return a text in one line, with a full stop unless it ends with a question."""
    line = ' '.join(text.split())
    return line if line.endswith(('.', '?')) else f'{line}.'


def hide_formatting(parser: argparse.ArgumentParser) -> None:
    """Say in few lines of help what cliff's formatters say in 40."""
    shown = {'formatter': 'table (default), json, yaml, csv or value',
             'columns': 'only this key; may be repeated'}
    output = parser.add_argument_group('output')
    for group in parser._action_groups:
        if group.title in _FORMATTING:
            group.title = group.description = None
            for action in group._group_actions:
                action.help = shown.get(action.dest, argparse.SUPPRESS)
                action.metavar = {'formatter': 'FORMAT', 'columns': 'KEY'}.get(action.dest)
            output._group_actions += [
                action for action in group._group_actions if action.dest in shown]
            group._group_actions = []


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        width = min(MOST_COLUMNS, shutil.get_terminal_size().columns) - 2
        super().__init__(prog, width=max(40, width), max_help_position=24)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """Show an option's value once, as Python 3.13 does."""
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, action.dest.upper())
        return f'{", ".join(action.option_strings)} {value}'

    def _split_lines(self, text: str, width: int) -> list[str]:
        return _wrapped(text, width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return '\n\n'.join('\n'.join(f'{indent}{line}' for line in _wrapped(one, width))
                           for one in '\n'.join(text.splitlines()).split('\n\n'))


def _wrapped(text: str, width: int) -> list[str]:
    """The lines of a paragraph; commands and paths can be copied whole, and codes keep their names.
    """
    joined = re.sub(r'\b(\d+) (?=[a-z])', '\\1\xa0', ' '.join(text.split()))
    lines = textwrap.wrap(joined, width, break_on_hyphens=False, break_long_words=False)
    return [line.replace('\xa0', ' ') for line in lines]


def uses_colour(stream: Any) -> bool:
    """Whether what is written to a stream may be coloured."""
    return (stream.isatty() and not os.environ.get('NO_COLOR')
            and os.environ.get('TERM') != 'dumb')
