# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio list``: which LPAR has which file, and how files and shares are."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from powervm_fileio_connector.cli import options
from powervm_fileio_connector.cli import output


class List(output.Table):
    """List the disks that LPARs have from this NovaLink, with the state of files and mounts.

    Shares that do not answer are shown as hung; all of them together cost one probe_timeout_s.
    """

    nothing = 'No LPAR has a disk that is a file.'

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        options.add_lpar(parser, 'only the disks of this one')
        parser.add_argument('--all-storage', action='store_true',
                            help='also disks that are no files: logical volumes, optical media...')
        options.add_novalink(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        from powervm_fileio_connector.cli import inventory
        from powervm_fileio_connector.cli.context import CommandContext

        host = CommandContext(parsed_args)
        if parsed_args.all_storage:
            self.nothing = 'No LPAR has a disk.'
        wanted = None if parsed_args.lpar is None else host.lpar_uuid(parsed_args.lpar).upper()
        records = [record for record in host.records()
                   if (record.kind == 'file' or parsed_args.all_storage)
                   and (wanted is None or host.lpar_of(record) == wanted)]
        disks = inventory.disks(host, records)
        columns: tuple[str, ...] = inventory.COLUMNS
        rows = [inventory.row(disk) for disk in disks]
        if parsed_args.all_storage:
            columns = (*columns[:1], 'Kind', *columns[1:])
            rows = [(*row[:1], disk.record.kind, *row[1:])
                    for row, disk in zip(rows, disks, strict=True)]
        return columns, rows
