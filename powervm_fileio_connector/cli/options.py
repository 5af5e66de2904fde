# SPDX-License-Identifier: Apache-2.0
"""What commands share on the command line: which volume, which LPAR, which NovaLink."""

from __future__ import annotations

import argparse
import math
import socket
from typing import TYPE_CHECKING
from typing import Any

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


def add_cinder_volume(parser: argparse.ArgumentParser) -> None:
    """Let the user say which volume of Cinder is meant."""
    parser.add_argument('volume', metavar='VOLUME', help='id, or a name that one volume has')


def add_cinder(parser: argparse.ArgumentParser) -> None:
    """Let the user say which cloud is meant, and how this host is called there."""
    group = parser.add_argument_group(
        'Cinder', 'of a cloud of clouds.yaml, or as the variables OS_* say')
    group.add_argument('--os-cloud', metavar='NAME',
                       help='the cloud of clouds.yaml (default: OS_CLOUD)')
    group.add_argument('--host', metavar='NAME', default=socket.gethostname(),
                       help='the name by which Cinder knows this host (default: %(default)s)')
    group.add_argument('--timeout', type=seconds, metavar='SECONDS', default=300.0,
                       help='for all requests to the cloud together (default: %(default)g)')


def require_cinder() -> None:
    """:raises UsageError: what the commands of Cinder need is not installed"""
    import importlib.util

    for name in ('openstack', 'platformdirs'):
        if importlib.util.find_spec(name) is None:
            raise UsageError(f'The commands "cinder" need {name}, which is not installed here: '
                             "pip install 'powervm-fileio-connector[cli,cinder]'.")


def config(args: argparse.Namespace) -> cfg.ConfigOpts:
    """Return the options in force: those of the files, then what the command line says.

    :raises UsageError: a file cannot be read, or a value makes no sense
    """
    from oslo_config import cfg

    from powervm_fileio_connector import conf

    config = cfg.ConfigOpts()
    try:
        config([], project=PROJECT, prog=PROJECT, default_config_files=args.config_files or None)
        config.register_opts(conf.OPTS, group=conf.GROUP)
        for option in conf.OPTS:
            _check(config, option)
        if args.simulator is not None:
            for name, value in _simulator(args.simulator).items():
                config.set_override(name, value, group=conf.GROUP)
    except cfg.Error as err:
        raise UsageError(f'The configuration cannot be used: {err}') from err
    return config


def file_that_sets(config: cfg.ConfigOpts, name: str) -> str | None:
    """The file that sets an option: oslo.config names the last that it read, whichever it was."""
    from oslo_config import cfg

    from powervm_fileio_connector import conf

    for path in reversed(config.config_file or []):
        sections: dict[str, dict[str, Any]] = {}
        cfg.ConfigParser(path, sections).parse()
        if name in sections.get(conf.GROUP, {}):
            return path
    return None


def _check(config: cfg.ConfigOpts, option: Any) -> None:
    """:raises UsageError: an option has a value that makes no sense"""
    from powervm_fileio_connector import conf

    try:
        config[conf.GROUP][option.dest]
    except ValueError as err:
        # What oslo.config says shows Python; what it caught does not.
        where = file_that_sets(config, option.dest) or 'the environment'
        raise UsageError(f'The configuration cannot be used: option {option.dest} in {where}: '
                         f'{err.__context__ or err}.') from err


def seconds(text: str) -> float:
    seconds = float(text)
    if not math.isfinite(seconds) or seconds <= 0:
        raise ValueError(text)
    return seconds


def _simulator(url: str) -> dict[str, object]:
    import urllib.parse

    parts = urllib.parse.urlsplit(url if '//' in url else f'//{url}')
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme not in ('', 'http') or not parts.hostname or not port:
        raise UsageError(f'--simulator {url} is not an address like http://127.0.0.1:8080, which '
                         '"powervm-fileio simulate" prints when it starts.')
    return {'novalink_host': parts.hostname, 'novalink_port': port,
            'novalink_protocol': 'http', 'novalink_username': None, 'novalink_password': None}
