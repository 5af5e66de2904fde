# SPDX-License-Identifier: Apache-2.0
"""The volumes that the command line means: as a connector's ``connection_properties``."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from oslo_utils import uuidutils

from powervm_fileio_connector.cli.errors import UsageError
from powervm_fileio_connector.connection_properties import parse_leniently
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.mappings.record import normalised
from powervm_fileio_connector.volume import DeviceInfo
from powervm_fileio_connector.volume import VolumeSpec

if TYPE_CHECKING:
    from powervm_fileio_connector.cli.context import CommandContext

STDIN = '-'


@dataclasses.dataclass(frozen=True)
class Volume:
    """One volume: what a connector is given for it.

    :ivar device_info: what attaching it once returned, if the user has it
    :ivar is_id_only: nothing but its id is known, so only NovaLink can tell its file
    :ivar is_id_from_command_line: its id was given there, beside what else names it
    :ivar mapping: the one that it was found to have
    :ivar place: where the user gave it: ``entry 3 of many.json``
    """

    keys: dict[str, Any]
    device_info: dict[str, Any] | None = None
    is_id_only: bool = False
    is_id_from_command_line: bool = False
    mapping: MappingRecord | None = None
    place: str = '(unknown)'

    @property
    def info(self) -> DeviceInfo:
        """What there is of its device_info."""
        info = DeviceInfo.parse(self.device_info)
        return dataclasses.replace(info, volume_id=info.volume_id and normal_id(info.volume_id))

    @property
    def spec(self) -> VolumeSpec:
        """What can be made out of it, without complaint; no LPAR is looked for."""
        spec = parse_leniently(self.keys, need_lpar=False)
        return dataclasses.replace(spec, lpar_uuid='',
                                   volume_id=self.info.volume_id or spec.volume_id)

    def spec_of(self, lpar_uuid: str | None) -> VolumeSpec:
        """What can be made out of it, for one LPAR."""
        return dataclasses.replace(self.spec, lpar_uuid=lpar_uuid or '')

    @property
    def label(self) -> str:
        """What the volume is called."""
        spec = self.spec
        return spec.volume_id or spec.name or spec.path or self.info.path or self.place

    @property
    def lpar(self) -> str | None:
        """The LPAR that it names itself, by whatever name."""
        name = get(self.keys, 'lpar') or self.known_lpar_uuid
        return str(name) if name else None

    @property
    def lpar_uuid(self) -> str | None:
        """The UUID of its LPAR, once it is :meth:`resolved`."""
        return get(self.keys, 'lpar_uuid') or self.info.lpar_uuid

    def resolved(self, host: CommandContext, lpar: str | None) -> Volume:
        """The same with the UUID of its LPAR, if one is named, among its properties.

        :param lpar: the LPAR for all volumes
        :raises LPARNotFound: there is none of that name or id
        :raises UsageError: it is given two LPARs
        """
        known = self.known_lpar_uuid
        uuids = {} if known is None else {known: known}
        uuids.update((host.lpar_uuid(str(name)).upper(), str(name))
                     for name in (get(self.keys, 'lpar'), lpar) if name)
        if len(uuids) > 1:
            raise UsageError(f'Volume {self.label} is given two LPARs, '
                             + ' and '.join(uuids.values()) + '. Leave one of them out.')
        return self.with_keys(lpar_uuid=next(iter(uuids), None))

    @property
    def known_lpar_uuid(self) -> str | None:
        """The UUID that its JSON names, which need not be that of an LPAR that still exists."""
        named = get(self.keys, 'lpar_uuid')
        if isinstance(named, str) and uuidutils.is_uuid_like(named):
            return str(uuid.UUID(named)).upper()
        return self.info.lpar_uuid and self.info.lpar_uuid.upper()

    def with_keys(self, **keys: Any) -> Volume:
        """The same with more keys, in place of what it had; None leaves what it had."""
        return dataclasses.replace(self, keys=put(self.keys, **keys))


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


def normal_id(text: str) -> str:
    """The id of a volume as Cinder writes it; one that is no UUID loses blanks around it alone."""
    text = text.strip()
    return str(uuid.UUID(text)) if uuidutils.is_uuid_like(text) else text


def same_id(one: str, other: str) -> bool:
    """Whether two ids are one, however they are written."""
    return normal_id(one) == normal_id(other)


def get(keys: Mapping[str, Any], name: str) -> Any:
    """A key of connection_properties, in ``data`` or beside it."""
    data = keys.get('data')
    inner = data.get(name) if isinstance(data, Mapping) else None
    return keys.get(name) if inner in (None, '') else inner


def put(keys: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Connection_properties with more keys, where a connector reads them."""
    more = {name: value for name, value in more.items() if value is not None}
    data = keys.get('data')
    if isinstance(data, Mapping):
        return {**keys, 'data': {**data, **more}}
    return {**keys, **more}


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
