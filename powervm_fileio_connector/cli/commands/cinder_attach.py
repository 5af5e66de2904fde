# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio cinder attach``: give a volume of Cinder to an LPAR."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from powervm_fileio_connector.cli import options
from powervm_fileio_connector.cli import output


class CinderAttach(output.Table):
    """Attach a volume of Cinder to an LPAR of this host.

    Cinder is told, as it is by Nova. Safe to repeat, also after a crash: one attachment and one
    disk are the result. Where it fails, both are taken back. The device_info is shown; keeping it
    is not necessary.
    """

    example = 'powervm-fileio cinder attach database-disk --lpar web01'

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        options.add_cinder_volume(parser)
        parser.add_argument('--lpar', metavar='LPAR', required=True,
                            help='LPAR to attach to; by name, id or UUID')
        options.add_place(parser)
        options.add_cinder(parser)
        options.add_novalink(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        options.require_cinder()
        from powervm_fileio_connector.cli import cinder_attachment

        with cinder_attachment.of(parsed_args, self.say) as attachments:
            info = attachments.attach(parsed_args.volume, parsed_args.lpar,
                                      slot=parsed_args.slot, lua=parsed_args.lua).to_dict()
        self.is_one, self.was_done = True, 'the volume is attached'
        return tuple(info), tuple(info.values())
