# SPDX-License-Identifier: Apache-2.0
"""The application: global options, what reaches the terminal, and the exit code."""

from __future__ import annotations

import importlib.metadata
import logging
import warnings

from cliff import app
from cliff import commandmanager

from powervm_fileio_connector.cli import errors

_DISTRIBUTION = 'powervm-fileio-connector'


class FileIOApp(app.App):
    """powervm-fileio: disks for PowerVM LPARs that are files, through NovaLink."""

    NAME = 'powervm-fileio'
    LOG = logging.getLogger('powervm_fileio_connector.cli')
    DEFAULT_VERBOSE_LEVEL = 0

    def __init__(self) -> None:
        super().__init__(
            description='Attach files to PowerVM LPARs as disks, through NovaLink.',
            version=importlib.metadata.version(_DISTRIBUTION),
            command_manager=commandmanager.CommandManager('powervm_fileio.cli'),
            # Else --help behind a command would show the list of commands.
            deferred_help=True)
        self._error: BaseException | None = None

    def configure_logging(self) -> None:
        """Show the command's own errors; libraries' log lines only from ``-v`` on.

        cliff would show warnings of every library. The log file, if any, gets everything.
        """
        try:
            super().configure_logging()
        except OSError as err:
            self.parser.error(f'--log-file {self.options.log_file} cannot be written: '
                              f'{err.strerror}.')
        console = logging.getLogger('').handlers[-1]
        level = {0: logging.CRITICAL, 1: logging.INFO}.get(
            logging.DEBUG if self.options.debug else self.options.verbose_level, logging.DEBUG)
        console.setLevel(logging.DEBUG)
        console.addFilter(lambda record: record.levelno >= level or (
            record.name == self.LOG.name and record.levelno >= logging.ERROR))
        warnings.simplefilter('default' if self.options.debug else 'ignore')

    def run_subcommand(self, argv: list[str]) -> int:
        """Run one command; Ctrl-C ends it, and those that change something say what was done."""
        try:
            return super().run_subcommand(argv)
        except KeyboardInterrupt:
            self.LOG.error('Interrupted.')
            return errors.ExitCode.INTERRUPTED

    def clean_up(self, cmd: object, result: int, err: BaseException | None) -> None:
        """Remember the error, for the exit code: cliff itself knows only 0 and 1."""
        self._error = err

    def run(self, argv: list[str]) -> int:
        """Run one command; without any, show the help instead of an interactive shell."""
        result = super().run(argv or ['--help'])
        if self._error is None or isinstance(self._error, BrokenPipeError):
            return result       # cliff ends as a shell tells of a process that SIGPIPE has ended
        return errors.exit_code(self._error)
