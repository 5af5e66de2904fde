# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio extend``: show LPARs the new size of volumes."""

from __future__ import annotations

import argparse

from powervm_fileio_connector.cli import options
from powervm_fileio_connector.cli import output


class Extend(output.Table):
    """Show LPARs the new size of a volume, or of a list of volumes.

    The file itself is grown by Cinder, or by its owner, and never by this command. Safe to repeat.
    Without --lpar, the only LPAR that has the volume is meant.
    """

    example = 'powervm-fileio extend 7c1e0b1e-2a34-4a57-9d7c-51ce44f0f5a1'

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        options.add_volume(parser, may_be_many=True)
        options.add_lpar(parser, 'LPAR that has the volume')
        parser.add_argument('--dry-run', action='store_true',
                            help='show the sizes before and after, but do not rescan')

    def take_action(self, parsed_args: argparse.Namespace) -> output.Output:
        from powervm_fileio_connector.cli import existing_attachment

        return existing_attachment.Extending(self, parsed_args).run()
