# SPDX-License-Identifier: Apache-2.0
"""What commands share on the command line: which volume, which LPAR, which NovaLink."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import socket
from typing import TYPE_CHECKING
from typing import Any

from powervm_fileio_connector.cli import errors
from powervm_fileio_connector.cli.errors import UsageError
from powervm_fileio_connector.cli.parser import nearest
from powervm_fileio_connector.cli.parser import sentence
from powervm_fileio_connector.volume import SLOTS

if TYPE_CHECKING:
    from oslo_config import cfg

PROJECT = 'powervm-fileio'

_LOOPBACK = re.compile(r'localhost|127(\.\d{1,3}){3}|::1')

_LUA = re.compile('lun[0-9]+|0x[0-9A-Fa-f]+')     # NovaLink's, and a traditional VIOS's

_SIMULATOR_S = 10.0


def add_novalink(parser: argparse.ArgumentParser) -> None:
    """Let the user say which NovaLink is meant, and where the options are."""
    group = parser.add_argument_group('NovaLink')
    group.add_argument(
        '--config-file', action='append', dest='config_files', metavar='FILE', default=[],
        help=f'read [powervm_fileio] from FILE, such as nova.conf; may be repeated (default: '
             f'~/.{PROJECT}/{PROJECT}.conf and /etc/{PROJECT}/{PROJECT}.conf)')
    group.add_argument(
        '--simulator', metavar='URL',
        help='use the simulator at URL on this host instead; see "powervm-fileio simulate"')
    if '--timeout' in parser._option_string_actions:
        parser.set_defaults(timeout=None)       # it is for the cloud
    else:
        group.add_argument(
            '--timeout', type=seconds, metavar='S',
            help='seconds to wait for NovaLink (default: the option rest_timeout_s)')


def add_lpar(parser: argparse.ArgumentParser, text: str, *, is_required: bool = False) -> None:
    """Let the user name an LPAR."""
    parser.add_argument('--lpar', type=not_empty, metavar='LPAR', required=is_required,
                        help=f'{text}; by name, id or UUID')


def add_place(parser: argparse.ArgumentParser) -> None:
    """Let the user choose slot and LUA."""
    parser.add_argument('--slot', type=_slot, metavar='N',
                        help=f'client slot, {SLOTS.start} to {SLOTS.stop - 1}; fails if not '
                        'available')
    parser.add_argument('--lua', type=_lua, metavar='LUA',
                        help='logical unit address, such as lun1; fails if not available')


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
    group.add_argument('--volume-id', metavar='ID', type=not_empty,
                       help='id of the volume, with which its disk is tagged')


def add_cinder(parser: argparse.ArgumentParser) -> None:
    """Let the user say which cloud is meant, and how this host is called there."""
    group = parser.add_argument_group(
        'Cinder', 'of a cloud of clouds.yaml, or as the variables OS_* say')
    group.add_argument('--os-cloud', metavar='NAME',
                       help='the cloud of clouds.yaml (default: OS_CLOUD)')
    group.add_argument('--host', metavar='NAME', default=socket.gethostname(),
                       help='the name by which Cinder knows this host (default: %(default)s)')
    group.add_argument('--timeout', type=seconds, metavar='S', dest='cloud_timeout', default=300.0,
                       help='seconds for all requests to the cloud together (default: %(default)g)')


def require_cinder() -> None:
    """:raises UsageError: what the commands of Cinder need is not installed"""
    import importlib.util

    for name in ('openstack', 'platformdirs'):
        if importlib.util.find_spec(name) is None:
            raise UsageError(f'The commands "cinder" need {name}, which is not installed here. '
                             'Install this package with its extra "cinder".')


def config(args: argparse.Namespace) -> cfg.ConfigOpts:
    """Return the options in force: those of the files, then what the command line says.

    :raises UsageError: a file cannot be read, or a value makes no sense
    """
    from oslo_config import cfg

    from powervm_fileio_connector import conf
    from powervm_fileio_connector.cli import logs

    config = cfg.ConfigOpts()
    try:
        config([], project=PROJECT, prog=PROJECT, default_config_files=args.config_files or None)
        for group, known in ((conf.GROUP, conf.OPTS), ('DEFAULT', logs.options())):
            config.register_opts(known, group=group)
            for option in known:
                try:
                    config[group][option.dest]
                except ValueError as err:
                    # What oslo.config says shows Python; what it caught does not.
                    where = file_that_sets(config, option.dest, group) or 'the environment'
                    raise UsageError(f'The configuration cannot be used: option {option.dest} in '
                                     f'{where}: {err.__context__ or err}.') from err
        if args.simulator is not None:
            for name, value in _simulator(args.simulator).items():
                config.set_override(name, value, group=conf.GROUP)
        if args.timeout is not None:
            config.set_override('rest_timeout_s', args.timeout, group=conf.GROUP)
        logs.add_handlers(config['DEFAULT'], args.is_debug)
    except UnicodeDecodeError as err:
        where = next(filter(_is_no_text, config.default_config_files), 'a file')
        raise UsageError(f'The configuration cannot be used: {where} is not text in UTF-8.'
                         ) from err
    except (cfg.Error, OSError) as err:
        raise UsageError(f'The configuration cannot be used: {err}') from err
    for path in config.config_file or []:
        _warn_of_file(path)
    return config


def require_simulator(url: str) -> None:
    """Ask the server at an address, before anything else is sent there, whether it is a simulator.

    :raises UsageError: it is none
    :raises NovaLinkUnavailable: it does not answer
    """
    import http.client

    from powervm_fileio_connector import exceptions

    host, port = (_simulator(url)[name] for name in ('novalink_host', 'novalink_port'))
    connection = http.client.HTTPConnection(str(host), int(str(port)), timeout=_SIMULATOR_S)
    try:
        connection.request('GET', '/simulator')
        said = json.loads(connection.getresponse().read(1 << 16))
        is_simulator = isinstance(said, dict) and said.get('simulator') == 'NovaLink'
    except OSError as err:
        raise exceptions.NovaLinkUnavailable(
            doing=f'reach NovaLink at {host}:{port}', reason=f'{err.strerror or err}',
            remedy='Start the simulator with "powervm-fileio simulate".') from err
    except (http.client.HTTPException, ValueError):
        is_simulator = False
    finally:
        connection.close()
    if not is_simulator:
        raise UsageError(f'The server at {url} does not say that it is a simulator, so nothing was '
                         'sent to it. Leave out --simulator to use a real NovaLink.')


def _warn_of_file(path: str) -> None:
    """Warn of options that there are not, and of a password that others may read."""
    from oslo_config import cfg

    from powervm_fileio_connector import conf

    sections: dict[str, dict[str, Any]] = {}
    cfg.ConfigParser(path, sections).parse()
    known = {option.dest for option in conf.OPTS}
    for name in sections.get(conf.GROUP, {}):
        if name not in known:
            errors.warn(f'{path}: there is no option {name} in [{conf.GROUP}]'
                        + sentence(nearest(name, known)))
    for name in sections:
        # A file such as nova.conf has many sections of others.
        if name != conf.GROUP and nearest(name, [conf.GROUP]):
            errors.warn(f'{path}: section [{name}] is ignored: did you mean [{conf.GROUP}]?')
    if 'novalink_password' in sections.get(conf.GROUP, {}) and os.stat(path).st_mode & 0o004:
        errors.warn(f'{path} holds a password, and all users may read it: chmod o-r {path}')


def file_that_sets(config: cfg.ConfigOpts, name: str, group: str) -> str | None:
    """The file that sets an option: oslo.config names the last that it read, whichever it was."""
    from oslo_config import cfg

    for path in reversed(config.config_file or []):
        sections: dict[str, dict[str, Any]] = {}
        cfg.ConfigParser(path, sections).parse()
        if name in sections.get(group, {}):
            return path
    return None


def _is_no_text(path: str) -> bool:
    try:
        with open(path) as file:
            file.read()
    except UnicodeDecodeError:
        return True
    return False


def seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not (math.isfinite(number) and number >= 0.01):
        raise argparse.ArgumentTypeError(f'{text} is not a number of seconds from 0.01 on')
    return number


def not_empty(text: str) -> str:
    if not text.strip():
        # Such as a variable that a script has not set.
        raise argparse.ArgumentTypeError('it is empty; leave it out where it is not needed')
    return text


def _slot(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and int(text) in SLOTS):
        raise argparse.ArgumentTypeError(
            f'{text} is not a slot from {SLOTS.start} to {SLOTS.stop - 1}')
    return int(text)


def _lua(text: str) -> str:
    if not _LUA.fullmatch(text):
        raise argparse.ArgumentTypeError(f'{text} is not a logical unit address, such as lun1')
    return text


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
    if not _LOOPBACK.fullmatch(parts.hostname):
        raise UsageError(f'--simulator {url} is not on this host: a simulator is reached at '
                         '127.0.0.1, localhost or [::1].')
    return {'novalink_host': parts.hostname, 'novalink_port': port,
            'novalink_protocol': 'http', 'novalink_username': None, 'novalink_password': None}
