# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio list``: the disks of all LPARs, with the state of their files."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from powervm_fileio_connector.cli import options
from powervm_fileio_connector.cli import output

if TYPE_CHECKING:
    from powervm_fileio_connector.cli import inventory
    from powervm_fileio_connector.cli.context import CommandContext
    from powervm_fileio_connector.mappings import MappingRecord

STATES = ('present', 'missing', 'unsafe', 'unknown', 'healthy', 'hung', 'stale', 'read-only',
          'absent', 'wrong', 'root', 'delayed')


class List(output.Table):
    """List the disks of LPARs, with the state of files and mounts.

    Shares that do not answer are shown as hung; all of them together cost one probe_timeout_s.
    """

    example = 'powervm-fileio list --lpar web01'
    nothing = 'No LPAR has a disk that is a file.'
    in_table: tuple[str, ...] = ('lpar', 'slot', 'lua', 'size_bytes', 'file_state', 'mount_state',
                                'path')

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        options.add_lpar(parser, 'only the disks of this LPAR')
        parser.add_argument('--path', metavar='TEXT', type=options.not_empty,
                            help='only files whose path contains TEXT')
        parser.add_argument('--tag', metavar='ID', type=options.not_empty,
                            help='only disks that are tagged with ID')
        parser.add_argument('--state', metavar='STATE', choices=STATES,
                            help='only disks whose file or mount is in this state: '
                            + ', '.join(STATES))
        parser.add_argument('--all-storage', action='store_true',
                            help='also disks that are no files: logical volumes, optical media...')
        parser.add_argument('--wide', action='store_true',
                            help='all keys as columns of the table, such as lpar_uuid and udid')

    def take_action(self, parsed_args: argparse.Namespace) -> output.Output:
        from powervm_fileio_connector.cli import inventory
        from powervm_fileio_connector.cli.context import CommandContext

        host = CommandContext(parsed_args)
        disks = [disk for disk in inventory.disks(host, self._records(host, parsed_args))
                 if parsed_args.state is None or _has_state(disk, parsed_args.state)]
        if parsed_args.all_storage:
            self.in_table = (*self.in_table[:1], 'kind', *self.in_table[1:])
        if any(disk.delayed_by for disk in disks):
            self.in_table = (*self.in_table, 'delayed_by')
        return inventory.KEYS, [inventory.row(disk) for disk in disks]

    def _records(self, host: CommandContext, args: argparse.Namespace) -> list[MappingRecord]:
        from powervm_fileio_connector.cli import volumes

        if args.lpar or args.path or args.tag or args.state:
            self.nothing = 'No disk fits.'
        elif args.all_storage:
            self.nothing = 'No LPAR has a disk.'
        wanted = None if args.lpar is None else host.lpar_uuid(args.lpar).upper()
        return [record for record in host.records()
                if (record.kind == 'file' or args.all_storage)
                and (wanted is None or host.lpar_of(record) == wanted)
                and (args.path is None or args.path in (record.path or ''))
                and (args.tag is None or volumes.same_id(record.tag or '', args.tag))]


def _has_state(disk: inventory.Disk, state: str) -> bool:
    health = disk.health
    return (state == 'delayed' and disk.delayed_by is not None) or (
        health is not None and state in (health.file, health.mount_state))
