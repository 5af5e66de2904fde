# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio attach``: give volumes to LPARs."""

from __future__ import annotations

import argparse

from powervm_fileio_connector.cli import options
from powervm_fileio_connector.cli import output


class Attach(output.Table):
    """Attach a volume, or a list of volumes, to LPARs.

    Safe to repeat: what is attached already stays as it is. For one volume the device_info is
    shown; keep it (-f json), since "detach --device-info" needs nothing else. For a list there is a
    line for each volume, and one that fails does not affect the others.
    """

    example = 'powervm-fileio attach volume.json --lpar web01'

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        options.add_volume(parser, may_be_many=True)
        options.add_lpar(parser, 'LPAR to attach to; in a list, of entries without one')
        options.add_place(parser)
        parser.add_argument('--backstore', choices=('loop', 'fileio', 'user:qcow'),
                            help='how NovaLink serves the file (default: the option backstore)')
        parser.add_argument('--multiattach', action='store_true',
                            help='attach it even if another LPAR has it')
        parser.add_argument('--dry-run', action='store_true',
                            help='check everything and show the edit, but do not send it')

    def take_action(self, parsed_args: argparse.Namespace) -> output.Output:
        from powervm_fileio_connector.cli import operation

        return operation.Attaching(self, parsed_args).run()
