# SPDX-License-Identifier: Apache-2.0
"""The volumes that the command line means: as a connector's ``connection_properties``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from oslo_utils import uuidutils

from powervm_fileio_connector import mappings
from powervm_fileio_connector import properties
from powervm_fileio_connector import volume_file
from powervm_fileio_connector.cli.errors import UsageError
from powervm_fileio_connector.mappings.record import normalised

if TYPE_CHECKING:
    from powervm_fileio_connector.cli.host import Host

STDIN = '-'


@dataclasses.dataclass(frozen=True)
class Volume:
    """One volume: what a connector is given for it.

    :ivar device_info: what attaching it once returned, if the user has it
    :ivar is_id_only: nothing but its id is known, so only NovaLink can tell its file
    """

    keys: dict[str, Any]
    device_info: dict[str, Any] | None = None
    is_id_only: bool = False

    @property
    def spec(self) -> properties.VolumeSpec:
        """What can be made out of it, without complaint."""
        return properties.parse_leniently(self.keys, lpar_uuid='(none)')

    @property
    def label(self) -> str:
        """What the volume is called."""
        info = properties.DeviceInfo.parse(self.device_info)
        return info.volume_id or self.spec.label

    @property
    def lpar_uuid(self) -> str | None:
        """The LPAR that it names itself."""
        found = get(self.keys, 'lpar_uuid') or (self.device_info or {}).get('lpar_uuid')
        return found if isinstance(found, str) else None

    def with_keys(self, **keys: Any) -> Volume:
        """The same with more keys, in place of what it had; None leaves what it had."""
        return dataclasses.replace(self, keys=put(self.keys, **keys))


def given(args: argparse.Namespace, host: Host) -> tuple[list[Volume], bool]:
    """Return the volumes that the user means, and whether they were given as a list.

    The LPAR that was named, for each or with ``--lpar``, is among their properties.

    :raises UsageError: the volume is not given, or not in a way that can be understood
    """
    entries, is_list = _entries(args)
    volumes = [_named(args, host, entry) for entry in entries]
    if is_list and (getattr(args, 'slot', None) is not None or getattr(args, 'lua', None)):
        raise UsageError('--slot and --lua are for one volume; in a list, each entry may have a '
                         '"slot" and a "lua" of its own.')
    return volumes, is_list


def one(args: argparse.Namespace, host: Host) -> Volume:
    """Return the one volume that the user means.

    :raises UsageError: as :func:`given`, and if there are several
    """
    volumes, _ = given(args, host)
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
    except ValueError as err:
        raise UsageError(f'{name} is not JSON: {err}.') from err


def of(host: Host, volume: Volume,
       records: list[mappings.MappingRecord]) -> list[mappings.MappingRecord]:
    """Return the mappings of a volume among those of files, whoever they belong to.

    By its file, as far as the mount table tells where that is; else by its id, which is the tag, or
    part of the file's name. No share is touched.
    """
    spec = volume.spec
    info = properties.DeviceInfo.parse(volume.device_info)
    paths = {normalised(path) for path in (
        *volume_file.candidate_paths(spec, host.settings), *filter(None, (info.path,)))}
    files = [record for record in records if record.kind == 'file' and record.path]
    found = [record for record in files if normalised(record.path or '') in paths]
    volume_id = info.volume_id or spec.volume_id
    if found or volume_id is None:
        return found
    return ([record for record in files if record.tag == volume_id]
            or [record for record in files if volume.is_id_only
                and volume_id.lower() in os.path.basename(record.path or '').lower()])


def get(keys: Mapping[str, Any], name: str) -> Any:
    """A key of connection_properties, in ``data`` or beside it."""
    data = keys.get('data')
    inner = data.get(name) if isinstance(data, Mapping) else None
    return keys.get(name) if inner is None else inner


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
        volume = _single(args) if ways else Volume({'path': info.get('path')})
        return [dataclasses.replace(volume, device_info=dict(info), is_id_only=False)], False
    if not ways:
        raise UsageError('Which volume? Give a .json file, a path or an id, or --export and '
                         '--name.')
    if args.volume is not None and (args.volume == STDIN or args.volume.endswith('.json')):
        return _from_json(args.volume)
    return [_single(args)], False


def _from_json(place: str) -> tuple[list[Volume], bool]:
    content = read_json(place)
    name = 'stdin' if place == STDIN else place
    entries = content if isinstance(content, list) else [content]
    if not entries:
        raise UsageError(f'{name} is an empty list; there is nothing to do.')
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, Mapping):
            which = f'entry {number} of {name}' if isinstance(content, list) else name
            raise UsageError(f'{which} is no connection_info but {json.dumps(entry)[:60]}.')
    return [_from_entry(dict(entry)) for entry in entries], isinstance(content, list)


def _from_entry(entry: dict[str, Any]) -> Volume:
    # What attaching printed is as good as what it was given.
    is_device_info = entry.get('type') == 'file' and 'udid' in entry
    return Volume(entry, device_info=entry if is_device_info else entry.get('device_info'))


def _single(args: argparse.Namespace) -> Volume:
    if args.volume is None:
        if not (args.export and args.name):
            raise UsageError('--export and --name belong together.')
        return Volume({'driver_volume_type': 'file', 'export': args.export, 'name': args.name})
    if args.volume.startswith('/'):
        return Volume({'driver_volume_type': 'file', 'path': args.volume})
    if uuidutils.is_uuid_like(args.volume):
        return Volume({'volume_id': args.volume}, is_id_only=True)
    raise UsageError(f'{args.volume} is neither a .json file, nor an absolute path, nor the id of '
                     'a volume.')


def _named(args: argparse.Namespace, host: Host, volume: Volume) -> Volume:
    """Put what the command line says among the properties of a volume."""
    keys = volume.keys
    volume = volume.with_keys(
        format=None if get(keys, 'format') else args.volume_format, volume_id=args.volume_id,
        slot=getattr(args, 'slot', None), lua=getattr(args, 'lua', None),
        backstore=getattr(args, 'backstore', None),
        multiattach=getattr(args, 'multiattach', None) or None)
    named = get(keys, 'lpar')
    own = host.lpar_uuid(str(named)) if named is not None else volume.lpar_uuid
    if args.lpar is None:
        return volume.with_keys(lpar_uuid=own)
    wanted = host.lpar_uuid(args.lpar)
    if own is not None and own.upper() != wanted.upper():
        raise UsageError(f'Volume {volume.label} names LPAR {own}, but --lpar says {args.lpar}. '
                         'Leave one of them out.')
    return volume.with_keys(lpar_uuid=wanted)
