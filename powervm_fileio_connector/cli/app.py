# SPDX-License-Identifier: Apache-2.0
"""The application: global options, what reaches the terminal, and the exit code."""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import logging
import sys
import warnings
from typing import Any
from typing import TextIO

import autopage.argparse
from cliff import app
from cliff import commandmanager
from cliff import help
from stevedore import named

from powervm_fileio_connector.cli import completion
from powervm_fileio_connector.cli import errors
from powervm_fileio_connector.cli import logs
from powervm_fileio_connector.cli import parser as parser_module

_DISTRIBUTION = 'powervm-fileio-connector'

_FIRST_STEPS = ('Begin with "powervm-fileio demo", which needs no NovaLink. "powervm-fileio help '
                'COMMAND" shows an example, all options and the exit codes.')


class Commands(commandmanager.CommandManager):
    """The commands, each imported when it is used: cliff would import all of them for one."""

    def load_commands(self, namespace: str) -> None:
        """Find the commands of an entry point's group."""
        self.group_list.append(namespace)
        for entry in named.NamedExtensionManager(namespace, names=[]).list_entry_points():
            self.commands[entry.name.replace('_', ' ')] = entry


class ShowVersion(argparse.Action):
    """Find the version only when it is asked for: that parses the metadata of a distribution."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        version = importlib.metadata.version(_DISTRIBUTION)
        sys.stdout.write(f'{parser.prog} {version}\n')
        parser.exit()


class Help(help.HelpCommand, parser_module.CommandBase):
    """Show the help of a command."""

    example = 'powervm-fileio help attach'

    def run(self, parsed_args: argparse.Namespace) -> int:
        with errors.writing():
            return super().run(parsed_args)


class FileIOApp(app.App):
    """powervm-fileio: disks for PowerVM LPARs that are files, through NovaLink."""

    NAME = 'powervm-fileio'
    LOG = errors.LOG

    def __init__(self) -> None:
        super().__init__(
            description='Attach files to PowerVM LPARs as disks, through NovaLink.',
            version=None,
            command_manager=Commands('powervm_fileio.cli'),
            # Else --help behind a command would show the list of commands.
            deferred_help=True)
        self.command_manager.add_command('complete', completion.Complete)
        self.command_manager.add_command('help', Help)
        self._error: BaseException | None = None

    def build_option_parser(
            self, description: str | None, version: str | None,
            argparse_kwargs: dict[str, Any] | None = None) -> argparse.ArgumentParser:
        """Return the parser of the global options, with errors of one line."""
        parser = super().build_option_parser(
            description, version, {**(argparse_kwargs or {}), 'conflict_handler': 'resolve'})
        parser.add_argument('--version', action=ShowVersion, nargs=0, default=argparse.SUPPRESS,
                            help="show program's version number and exit")
        parser.prog = self.NAME
        parser.usage = f'{self.NAME} [OPTION]... COMMAND [ARGUMENT]...'
        parser.epilog = _FIRST_STEPS
        parser.add_argument('--use-journal', action='store_true', help='log to journald, too')
        parser.add_argument('--use-syslog', action='store_true', help='log to syslog, too')
        for name, text in (('--verbose', 'show what is done; repeat it for all details'),
                           ('--quiet', 'show errors only, no warnings')):
            parser._option_string_actions[name].help = text
        parser.set_defaults(syslog_log_facility='LOG_USER')
        parser.error = functools.partial(parser_module.Parser.error, parser)
        return parser

    def configure_logging(self) -> None:
        """Show errors and warnings of this package; those of libraries only from ``-v`` on.

        cliff would show warnings of every library. The log file, if any, gets those, and all that
        this package logs; with ``--debug``, everything.
        """
        try:
            super().configure_logging()
        except OSError as err:
            self.parser.error(f'--log-file {self.options.log_file} cannot be written: '
                              f'{err.strerror}.')
        *_, console = logging.getLogger('').handlers
        for handler in logging.getLogger('').handlers:
            if isinstance(handler, logging.FileHandler):
                self._configure_log_file(handler)
        logs.Console(console, logging.DEBUG if self.options.debug else self.options.verbose_level)
        warnings.simplefilter('default' if self.options.debug else 'ignore')
        try:
            logs.add_handlers(self.options, self.options.debug)
        except errors.UsageError as err:
            self.parser.error(str(err))

    def _configure_log_file(self, handler: logging.FileHandler) -> None:
        if not self.options.debug:
            logs.leave_out_noise(handler)

        def handle_error(record: logging.LogRecord) -> None:
            # Once: what cannot be written now is left out, and so is all that follows.
            handler.addFilter(lambda record: False)
            errors.warn(f'--log-file {self.options.log_file} cannot be written: '
                        f'{sys.exc_info()[1]}. Nothing more is logged there.')

        handler.handleError = handle_error  # type: ignore[method-assign]

    def run_subcommand(self, argv: list[str]) -> int:
        """Run one command; Ctrl-C ends it, and those that change something say what was done."""
        try:
            if argv[0] == 'help' and self._show_group(argv[1:]):
                return errors.ExitCode.OK
            self._require_known(argv[1:] if argv[0] == 'help' else argv)
            return super().run_subcommand(argv)
        except KeyboardInterrupt:
            self.LOG.error('Interrupted.')
            return errors.ExitCode.INTERRUPTED

    def _show_group(self, argv: list[str]) -> bool:
        """Show the commands that begin with a word, if it is no command itself but there are some.
        """
        found = {name: entry for name, entry in self.command_manager
                 if argv == [name.partition(' ')[0]] != [name]}
        if found:
            self._write_commands(self.stdout, f'Commands of {self.NAME} {argv[0]}', found)
        return bool(found)

    def print_help_if_requested(self) -> None:
        """Show the global options and all commands, if that is asked for; a long text in a pager.

        cliff would read the metadata of every installed distribution, to name those of plug-ins.
        """
        if not self.options.deferred_help:
            return
        pager = autopage.argparse.help_pager(self.stdout)
        is_coloured = pager.to_terminal()
        autopage.argparse.use_color_for_parser(self.parser, is_coloured)
        with errors.writing(), pager as out:
            self.parser.print_help(out)
            out.write('\n')
            self._write_commands(out, 'Commands', dict(self.command_manager), is_coloured)
        raise help.HelpExit

    def _write_commands(self, out: TextIO, title: str, found: dict[str, Any],
                        is_coloured: bool = False) -> None:
        heading, key = ('\033[4m{}\033[0m', '\033[36m{}\033[39m') if is_coloured else ('{}', '{}')
        out.write(heading.format(title) + ':\n')
        width = max(map(len, found))
        for name in sorted(found):
            try:
                text = found[name].load()(self, None).get_description().split('\n')[0].rstrip('.')
            except ImportError as err:      # of a plug-in: the others can be used
                text = f'cannot be imported: {err}'
            out.write(f'  {key.format(name.ljust(width))}  {text}\n')

    def _require_known(self, argv: list[str]) -> None:
        """End with one line if there is no such command, or option before it."""
        if not argv:
            return
        if argv[0].startswith('-'):
            name = argv[0].partition('=')[0]
            self.parser.error(f'unknown option {name}' + parser_module.nearest(
                name, self.parser._option_string_actions))
        try:
            self.command_manager.find_command(argv)
        except ValueError:
            names = [name.replace('_', ' ') for name, _ in self.command_manager]
            group = [name for name in names if name.startswith(f'{argv[0]} ')]
            if group and len(argv) == 1:
                self.parser.error(f'{argv[0]} what? There are ' + ', '.join(sorted(group)))
            name = ' '.join(argv[:2]) if group else argv[0]
            self.parser.error(f'unknown command {name}' + parser_module.nearest(name, names))

    def clean_up(self, cmd: object, result: int, err: BaseException | None) -> None:
        """Remember the error, for the exit code: cliff itself knows only 0 and 1."""
        self._error = err

    def run(self, argv: list[str]) -> int:
        """Run one command; without any, show the help instead of an interactive shell."""
        result = super().run(argv or ['--help'])
        if self._error is None or isinstance(self._error, BrokenPipeError):
            return result       # cliff ends as a shell tells of a process that SIGPIPE has ended
        return errors.exit_code(self._error)
