# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio cinder detach``: take a volume of Cinder off an LPAR."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from powervm_fileio_connector.cli import options
from powervm_fileio_connector.cli import output


class CinderDetach(output.Table):
    """Detach a volume of Cinder from an LPAR of this host.

    The disk is removed first, then Cinder's attachment is deleted. Safe to repeat, also after a
    crash: what is gone already is success. An attachment of Nova's is refused.
    """

    example = 'powervm-fileio cinder detach database-disk'

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        options.add_cinder_volume(parser)
        options.add_lpar(parser, 'the LPAR that loses it, if several have it')
        options.add_cinder(parser)
        options.add_novalink(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        options.require_cinder()
        from powervm_fileio_connector.cli import cinder_attachment

        with cinder_attachment.of(parsed_args, self.say) as attachments:
            volume_id, lpar = attachments.detach(parsed_args.volume, parsed_args.lpar)
            lpar = attachments.lpar_shown(lpar)
        self.is_one, self.was_done = True, 'the volume is detached'
        return (('volume', 'lpar', 'result'),
                (volume_id, lpar, 'detached' if lpar else 'was not attached'))
