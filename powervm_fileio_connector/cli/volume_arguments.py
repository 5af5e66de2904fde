# SPDX-License-Identifier: Apache-2.0
"""The volumes that the command line means: from JSON, as a path, or as an id."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from oslo_utils import uuidutils

from powervm_fileio_connector.cli.errors import UsageError
from powervm_fileio_connector.cli.volumes import Volume
from powervm_fileio_connector.cli.volumes import get
from powervm_fileio_connector.cli.volumes import normal_id
from powervm_fileio_connector.cli.volumes import same_id
from powervm_fileio_connector.mappings.record import normalised
from powervm_fileio_connector.volume import DeviceInfo

STDIN = '-'


def given(args: argparse.Namespace) -> tuple[list[Volume], bool]:
    """Return the volumes that the user means, and whether they were given as a list.

    :raises UsageError: the volume is not given, or not in a way that can be understood
    """
    entries, is_list = _entries(args)
    volumes = [_with_options(args, entry) for entry in entries]
    if is_list:
        volumes = [volume if volume.lpar else volume.with_keys(lpar=args.lpar)
                   for volume in volumes]
    if is_list and (getattr(args, 'slot', None) is not None or getattr(args, 'lua', None)):
        raise UsageError('--slot and --lua are for one volume; in a list, each entry may have a '
                         '"slot" and a "lua" of its own.')
    return volumes, is_list


def one(args: argparse.Namespace) -> Volume:
    """Return the one volume that the user means.

    :raises UsageError: as :func:`given`, and if there are several
    """
    volumes, _ = given(args)
    if len(volumes) != 1:
        raise UsageError(f'{args.volume} has {len(volumes)} volumes; this command takes one.')
    return volumes[0]


def read_json(place: str) -> Any:
    """Read a JSON file, or stdin.

    :raises UsageError: it cannot be read, or is not JSON
    """
    name = 'stdin' if place == STDIN else place
    try:
        if place == STDIN:
            return json.load(sys.stdin)
        with open(place, encoding='utf-8') as file:
            return json.load(file)
    except OSError as err:
        raise UsageError(f'{name} cannot be read: {err.strerror}.') from err
    except (ValueError, RecursionError) as err:     # the latter where it nests too deep
        raise UsageError(f'{name} is not JSON: {err}.') from err


def absolute(path: str) -> str:
    """Return a path from the root on; only ``..`` at its beginning is resolved.

    Behind a symlink, ``..`` leads elsewhere than to the directory before it.

    :raises UsageError: it begins at the current directory, and that was removed
    """
    if path.startswith('/'):
        return path
    try:
        directory = os.getcwd()
    except OSError as err:
        raise UsageError(f'{path} begins at the current directory, which cannot be told: '
                         f'{err.strerror}. Give the path from / on.') from err
    parts = path.split('/')
    while parts and parts[0] in ('.', '..', ''):
        if parts.pop(0) == '..':
            directory = os.path.dirname(directory)
    return os.path.join(directory, *parts)


def _entries(args: argparse.Namespace) -> tuple[list[Volume], bool]:
    device_info = getattr(args, 'device_info', None)
    ways = [way for way in (args.volume, args.export or args.name) if way is not None]
    if len(ways) > 1:
        raise UsageError('The volume is given twice: as VOLUME, and by --export and --name.')
    if device_info is not None:
        info = read_json(device_info)
        if not isinstance(info, Mapping):
            raise UsageError(f'{device_info} does not hold a device_info, as attach prints it with '
                             '-f json.')
        volume = _single(args) if ways else Volume({'path': info.get('path')},
                                                   place=device_info)
        _require_agreement(volume, DeviceInfo.parse(info), device_info)
        return [dataclasses.replace(volume, device_info=dict(info), is_id_only=False)], False
    if not ways and args.volume_id:
        return [Volume({'volume_id': normal_id(args.volume_id)}, is_id_only=True)], False
    if not ways:
        raise UsageError('Which volume? Give a .json file, a path or an id, --export and '
                         '--name, or --volume-id.')
    if args.volume is not None and (args.volume == STDIN or args.volume.endswith('.json')):
        return _from_json(args.volume)
    return [_single(args)], False


def _from_json(place: str) -> tuple[list[Volume], bool]:
    content = read_json(place)
    name = 'stdin' if place == STDIN else place
    entries = content if isinstance(content, list) else [content]
    if not entries:
        raise UsageError(f'{name} is an empty list; there is nothing to do.')
    is_list = isinstance(content, list)
    return [_from_entry(entry, f'entry {number} of {name}' if is_list else name)
            for number, entry in enumerate(entries, 1)], is_list


def _from_entry(entry: Any, place: str) -> Volume:
    if not isinstance(entry, Mapping):
        raise UsageError(f'{place} is no connection_info but {json.dumps(entry)[:60]}.')
    keys = dict(entry)
    # What attaching printed is as good as what it was given.
    is_device_info = keys.get('type') == 'file' and 'udid' in keys
    return Volume(keys, device_info=keys if is_device_info else keys.get('device_info'),
                  place=place)


def _single(args: argparse.Namespace) -> Volume:
    if args.volume is None:
        if not (args.export and args.name):
            raise UsageError('--export and --name belong together.')
        return Volume({'driver_volume_type': 'file', 'export': args.export, 'name': args.name},
                      place=args.name)
    if '/' not in args.volume and _looks_like_json(args.volume):
        raise UsageError(f'{args.volume} looks like JSON, and is no disk: call it '
                         f'{args.volume}.json, or give it on stdin, as VOLUME "-".')
    if '/' in args.volume or os.path.lexists(args.volume):
        return Volume({'driver_volume_type': 'file', 'path': absolute(args.volume)},
                      place=args.volume)
    if uuidutils.is_uuid_like(args.volume):
        return Volume({'volume_id': normal_id(args.volume)}, is_id_only=True)
    raise UsageError(f'{args.volume} is neither a .json file, nor the path of a file, nor a UUID; '
                     'for an id that is no UUID there is --volume-id.')


def _looks_like_json(name: str) -> bool:
    """Whether a file of this directory begins like the JSON of a volume, or of several."""
    if not os.path.isfile(name):
        return False
    with contextlib.suppress(OSError), open(name, 'rb') as file:
        return file.read(64).lstrip()[:1] in (b'{', b'[')
    return False


def _require_agreement(volume: Volume, info: DeviceInfo, place: str) -> None:
    """:raises UsageError: VOLUME and device_info are of two volumes"""
    spec = volume.spec
    for named, told in ((spec.volume_id, info.volume_id), (spec.path, info.path)):
        if named and told and not (same_id(named, told) or normalised(named) == normalised(told)):
            raise UsageError(f'VOLUME is {named}, but {place} is of {told}. Give only one of the '
                             'two.')


def _with_options(args: argparse.Namespace, volume: Volume) -> Volume:
    """Put what the command line says among the properties of a volume.

    :raises UsageError: the volume has another id than --volume-id says
    """
    own_id, given_id = volume.spec.volume_id, args.volume_id
    if own_id and given_id and not same_id(own_id, given_id):
        raise UsageError(f'Volume {own_id} is no volume {given_id}, which --volume-id names. Give '
                         'only one of the two.')
    volume_id = given_id or own_id
    if volume_id:
        volume = dataclasses.replace(volume, is_id_from_command_line=bool(given_id))
    return volume.with_keys(
        format=None if get(volume.keys, 'format') else args.volume_format,
        volume_id=normal_id(volume_id) if volume_id else None,
        slot=getattr(args, 'slot', None), lua=getattr(args, 'lua', None),
        backstore=getattr(args, 'backstore', None),
        multiattach=getattr(args, 'multiattach', None) or None)
