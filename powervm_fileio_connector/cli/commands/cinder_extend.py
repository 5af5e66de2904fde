# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio cinder extend``: grow a volume of Cinder that an LPAR has."""

from __future__ import annotations

import argparse

from powervm_fileio_connector.cli import cinder_command
from powervm_fileio_connector.cli import output


class CinderExtend(cinder_command.CinderCommand):
    """Grow a volume of Cinder, and show its LPAR the new size.

    Where the volume's driver cannot grow it while attached, as far as that is known, Cinder is not
    asked. Safe to repeat.
    """

    example = 'powervm-fileio cinder extend database-disk --size 20'

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument('--size', type=_gib, metavar='GiB', required=True,
                            help='the new size in GiB, which Cinder calls GB')

    def take_action(self, parsed_args: argparse.Namespace) -> output.Output:
        with self.attachments(parsed_args) as attachments:
            volume_id, lpar_uuid, before, size = attachments.extend(
                parsed_args.volume, parsed_args.size)
            lpar = attachments.host.lpar_shown(lpar_uuid)
        self.is_one, self.was_done = True, 'the volume is extended'
        return ('volume', 'lpar', 'lpar_uuid', 'result', 'size_bytes'), (
            volume_id, lpar, lpar_uuid, output.growth_shown(before, size), output.Size(size))


def _gib(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 1 << 31):
        raise argparse.ArgumentTypeError(f'{text} is not a size in whole GiB')
    return int(text)
