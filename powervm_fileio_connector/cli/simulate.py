# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio simulate``: the simulated NovaLink in the foreground."""

from __future__ import annotations

import argparse

from cliff import command


class Simulate(command.Command):
    """Run a simulated NovaLink on loopback until Ctrl-C.

    Point anything that speaks to NovaLink at it: this command with --simulator URL, or any program
    that uses pypowervm, with host localhost, protocol http and the port shown.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('--port', type=int, default=0, metavar='N',
                            help='port on localhost (default: any free one)')
        parser.add_argument('--lpars', type=int, default=2, metavar='N',
                            help='client LPARs to start with (default: %(default)s)')
        parser.add_argument('--mappings', type=int, default=0, metavar='N',
                            help='mappings that are there from the start (default: %(default)s)')
        parser.add_argument('--recording', metavar='FILE',
                            help="start from one of pypowervm's recorded VIOS feeds")
        parser.add_argument('--latency-ms', type=float, default=0.0, metavar='MS',
                            help='time that every request takes (default: %(default)s)')
        parser.add_argument('--state', metavar='FILE',
                            help='keep the state in this file, so that it survives a restart')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        from powervm_fileio_connector.simulator import NovaLinkSimulator
        from powervm_fileio_connector.simulator import faults

        latency_s = parsed_args.latency_ms / 1000
        latency = faults.Latency(get_s=latency_s, post_s=latency_s) if latency_s else None
        with NovaLinkSimulator(port=parsed_args.port, lpars=parsed_args.lpars,
                               mappings=parsed_args.mappings, recording=parsed_args.recording,
                               state_file=parsed_args.state, latency=latency) as sim:
            self.app.stdout.write(f'NovaLink simulator at {sim.url}\n')
            for lpar in sim.lpars:
                self.app.stdout.write(f'  LPAR {lpar.id}  {lpar.name}  {lpar.uuid}\n')
            self.app.stdout.write('Ctrl-C ends it.\n')
            self.app.stdout.flush()
            try:
                sim.wait()
            except KeyboardInterrupt:
                self.app.stdout.write('\n')
        return 0
