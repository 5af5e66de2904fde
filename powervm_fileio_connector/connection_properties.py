# SPDX-License-Identifier: Apache-2.0
"""``connection_properties``: parsed once, on entry.

Cinder and Nova hand the same volume over in several shapes: a driver's bare ``data``, a whole
``connection_info`` with ``data`` in it, or the flat form of the attachments API. All become one
:class:`VolumeSpec`. Connecting is strict (:func:`parse`); disconnecting takes what is usable
(:func:`parse_leniently`), since a volume that was attached must always come off.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from oslo_utils import strutils

from powervm_fileio_connector.exceptions import InvalidConnectionProperties
from powervm_fileio_connector.exceptions import UnsafeVolumePath
from powervm_fileio_connector.exceptions import UnsupportedVolume
from powervm_fileio_connector.volume import BACKSTORES
from powervm_fileio_connector.volume import EXPORT_PROTOCOLS
from powervm_fileio_connector.volume import FILE
from powervm_fileio_connector.volume import PATH_PROTOCOLS
from powervm_fileio_connector.volume import PROTOCOLS
from powervm_fileio_connector.volume import QCOW
from powervm_fileio_connector.volume import Kind
from powervm_fileio_connector.volume import VolumeSpec
from powervm_fileio_connector.volume import can_be_sent
from powervm_fileio_connector.volume import is_uuid

# PowerVM keeps client slots 0 and 1 for the virtual consoles; 65535 means "any".
_SLOTS = range(2, 65535)

# NovaLink's are like lun1, those of a traditional VIOS like 0x8100000000000000.
_LUA = re.compile(r'[0-9A-Za-z]+')

# PATH_MAX counts the NUL at the end; NAME_MAX is that of the file systems that hold volumes.
_LONGEST_PATH = 4095
_LONGEST_NAME = 255


def parse(connection_properties: Any, *, lpar_uuid: str | None = None,
          default_backstore: str = 'loop', need_lpar: bool = True) -> VolumeSpec:
    """Return the volume that ``connection_properties`` describes, for connecting it.

    :param connection_properties: bare ``data``, whole ``connection_info`` or flat; never changed
    :param lpar_uuid: the client LPAR, where the properties name none
    :param default_backstore: for raw volumes that name none: ``loop`` or ``fileio``
    :param need_lpar: whether a missing LPAR is an error
    :raises InvalidConnectionProperties: a key is missing, empty or of the wrong type
    :raises UnsupportedVolume: encrypted, read-only, or of a format that cannot be served
    :raises UnsafeVolumePath: ``name`` is not one plain path component
    """
    keys = _flatten(connection_properties)
    protocol = _protocol(keys)
    _refuse_unsupported(keys)
    image_format = _format(keys, protocol)
    explicit = _text(keys, 'backstore')
    backstore = explicit or (default_backstore if image_format == 'raw' else QCOW)
    if backstore not in BACKSTORES[image_format]:
        raise _invalid('backstore', f'{backstore!r} cannot serve a {image_format} file, '
                       f'only {" or ".join(BACKSTORES[image_format])} can')
    lpar = _lpar(keys, lpar_uuid)
    if need_lpar and lpar is None:
        raise _invalid('lpar_uuid', 'it is neither there nor was it given to the connector')
    return VolumeSpec(
        protocol=protocol, kind=_kind(keys, protocol), **_place(keys, protocol),
        format=image_format, backstore=backstore,
        is_backstore_explicit=explicit is not None, volume_id=_volume_id(keys),
        lpar_uuid=lpar or '', slot=_slot(keys), lua=_lua(keys),
        multiattach=_bool(keys, 'multiattach'),
        mount_point_base=_text(keys, 'mount_point_base'))


def parse_leniently(connection_properties: Any, *, lpar_uuid: str | None = None) -> VolumeSpec:
    """Return what can be made out of the volume, for disconnecting it.

    Only what finds a mapping is read, and each key by itself: one that is wrong counts as missing.

    :raises InvalidConnectionProperties: the LPAR is neither there nor given
    """
    try:
        keys = _flatten(connection_properties)
    except InvalidConnectionProperties:
        keys = {}
    protocol = _leniently(_protocol, keys) or FILE
    lpar = _leniently(_lpar, keys, None) or lpar_uuid
    if lpar is None:
        raise _invalid('lpar_uuid', 'it is neither there nor was it given to the connector')
    return VolumeSpec(
        protocol=protocol, kind=_kind(keys, protocol), **_place_leniently(keys, protocol),
        volume_id=_leniently(_volume_id, keys), lpar_uuid=lpar,
        mount_point_base=_leniently(_text, keys, 'mount_point_base'))



def _flatten(connection_properties: Any) -> dict[str, Any]:
    """Lay ``data`` over the keys beside it; the keys that drivers set win over Nova's copies."""
    if not isinstance(connection_properties, Mapping):
        raise InvalidConnectionProperties(
            key='connection_properties',
            reason=f'connection_properties is {type(connection_properties).__name__}, '
                   'not a dictionary')
    keys = dict(connection_properties)
    if 'data' not in keys:
        return keys
    data = keys.pop('data')
    if not isinstance(data, Mapping):
        raise _invalid('data', f'it is {type(data).__name__}, not a dictionary')
    keys.update((key, value) for key, value in data.items()
                if value is not None or key not in keys)
    return keys


def _protocol(keys: Mapping[str, Any]) -> str:
    protocol = _text(keys, 'driver_volume_type')
    if protocol is None:
        return FILE
    if protocol.lower() not in PROTOCOLS:
        raise _invalid('driver_volume_type',
                       f'{protocol!r} volumes are not files; expected {", ".join(PROTOCOLS)}')
    return protocol.lower()


def _refuse_unsupported(keys: Mapping[str, Any]) -> None:
    if _bool(keys, 'encrypted'):
        raise UnsupportedVolume(
            key='encrypted', volume=keys.get('volume_id'),
            reason='the volume is encrypted, and NovaLink would hand the ciphertext to the guest')
    access_mode = _text(keys, 'access_mode')
    if access_mode is not None and access_mode.lower() == 'ro':
        raise UnsupportedVolume(
            key='access_mode', volume=keys.get('volume_id'),
            reason="access_mode is 'ro', and NovaLink can only give a guest write access")
    if access_mode is not None and access_mode.lower() != 'rw':
        raise _invalid('access_mode', f"it is {access_mode!r}, not 'rw' or 'ro'")


def _format(keys: Mapping[str, Any], protocol: str) -> str:
    image_format = (_text(keys, 'format') or 'raw').lower()
    # Cinder's Virtuozzo driver says iso for raw files: it inverts a table in which iso maps to raw.
    if image_format == 'iso' and protocol in ('vzstorage', FILE):
        return 'raw'
    if image_format not in BACKSTORES:
        raise UnsupportedVolume(key='format', volume=keys.get('volume_id'),
                                reason=f'format {image_format!r} is neither raw nor qcow2')
    return image_format


def _place(keys: Mapping[str, Any], protocol: str) -> dict[str, str]:
    """Return where the file is: ``export`` and ``name``, or ``path``."""
    if protocol == FILE:
        shape = next((key for key in ('path', 'device_path', 'export') if keys.get(key)), 'path')
    else:
        shape = 'export' if protocol in EXPORT_PROTOCOLS else 'device_path'
    if shape != 'export':
        return {'path': _absolute_path(keys, shape)}
    name = _whole(keys, 'name')
    if not _is_plain_name(name):
        raise _unsafe(keys, 'name', f'name {name!r} is not one plain path component, so it could '
                      'leave the export')
    _refuse_long(keys, 'name', name)
    export = _strip_scheme(_required(keys, 'export', is_sent=False))
    if not export.strip('/'):
        raise _invalid('export', f'{keys["export"]!r} names no export')
    return {'export': export, 'name': name}


def _kind(keys: Mapping[str, Any], protocol: str) -> Kind:
    """Return the kind of the volume; os-brick hands over ``data`` alone, whose keys then tell."""
    if protocol in EXPORT_PROTOCOLS:
        return Kind.NETWORK
    if protocol in PATH_PROTOCOLS:
        return Kind.CLUSTER if protocol == 'gpfs' else Kind.LOCAL
    if keys.get('path'):
        return Kind.LOCAL
    if keys.get('device_path'):
        return Kind.CLUSTER if keys.get('name') else Kind.LOCAL
    return Kind.NETWORK if keys.get('export') else Kind.LOCAL


def _place_leniently(keys: Mapping[str, Any], protocol: str) -> dict[str, Any]:
    """Return where the file is, as connecting reads it, or else by whatever key says something."""
    text = {key: _leniently(_text, keys, key) for key in ('name', 'path', 'device_path')}
    name = text['name'] if text['name'] and _is_plain_name(text['name']) else None
    export = _strip_scheme(_leniently(_text, keys, 'export', is_sent=False) or '')
    by_export = {'export': export, 'name': name} if export.strip('/') else {}
    paths = [_leniently(_absolute_path, keys, key)
             for key in (('device_path', 'path') if protocol in PATH_PROTOCOLS
                         else ('path', 'device_path'))]
    path = next(filter(None, paths), None)
    if name and by_export and (protocol in EXPORT_PROTOCOLS or path is None):
        return by_export
    return {'path': path, 'name': name} if path else by_export or {'name': name}


def _absolute_path(keys: Mapping[str, Any], key: str) -> str:
    path = _whole(keys, key)
    # LINSTOR's driver says 'None' where the resource is not on the host (its str() of None).
    if not path.startswith('/'):
        raise _invalid(key, f'{path!r} is not an absolute path')
    if '..' in path.split('/'):
        raise _unsafe(keys, key, f"{path!r} contains '..', which leads to another file wherever a "
                      'symlink comes before it')
    _refuse_long(keys, key, path)
    return path


def _refuse_long(keys: Mapping[str, Any], key: str, path: str) -> None:
    """Refuse what Linux cannot open.

    :raises UnsafeVolumePath: the whole, or a component, is too long
    """
    size = len(path.encode('utf-8', 'surrogateescape'))
    if size > _LONGEST_PATH:
        raise _unsafe(keys, key, f'{key} has {size} bytes, but a path has at most {_LONGEST_PATH}')
    longest = max(len(name.encode('utf-8', 'surrogateescape')) for name in path.split('/'))
    if longest > _LONGEST_NAME:
        raise _unsafe(keys, key, f'a component of {key} has {longest} bytes, but a file name has '
                      f'at most {_LONGEST_NAME}')


def _unsafe(keys: Mapping[str, Any], key: str, reason: str) -> UnsafeVolumePath:
    return UnsafeVolumePath(key=key, reason=reason, volume=keys.get('volume_id'))


def _is_plain_name(name: str) -> bool:
    return '/' not in name and name not in ('.', '..')


def _strip_scheme(export: str) -> str:
    return export.removeprefix('quobyte://')


def _volume_id(keys: Mapping[str, Any]) -> str | None:
    # os-brick and Nova prefer volume_id to serial too.
    return _text(keys, 'volume_id') or _text(keys, 'serial')


def _lpar(keys: Mapping[str, Any], default: str | None) -> str | None:
    lpar = _text(keys, 'lpar_uuid') or default
    if lpar is not None and not is_uuid(lpar):
        raise _invalid('lpar_uuid', f'{lpar!r} is not a UUID in the form that NovaLink uses')
    return lpar


def _slot(keys: Mapping[str, Any]) -> int | None:
    slot = keys.get('slot')
    if slot is None:
        return None
    # No more digits than a slot has: Python refuses to read, or show, a number of thousands.
    if isinstance(slot, str) and slot.isascii() and slot.isdigit() and len(slot) < 10:
        slot = int(slot)
    if isinstance(slot, bool) or not isinstance(slot, int):
        raise _invalid('slot', f'it is {_shown(slot)}, not a slot number')
    if slot not in _SLOTS:
        raise _invalid('slot', f'it is not between {_SLOTS.start} and {_SLOTS.stop - 1}')
    return slot


def _lua(keys: Mapping[str, Any]) -> str | None:
    lua = _text(keys, 'lua')
    if lua is not None and not _LUA.fullmatch(lua):
        raise _invalid('lua', f'{lua!r} is no logical unit address, such as lun1')
    return lua


def _bool(keys: Mapping[str, Any], key: str) -> bool:
    value = keys.get(key)
    if value is None:
        return False
    try:
        return strutils.bool_from_string(value, strict=True)
    except ValueError as err:
        raise _invalid(key, f'it is {_shown(value)}, not true or false') from err


def _required(keys: Mapping[str, Any], key: str, is_sent: bool = True) -> str:
    value = _text(keys, key, is_sent)
    if value is None:
        raise _invalid(key, 'it is missing or empty')
    return value


def _whole(keys: Mapping[str, Any], key: str) -> str:
    """Return a required text that XML keeps as it is."""
    value = _required(keys, key)
    if value != value.rstrip():
        # Clients and servers trim what an element holds, and would mean another file.
        raise _invalid(key, f'{value!r} ends with a blank, which no NovaLink request keeps')
    return value


def _text(keys: Mapping[str, Any], key: str, is_sent: bool = True) -> str | None:
    """Return a text; None where it is absent, null or empty.

    :param is_sent: whether NovaLink is told it, which not every character survives
    """
    value = keys.get(key)
    if value is None or value == '':
        return None
    if not isinstance(value, str):
        raise _invalid(key, f'it is {type(value).__name__}, not text')
    if is_sent and not can_be_sent(value):
        raise _invalid(key, 'it contains characters that no NovaLink request can carry')
    if '\0' in value:
        raise _invalid(key, 'it contains a NUL, which no path can')
    return value


def _leniently(getter: Any, *args: Any, **kwargs: Any) -> Any:
    try:
        return getter(*args, **kwargs)
    except (InvalidConnectionProperties, UnsafeVolumePath):
        return None


def _invalid(key: str, reason: str) -> InvalidConnectionProperties:
    return InvalidConnectionProperties(
        key=key, reason=f"connection_properties['{key}'] cannot be used: {reason}")


def _shown(value: Any) -> str:
    """Return a value for a message; of a container or a number of any length the type."""
    return repr(value[:40]) if isinstance(value, str) else f'of type {type(value).__name__}'
