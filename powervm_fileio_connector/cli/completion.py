# SPDX-License-Identifier: Apache-2.0
"""Completion in shells, by argcomplete: commands, options, their values, names of LPARs."""

from __future__ import annotations

import argparse
from typing import Any

from powervm_fileio_connector.cli import parser as parser_module

_LPARS_S = 2.0


class Complete(parser_module.CommandBase):
    """Print what a shell needs to complete this command.

    bash: eval "$(powervm-fileio complete bash)"; zsh likewise; fish: powervm-fileio complete fish |
    source. Names of LPARs are asked of NovaLink for at most 2 s.
    """

    example = 'powervm-fileio complete bash'

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('shell', choices=('bash', 'zsh', 'fish'), help='bash, zsh or fish')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        import argcomplete

        self.app.stdout.write(argcomplete.shellcode(['powervm-fileio'], shell=parsed_args.shell))
        return 0


def complete(app: Any) -> None:
    """Answer a shell that asks, by its environment, how a command line can go on; ends the process.
    """
    import argcomplete

    argcomplete.autocomplete(whole_parser(app))


def whole_parser(app: Any) -> argparse.ArgumentParser:
    """Return one parser for the command line, with one of its own for each command."""
    whole: argparse.ArgumentParser = app.parser
    groups: dict[str, Any] = {'': whole.add_subparsers()}
    for name, entry_point in sorted(app.command_manager):
        *above, last = name.replace('_', ' ').split()
        for number, part in enumerate(above):
            key, parent = ' '.join(above[:number + 1]), ' '.join(above[:number])
            if key not in groups:
                groups[key] = groups[parent].add_parser(part).add_subparsers()
        command = entry_point.load()(app, None, cmd_name=name)
        parser = command.get_parser(f'powervm-fileio {name}')
        for action in parser._actions:
            if action.dest == 'lpar':
                action.completer = _lpar_names
        groups[' '.join(above)]._name_parser_map[last] = parser
    return whole


def _lpar_names(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    from powervm_fileio_connector.cli.context import CommandContext

    parsed_args.timeout = _LPARS_S
    try:
        return [lpar.name for lpar in CommandContext(parsed_args).lpars]
    except Exception:  # noqa: BLE001  there is nothing to complete, and nowhere to say why
        return []
