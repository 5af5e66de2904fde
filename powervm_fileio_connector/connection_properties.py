# SPDX-License-Identifier: Apache-2.0
"""``connection_properties``: parsed once, on entry.

Cinder and Nova hand the same volume over in several shapes: a driver's bare ``data``, a whole
``connection_info`` with ``data`` in it, or the flat form of the attachments API. All become one
:class:`VolumeSpec`. Connecting is strict (:func:`parse`); disconnecting takes what is usable
(:func:`parse_leniently`), since a volume that was attached must always come off.
"""

from __future__ import annotations

import functools
from typing import Any

from powervm_fileio_connector.exceptions import InvalidConnectionProperties
from powervm_fileio_connector.exceptions import UnsupportedVolume
from powervm_fileio_connector.property_keys import PropertyKeys
from powervm_fileio_connector.property_keys import invalid
from powervm_fileio_connector.property_keys import is_plain_name
from powervm_fileio_connector.volume import BACKSTORES
from powervm_fileio_connector.volume import EXPORT_PROTOCOLS
from powervm_fileio_connector.volume import FILE
from powervm_fileio_connector.volume import PATH_PROTOCOLS
from powervm_fileio_connector.volume import PROTOCOLS
from powervm_fileio_connector.volume import QCOW
from powervm_fileio_connector.volume import Kind
from powervm_fileio_connector.volume import VolumeSpec

_PLACES = ('path', 'device_path', 'export')
"""The keys that tell where a file is; the first of them counts."""


def parse(connection_properties: Any, *, lpar_uuid: Any = None,
          default_backstore: str = 'loop', need_lpar: bool = True) -> VolumeSpec:
    """Return the volume that ``connection_properties`` describes, for connecting it.

    :param connection_properties: bare ``data``, whole ``connection_info`` or flat; never changed
    :param lpar_uuid: the client LPAR, where the properties name none; checked if it is needed
    :param default_backstore: for raw volumes that name none: ``loop`` or ``fileio``
    :param need_lpar: whether a missing LPAR is an error
    :raises InvalidConnectionProperties: a key is missing, empty or of the wrong type
    :raises UnsupportedVolume: encrypted, read-only, or of a format that cannot be served
    :raises UnsafeVolumePath: ``name`` is not one plain path component
    """
    keys = PropertyKeys.flattened(connection_properties)
    protocol = _protocol(keys)
    _refuse_unsupported(keys)
    image_format = _format(keys, protocol)
    explicit = keys.text('backstore')
    backstore = explicit or (default_backstore if image_format == 'raw' else QCOW)
    if backstore not in BACKSTORES[image_format]:
        raise invalid('backstore', f'{backstore!r} cannot serve a {image_format} file, '
                      f'only {" or ".join(BACKSTORES[image_format])} can')
    lpar = keys.lpar(lpar_uuid if need_lpar else None)
    if need_lpar and lpar is None:
        raise _without_lpar()
    # Also those that this volume does not need.
    keys.require_texts(*_PLACES, 'name', 'options', 'volume_id', 'serial')
    return VolumeSpec(
        protocol=protocol, kind=_kind(keys, protocol), **_place(keys, protocol),
        format=image_format, backstore=backstore,
        is_backstore_explicit=explicit is not None, volume_id=keys.volume_id(),
        lpar_uuid=lpar or '', slot=keys.slot(), lua=keys.lua(),
        multiattach=keys.flag('multiattach'), mount_point_base=keys.base())


def parse_leniently(connection_properties: Any, *, lpar_uuid: Any = None,
                    need_lpar: bool = True) -> VolumeSpec:
    """Return what can be made out of the volume, for disconnecting it.

    Only what finds a mapping is read, and each key by itself: one that is wrong counts as missing.

    :param lpar_uuid: the client LPAR, where the properties name none
    :param need_lpar: whether a missing LPAR is an error; without one, it is ``(unknown)``
    :raises InvalidConnectionProperties: the LPAR is neither there nor given, or no UUID
    """
    keys = PropertyKeys.usable(connection_properties)
    protocol = keys.leniently(_protocol) or FILE
    lpar = keys.leniently(PropertyKeys.lpar)
    if lpar is None:
        given = PropertyKeys({})
        lpar = (given.lpar(lpar_uuid) if need_lpar
                else given.leniently(PropertyKeys.lpar, lpar_uuid))
    if need_lpar and lpar is None:
        raise _without_lpar()
    read_id = functools.partial(keys.leniently, PropertyKeys.id)
    return VolumeSpec(
        protocol=protocol, kind=_kind(keys, protocol), **_place_leniently(keys, protocol),
        volume_id=read_id('volume_id') or read_id('serial'), lpar_uuid=lpar or '(unknown)',
        mount_point_base=keys.leniently(PropertyKeys.base))


def _protocol(keys: PropertyKeys) -> str:
    protocol = keys.text('driver_volume_type')
    if protocol is None:
        return FILE
    if protocol.lower() not in PROTOCOLS:
        raise invalid('driver_volume_type',
                      f'{protocol!r} volumes are not files; expected {", ".join(PROTOCOLS)}')
    return protocol.lower()


def _refuse_unsupported(keys: PropertyKeys) -> None:
    if keys.flag('encrypted'):
        raise _unsupported(
            keys, 'encrypted',
            'the volume is encrypted, and NovaLink would hand the ciphertext to the guest')
    access_mode = keys.text('access_mode')
    if access_mode is not None and access_mode.lower() == 'ro':
        raise _unsupported(
            keys, 'access_mode',
            f'access_mode is {access_mode!r}, and NovaLink can only give a guest write access')
    if access_mode is not None and access_mode.lower() != 'rw':
        raise invalid('access_mode', f"it is {access_mode!r}, not 'rw' or 'ro'")


def _format(keys: PropertyKeys, protocol: str) -> str:
    given = keys.text('format') or 'raw'
    image_format = given.lower()
    # Cinder's Virtuozzo driver says iso for raw files: it inverts a table in which iso maps to raw.
    if image_format == 'iso' and protocol in ('vzstorage', FILE):
        return 'raw'
    if image_format not in BACKSTORES:
        raise _unsupported(keys, 'format', f'format {given!r} is neither raw nor qcow2')
    return image_format


def _kind(keys: PropertyKeys, protocol: str) -> Kind:
    """Return the kind of the volume; os-brick hands over ``data`` alone, whose keys then tell."""
    if protocol in EXPORT_PROTOCOLS:
        return Kind.NETWORK
    if protocol in PATH_PROTOCOLS:
        return Kind.CLUSTER if protocol == 'gpfs' else Kind.LOCAL
    if keys.has('path'):
        return Kind.LOCAL
    if keys.has('device_path'):
        return Kind.CLUSTER if keys.has('name') else Kind.LOCAL
    return Kind.NETWORK if keys.has('export') else Kind.LOCAL


def _place(keys: PropertyKeys, protocol: str) -> dict[str, str]:
    """Return where the file is: ``export`` and ``name``, or ``path``."""
    if protocol == FILE:
        shape = next(filter(keys.has, _PLACES), None) or next(
            filter(keys.mentions, _PLACES), 'path')
    else:
        shape = 'export' if protocol in EXPORT_PROTOCOLS else 'device_path'
    if shape != 'export':
        return {'path': keys.path(shape)}
    name, (scheme, export) = keys.name(), keys.export()
    return {'name': name, 'export_scheme': scheme, 'export': export}


def _place_leniently(keys: PropertyKeys, protocol: str) -> dict[str, Any]:
    """Return where the file is, as connecting reads it, or else by whatever key says something."""
    name = keys.leniently(PropertyKeys.text, 'name')
    name = name if name and is_plain_name(name) else None
    scheme, export = keys.leniently(PropertyKeys.export) or ('', None)
    by_export = {'export_scheme': scheme, 'export': export, 'name': name} if export else {}
    order = ('device_path', 'path') if protocol in PATH_PROTOCOLS else ('path', 'device_path')
    path = next(filter(None, (keys.leniently(PropertyKeys.path, key) for key in order)), None)
    if name and by_export and (protocol in EXPORT_PROTOCOLS or path is None):
        return by_export
    return {'path': path, 'name': name} if path else by_export or {'name': name}


def _unsupported(keys: PropertyKeys, key: str, reason: str) -> UnsupportedVolume:
    return UnsupportedVolume(key=key, reason=reason,
                             volume=keys.leniently(PropertyKeys.volume_id))


def _without_lpar() -> InvalidConnectionProperties:
    return invalid('lpar_uuid', 'it is neither there nor was it given to the connector')
