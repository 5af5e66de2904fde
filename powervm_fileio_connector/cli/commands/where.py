# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio where``: where an export has to be mounted."""

from __future__ import annotations

import argparse

from powervm_fileio_connector.cli import options
from powervm_fileio_connector.cli import output
from powervm_fileio_connector.cli.errors import ExitCode
from powervm_fileio_connector.cli.errors import UsageError


class Where(output.Table):
    """Show where an export is mounted, or has to be.

    With its line for /etc/fstab. The directories are those in which attaching searches, in that
    order. Nothing is mounted, and neither NovaLink nor the share is asked. Ends with 4 if the
    export is mounted nowhere.
    """

    example = 'powervm-fileio where nas1:/vols'
    is_one = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument('export', metavar='EXPORT', help='such as nas1:/vols')
        parser.add_argument('--type', default='nfs', metavar='TYPE', type=_type,
                            help='file system type, for the line (default: %(default)s)')

    def take_action(self, parsed_args: argparse.Namespace) -> output.Output:
        from powervm_fileio_connector import conf
        from powervm_fileio_connector import export as export_module
        from powervm_fileio_connector.host import exports
        from powervm_fileio_connector.host import mount_table

        export, is_nfs = parsed_args.export, parsed_args.type in ('nfs', 'nfs4')
        shown = export_module.redact(export)
        if export_module.names_nothing(export) or any(letter.isspace() for letter in export):
            raise UsageError(f'{shown!r} is no export, such as nas1:/vols.')
        if is_nfs and (export.startswith('//')
                       or export_module.server_and_directory(export) is None):
            raise UsageError(f'{shown} is no export of NFS, such as nas1:/vols; for another file '
                             'system, give --type.')
        settings = conf.read(options.config(parsed_args))
        places = exports.conventional_places(export_module.md5(export), settings.mount_point_base)
        table = mount_table.table()
        mounted = sorted({mount.mount_point for mount in exports.of_export(table, export, places)})
        if not mounted:
            self.exit_code = ExitCode.MOUNT
        # A soft mount loses writes, and this host must boot without the server.
        options_shown = 'hard,_netdev,nofail' if is_nfs else '_netdev,nofail'
        fstab = f'{shown} {places[0]} {parsed_args.type} {options_shown} 0 0'
        return ('export', 'mounted_at', 'searched', 'fstab'), (
            shown, output.Lines(mounted), output.Lines(list(places)), fstab)


def _type(text: str) -> str:
    if len(text.split()) != 1:
        raise argparse.ArgumentTypeError(f'{text!r} is no file system type')
    return text.strip()
