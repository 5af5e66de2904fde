# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio simulate``: the simulated NovaLink in the foreground."""

from __future__ import annotations

import argparse
import errno
import os
import signal
from typing import TYPE_CHECKING

from powervm_fileio_connector.cli import parser as parser_module
from powervm_fileio_connector.cli.errors import UsageError

if TYPE_CHECKING:
    from powervm_fileio_connector.simulator import NovaLinkSimulator


class Simulate(parser_module.CommandBase):
    """Run a simulated NovaLink on loopback until Ctrl-C.

    Point anything that speaks to NovaLink at it: this command with --simulator URL, or any program
    that uses pypowervm, with host 127.0.0.1, protocol http and the port shown.
    """

    example = 'powervm-fileio simulate --port 12080'

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('--port', type=_port, default=0, metavar='N',
                            help='port on 127.0.0.1 (default: any free one)')
        parser.add_argument('--lpars', type=_count, metavar='N',
                            help='client LPARs to start with (default: 2)')
        parser.add_argument('--mappings', type=_count, metavar='N',
                            help='mappings that are there from the start (default: 0)')
        parser.add_argument('--recording', metavar='FILE',
                            help="start from one of pypowervm's recorded VIOS feeds instead")
        parser.add_argument('--latency-ms', type=_time, default=0.0, metavar='MS',
                            help='time that every request takes (default: %(default)s)')
        parser.add_argument('--state', metavar='FILE',
                            help='keep the state in this file, so that it survives a restart')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        # As Ctrl-C: what the simulator keeps in /tmp goes with it.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        self._say_what_is_ignored(parsed_args)
        sim = _started(parsed_args)
        try:
            self.app.stdout.write(f'NovaLink simulator at {sim.url}\n')
            for lpar in sim.lpars:
                self.app.stdout.write(f'  LPAR {lpar.id}  {lpar.name}  {lpar.uuid}\n')
            self.app.stdout.write('Ctrl-C ends it.\n')
            self.app.stdout.flush()
            sim.wait()
        except KeyboardInterrupt:
            self.app.stdout.write('\n')
        finally:
            try:
                sim.stop()
            except OSError as err:
                raise UsageError(f'The last state of the simulator is not saved: {err}.') from err
        return 0

    def _say_what_is_ignored(self, parsed_args: argparse.Namespace) -> None:
        given = [f'--{name}' for name in ('recording', 'lpars', 'mappings')
                 if getattr(parsed_args, name) is not None]
        start = '--recording'
        if parsed_args.state is not None and os.path.exists(parsed_args.state):
            start = f'--state {parsed_args.state}'
        elif parsed_args.recording is None:
            return
        ignored = [name for name in given if name != start]
        if ignored:
            self.app.stderr.write(f'{" and ".join(ignored)} ignored: the simulator starts from '
                                  f'{start}.\n')


def _started(parsed_args: argparse.Namespace) -> NovaLinkSimulator:
    """:raises UsageError: it cannot be started as the command line says"""
    from powervm_fileio_connector.simulator import NovaLinkSimulator

    lpars = 2 if parsed_args.lpars is None else parsed_args.lpars
    try:
        return NovaLinkSimulator(
            port=parsed_args.port, lpars=lpars, mappings=parsed_args.mappings or 0,
            recording=parsed_args.recording, state_file=parsed_args.state,
            latency=parsed_args.latency_ms / 1000 or None).start()
    except OSError as err:
        where = f'port {parsed_args.port}' if err.errno == errno.EADDRINUSE else err.filename
        raise UsageError('The simulator cannot start: '
                         + (f'{where}: {err.strerror}.' if where else f'{err}.')) from err
    except ValueError as err:
        raise UsageError(f'The simulator cannot start: {err}.') from err


def _port(text: str) -> int:
    number = _count(text)
    if number > 65535:
        raise argparse.ArgumentTypeError(f'{text} is no port')
    return number


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text} is not a number from 0 on')
    return int(text)


def _time(text: str) -> float:
    if not text.replace('.', '', 1).isdecimal():
        raise argparse.ArgumentTypeError(f'{text} is not a number from 0 on')
    return float(text)
