# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio show``: everything about one volume."""

from __future__ import annotations

import argparse

from powervm_fileio_connector.cli import options
from powervm_fileio_connector.cli import output


class Show(output.Table):
    """Show where a volume is attached, and the state of its file.

    One disk is shown as a record; if several LPARs have the volume, there is a line for each.
    """

    example = 'powervm-fileio show 7c1e0b1e-2a34-4a57-9d7c-51ce44f0f5a1'
    in_table = ('lpar', 'slot', 'lua', 'size_bytes', 'file_state', 'mount_state', 'path')

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        options.add_volume(parser)
        options.add_lpar(parser, 'only the disk of this LPAR')

    def take_action(self, parsed_args: argparse.Namespace) -> output.Output:
        from powervm_fileio_connector.cli import attachment_index
        from powervm_fileio_connector.cli import inventory
        from powervm_fileio_connector.cli import volume_arguments
        from powervm_fileio_connector.cli.context import CommandContext
        from powervm_fileio_connector.cli.errors import NotAttached

        host = CommandContext(parsed_args)
        volume = volume_arguments.one(parsed_args).resolved(host, parsed_args.lpar)
        wanted = volume.lpar_uuid
        index = attachment_index.AttachmentIndex(host)
        found = [record for record in index.find_without_probing(volume)
                 if wanted is None or host.lpar_of(record) == wanted]
        if not found:
            raise NotAttached(f'Volume {volume.label} is not attached to '
                              + (f'LPAR {host.lpar_shown(wanted)}.' if wanted else 'any LPAR.'))
        disks = inventory.disks(host, found)
        self.is_one = len(disks) == 1
        rows = [inventory.details(disk) for disk in disks]
        return inventory.DETAILS, rows[0] if self.is_one else rows
