# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio cinder detach``: take a volume of Cinder off an LPAR."""

from __future__ import annotations

import argparse

from powervm_fileio_connector.cli import cinder_command
from powervm_fileio_connector.cli import options
from powervm_fileio_connector.cli import output


class CinderDetach(cinder_command.CinderCommand):
    """Detach a volume of Cinder from an LPAR of this host.

    The disk is removed first, then Cinder's attachment is deleted. Safe to repeat, also after a
    crash: what is gone already is success. An attachment of Nova's is refused.
    """

    example = 'powervm-fileio cinder detach database-disk'

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        options.add_lpar(parser, 'the LPAR that loses it, if several have it')

    def take_action(self, parsed_args: argparse.Namespace) -> output.Output:
        with self.attachments(parsed_args) as attachments:
            volume_id, lpar_uuid, was_attached = attachments.detach(
                parsed_args.volume, parsed_args.lpar)
            lpar = attachments.host.lpar_shown(lpar_uuid)
        self.is_one, self.was_done = True, 'the volume is detached'
        return (('volume', 'lpar', 'lpar_uuid', 'result'),
                (volume_id, lpar, lpar_uuid, 'detached' if was_attached else 'was not attached'))
