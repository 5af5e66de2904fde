# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio detach``: take volumes off LPARs."""

from __future__ import annotations

import argparse

from powervm_fileio_connector.cli import options
from powervm_fileio_connector.cli import output


class Detach(output.Table):
    """Detach a volume, or a list of volumes, from LPARs.

    Safe to repeat: what is gone already (disk, LPAR, file, mount) is success. The share is not
    needed. Without --lpar, the only LPAR that has the volume is meant.
    """

    example = 'powervm-fileio detach --device-info device_info.json'

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        options.add_volume(parser, may_be_many=True)
        options.add_lpar(parser, 'LPAR to detach from')
        parser.add_argument('--device-info', metavar='FILE',
                            help="what attach printed with -f json, or '-' for stdin; it is "
                                 'enough without VOLUME')
        parser.add_argument('--dry-run', action='store_true',
                            help='show the edit, but do not send it')

    def take_action(self, parsed_args: argparse.Namespace) -> output.Output:
        from powervm_fileio_connector.cli import existing_attachment

        return existing_attachment.Detaching(self, parsed_args).run()
