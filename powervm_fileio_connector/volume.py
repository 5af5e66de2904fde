# SPDX-License-Identifier: Apache-2.0
"""``connection_properties`` and ``device_info``: parsed once, on entry.

Cinder and Nova hand the same volume over in several shapes: a driver's bare ``data``, a whole
``connection_info`` with ``data`` in it, or the flat form of the attachments API. All become one
:class:`VolumeSpec`. Connecting is strict (:func:`parse`); disconnecting takes whatever is left
(:func:`parse_leniently`), since a volume that was attached must always come off.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from oslo_utils import strutils

from powervm_fileio_connector import export
from powervm_fileio_connector.exceptions import InvalidConnectionProperties
from powervm_fileio_connector.exceptions import UnsafeVolumePath
from powervm_fileio_connector.exceptions import UnsupportedVolume

EXPORT_PROTOCOLS = ('nfs', 'quobyte', 'vzstorage', 'glusterfs', 'smbfs')
PATH_PROTOCOLS = ('gpfs', 'local')
FILE = 'file'
PROTOCOLS = (*EXPORT_PROTOCOLS, *PATH_PROTOCOLS, FILE)

# What NovaLink can serve each format through. user:qcow looks for a format by itself and would
# believe a header that a guest wrote into a raw volume, so raw never goes there.
QCOW = 'user:qcow'
BACKSTORES = {'raw': ('loop', 'fileio'), 'qcow2': (QCOW,)}

# PowerVM keeps client slots 0 and 1 for the virtual consoles; 65535 means "any".
_SLOTS = range(2, 65535)

# NovaLink's are like lun1, those of a traditional VIOS like 0x8100000000000000.
_LUA = re.compile(r'[0-9A-Za-z]+')

# What XML 1.0 cannot carry, so what no REST request can: control characters and lone surrogates
# (which is how Python shows bytes that are not UTF-8).
_UNPRINTABLE = re.compile('[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]')

# The one spelling that NovaLink knows its partitions by; braces or "urn:uuid:" it would not find.
_UUID = re.compile(r'[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}')


@dataclasses.dataclass(frozen=True)
class VolumeSpec:
    """One volume to be served to one LPAR.

    Either ``export`` and ``name`` say where its file is, or ``path`` does. From
    :func:`parse_leniently` both may be missing.
    """

    protocol: str = FILE
    # Virtuozzo's exports carry the cluster's password: never shown, see export_shown.
    export: str | None = dataclasses.field(default=None, repr=False)
    name: str | None = None
    path: str | None = None
    format: str = 'raw'
    backstore: str = 'loop'
    is_backstore_explicit: bool = False
    volume_id: str | None = None
    lpar_uuid: str = ''
    slot: int | None = None
    lua: str | None = None
    multiattach: bool = False
    mount_point_base: str | None = None

    @property
    def export_shown(self) -> str | None:
        """The export without any password, for messages and logs."""
        return None if self.export is None else export.redact(self.export)

    @property
    def export_hash(self) -> str | None:
        """MD5 of the export, under which Nova and Cinder mount it below a base."""
        if self.export is None:
            return None
        return export.md5(self.export)

    @property
    def label(self) -> str:
        """What the volume is called in messages: its id, or failing that its file."""
        return self.volume_id or self.name or self.path or '(unknown)'


@dataclasses.dataclass(frozen=True)
class DeviceInfo:
    """What ``connect_volume`` found out and ``disconnect_volume`` needs; see :meth:`to_dict`."""

    path: str | None = None
    volume_id: str | None = None
    lpar_uuid: str | None = None
    vios_uuid: str | None = None
    slot: int | None = None
    lua: str | None = None
    udid: str | None = None
    target_name: str | None = None
    backstore: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as the plain JSON data that callers store."""
        return {'type': FILE, **dataclasses.asdict(self)}

    @classmethod
    def parse(cls, device_info: Any) -> DeviceInfo:
        """Take what there is of a stored ``device_info``; what makes no sense counts as missing."""
        if not isinstance(device_info, Mapping):
            return cls()
        values = {field.name: device_info.get(field.name) for field in dataclasses.fields(cls)}
        slot = values.pop('slot')
        texts = {name: value if isinstance(value, str) and value else None
                 for name, value in values.items()}
        if texts['lpar_uuid'] is not None and not _UUID.fullmatch(texts['lpar_uuid']):
            texts['lpar_uuid'] = None
        return cls(**texts, slot=slot if isinstance(slot, int) else None)


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
        protocol=protocol, **_place(keys, protocol), format=image_format, backstore=backstore,
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
        protocol=protocol, **_place_leniently(keys, protocol),
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
        raise UnsafeVolumePath(
            key='name', name=name, volume=keys.get('volume_id'),
            reason=f'name {name!r} is not one plain path component, so it could leave the export')
    return {'export': _strip_scheme(_required(keys, 'export')), 'name': name}


def _place_leniently(keys: Mapping[str, Any], protocol: str) -> dict[str, Any]:
    """Return where the file is, as connecting reads it, or else by whatever key says something."""
    text = {key: _leniently(_text, keys, key) for key in ('export', 'name', 'path', 'device_path')}
    name = text['name'] if text['name'] and _is_plain_name(text['name']) else None
    by_export = ({'export': _strip_scheme(text['export']), 'name': name} if text['export'] else {})
    paths = [text[key] for key in (('device_path', 'path') if protocol in PATH_PROTOCOLS
                                   else ('path', 'device_path'))]
    path = next((path for path in paths if path and path.startswith('/')), None)
    if name and by_export and (protocol in EXPORT_PROTOCOLS or path is None):
        return by_export
    return {'path': path, 'name': name} if path else by_export or {'name': name}


def _absolute_path(keys: Mapping[str, Any], key: str) -> str:
    path = _whole(keys, key)
    # LINSTOR's driver says 'None' where the resource is not on the host (its str() of None).
    if not path.startswith('/'):
        raise _invalid(key, f'{path!r} is not an absolute path')
    return path


def _is_plain_name(name: str) -> bool:
    return '/' not in name and name not in ('.', '..')


def _strip_scheme(export: str) -> str:
    return export.removeprefix('quobyte://')


def _volume_id(keys: Mapping[str, Any]) -> str | None:
    # os-brick and Nova prefer volume_id to serial too.
    return _text(keys, 'volume_id') or _text(keys, 'serial')


def _lpar(keys: Mapping[str, Any], default: str | None) -> str | None:
    lpar = _text(keys, 'lpar_uuid') or default
    if lpar is not None and not _UUID.fullmatch(lpar):
        raise _invalid('lpar_uuid', f'{lpar!r} is not a UUID in the form that NovaLink uses')
    return lpar


def _slot(keys: Mapping[str, Any]) -> int | None:
    slot = keys.get('slot')
    if slot is None:
        return None
    if isinstance(slot, str) and slot.isascii() and slot.isdigit():
        slot = int(slot)
    if isinstance(slot, bool) or not isinstance(slot, int):
        raise _invalid('slot', f'it is {slot!r}, not a slot number')
    if slot not in _SLOTS:
        raise _invalid('slot', f'{slot} is not between {_SLOTS.start} and {_SLOTS.stop - 1}')
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
        raise _invalid(key, f'it is {value!r}, not true or false') from err


def _required(keys: Mapping[str, Any], key: str) -> str:
    value = _text(keys, key)
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


def _text(keys: Mapping[str, Any], key: str) -> str | None:
    """Return a text; None where it is absent, null or empty."""
    value = keys.get(key)
    if value is None or value == '':
        return None
    if not isinstance(value, str):
        raise _invalid(key, f'it is {type(value).__name__}, not text')
    if _UNPRINTABLE.search(value):
        raise _invalid(key, 'it contains characters that no NovaLink request can carry')
    return value


def _leniently(getter: Any, *args: Any) -> Any:
    try:
        return getter(*args)
    except InvalidConnectionProperties:
        return None


def _invalid(key: str, reason: str) -> InvalidConnectionProperties:
    return InvalidConnectionProperties(
        key=key, reason=f"connection_properties['{key}'] cannot be used: {reason}")
