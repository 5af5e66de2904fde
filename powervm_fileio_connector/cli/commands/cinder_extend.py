# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio cinder extend``: grow a volume of Cinder that an LPAR has."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from powervm_fileio_connector.cli import options
from powervm_fileio_connector.cli import output


class CinderExtend(output.Table):
    """Grow a volume of Cinder that an LPAR of this host has, and show the LPAR its new size.

    Where the volume's driver cannot grow it while attached, as far as that is known, Cinder is not
    asked. Safe to repeat.
    """

    example = 'powervm-fileio cinder extend database-disk --size 20'

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        options.add_cinder_volume(parser)
        parser.add_argument('--size', type=int, metavar='GB', required=True,
                            help='the size that it shall have, in GiB as Cinder counts')
        options.add_cinder(parser)
        options.add_novalink(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        options.require_cinder()
        from powervm_fileio_connector.cli import cinder_attachment

        with cinder_attachment.of(parsed_args, self.say) as attachments:
            volume_id, lpar, size = attachments.extend(parsed_args.volume, parsed_args.size)
            lpar = attachments.lpar_shown(lpar)
        self.is_one, self.was_done = True, 'the volume is extended'
        return ('volume', 'lpar', 'result', 'size_bytes'), (
            volume_id, lpar, 'extended', output.Size(size))
