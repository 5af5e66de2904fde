# SPDX-License-Identifier: Apache-2.0
"""What commands share on the command line: which volume, which LPAR, which NovaLink."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from powervm_fileio_connector.cli.errors import UsageError

if TYPE_CHECKING:
    from oslo_config import cfg

PROJECT = 'powervm-fileio'


def add_novalink(parser: argparse.ArgumentParser) -> None:
    """Let the user say which NovaLink is meant, and where the options are."""
    group = parser.add_argument_group('NovaLink')
    group.add_argument(
        '--config-file', action='append', dest='config_files', metavar='FILE', default=[],
        help=f'read [powervm_fileio] from FILE, such as nova.conf; may be repeated (default: '
             f'~/.{PROJECT}/{PROJECT}.conf and /etc/{PROJECT}/{PROJECT}.conf)')
    group.add_argument(
        '--simulator', metavar='URL',
        help='speak to the simulator at URL instead; see "powervm-fileio simulate"')


def add_lpar(parser: argparse.ArgumentParser, text: str) -> None:
    """Let the user name an LPAR."""
    parser.add_argument('--lpar', metavar='LPAR', help=f'{text}; by name, id or UUID')


def add_volume(parser: argparse.ArgumentParser, *, is_optional: bool = False,
               may_be_many: bool = False) -> None:
    """Let the user say which volume is meant, in any of the ways in which it may be known."""
    group = parser.add_argument_group('volume', 'given as VOLUME, or by --export and --name')
    group.add_argument(
        'volume', nargs='?', metavar='VOLUME',
        help="a .json file with the connection_info, or '-' to read it from stdin; or the "
             "absolute path of the volume's file; or the volume's id, if a disk is tagged with it"
             + ('; the JSON may be a list of volumes, each with "lpar", "slot" and "lua" of its own'
                if may_be_many else '')
             + ('; without it only NovaLink and the shares are checked' if is_optional else ''))
    group.add_argument('--export', metavar='E', help='the export that holds the file, nas1:/vols')
    group.add_argument('--name', metavar='N', help='the name of the file in that export')
    group.add_argument('--volume-format', choices=('raw', 'qcow2'),
                       help='format of the file, where the JSON does not say (default: raw)')
    group.add_argument('--volume-id', metavar='ID',
                       help='id of the volume, with which its disk is tagged')


def config(args: argparse.Namespace) -> cfg.ConfigOpts:
    """Return the options in force: those of the files, then what the command line says.

    :raises UsageError: a file cannot be read, or a value makes no sense
    """
    from oslo_config import cfg

    from powervm_fileio_connector import conf

    config = cfg.ConfigOpts()
    try:
        config([], project=PROJECT, prog=PROJECT, default_config_files=args.config_files or None)
        conf.read(config)
        if args.simulator is not None:
            for name, value in _simulator(args.simulator).items():
                config.set_override(name, value, group=conf.GROUP)
    except (cfg.Error, ValueError) as err:
        raise UsageError(f'The configuration cannot be used: {err}') from err
    return config


def _simulator(url: str) -> dict[str, object]:
    import urllib.parse

    parts = urllib.parse.urlsplit(url if '//' in url else f'//{url}')
    if parts.scheme not in ('', 'http') or not parts.hostname or not parts.port:
        raise UsageError(f'--simulator {url} is not an address like http://localhost:8080, which '
                         '"powervm-fileio simulate" prints when it starts.')
    return {'novalink_host': parts.hostname, 'novalink_port': parts.port,
            'novalink_protocol': 'http', 'novalink_username': None, 'novalink_password': None}
