# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio cinder attach``: give a volume of Cinder to an LPAR."""

from __future__ import annotations

import argparse

from powervm_fileio_connector.cli import cinder_command
from powervm_fileio_connector.cli import options
from powervm_fileio_connector.cli import output


class CinderAttach(cinder_command.CinderCommand):
    """Attach a volume of Cinder to an LPAR of this host.

    Cinder is told, as it is by Nova. Safe to repeat, also after a crash: one attachment and one
    disk are the result. Where it fails, both are taken back. The device_info is shown; keeping it
    is not necessary.
    """

    example = 'powervm-fileio cinder attach database-disk --lpar web01'

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        options.add_lpar(parser, 'LPAR to attach to', is_required=True)
        options.add_place(parser)

    def take_action(self, parsed_args: argparse.Namespace) -> output.Output:
        with self.attachments(parsed_args) as attachments:
            info = attachments.attach(parsed_args.volume, parsed_args.lpar,
                                      slot=parsed_args.slot, lua=parsed_args.lua)
            self.also = (('result', 'attached' if info.is_new else 'already attached'),
                         ('lpar', attachments.host.lpar_shown(info.lpar_uuid)))
        self.is_one, self.was_done = True, 'the volume is attached'
        shown = info.to_dict()
        return tuple(shown), tuple(shown.values())
