# SPDX-License-Identifier: Apache-2.0
"""The keys of ``connection_properties``: each read by itself, of the right type and range."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import TypeVar

from oslo_utils import strutils

from powervm_fileio_connector import export as export_module
from powervm_fileio_connector.exceptions import InvalidConnectionProperties
from powervm_fileio_connector.exceptions import UnsafeVolumePath
from powervm_fileio_connector.volume import SLOTS
from powervm_fileio_connector.volume import UNSENDABLE
from powervm_fileio_connector.volume import is_uuid
from powervm_fileio_connector.volume import plain_text
from powervm_fileio_connector.volume import why_no_path
from powervm_fileio_connector.volume import without_blanks

# NovaLink's are like lun1, those of a traditional VIOS like 0x8100000000000000.
_LUA = re.compile(r'[0-9A-Za-z]+')

_NOT_SENT = ('export', 'options')

# Python refuses to show a number of thousands of digits.
_MANY_DIGITS = 10 ** 20

_QUOBYTE = 'quobyte://'

_Value = TypeVar('_Value')


class PropertyKeys:
    """The keys of one volume, ``data`` laid over those beside it; never changed.

    What a method reads of a key that is missing, null or empty is None, unless it says otherwise.
    Each raises ``InvalidConnectionProperties``, naming the key, for a wrong type or range.
    """

    def __init__(self, keys: Mapping[str, Any], beside: Mapping[str, Any] | None = None) -> None:
        """:param beside: what was beside ``data``, for keys that are wrong in it"""
        self._keys = keys
        self._beside = {} if beside is None else beside

    @classmethod
    def flattened(cls, connection_properties: Any) -> PropertyKeys:
        """Return the keys of any shape; those that drivers set win over Nova's copies.

        :raises InvalidConnectionProperties: it is no dictionary, or its ``data`` is none
        """
        if not isinstance(connection_properties, Mapping):
            raise InvalidConnectionProperties(
                key='connection_properties',
                reason=f'connection_properties is {type(connection_properties).__name__}, '
                       'not a dictionary')
        beside = dict(connection_properties)
        if 'data' not in beside:
            return cls(beside)
        data = beside.pop('data')
        if not isinstance(data, Mapping):
            raise invalid('data', f'it is {type(data).__name__}, not a dictionary')
        keys = {key: value for key, value in data.items()
                if not _is_empty(value) or key not in beside}
        return cls({**beside, **keys}, beside)

    @classmethod
    def usable(cls, connection_properties: Any) -> PropertyKeys:
        """Return the keys of any shape, without what is no dictionary."""
        keys = dict(connection_properties) if isinstance(connection_properties, Mapping) else {}
        if not isinstance(keys.get('data', {}), Mapping):
            del keys['data']
        return cls.flattened(keys)

    def has(self, key: str) -> bool:
        """Whether a key is there, and not empty."""
        return self._value(key) is not None

    def mentions(self, key: str) -> bool:
        """Whether a key is there, though it may be empty."""
        return key in self._keys

    def leniently(self, read: Callable[..., _Value], *args: Any) -> _Value | None:
        """Return what a function reads of these keys; None where that is an error.

        What is wrong in ``data`` may be right beside it.
        """
        for keys in (self, PropertyKeys(self._beside)):
            with contextlib.suppress(InvalidConnectionProperties, UnsafeVolumePath):
                return read(keys, *args)
        return None

    def text(self, key: str, is_sent: bool = True) -> str | None:
        """Return a text.

        :param is_sent: whether NovaLink is told it, which not every character survives
        """
        value = self._value(key)
        if value is None:
            return None
        if not isinstance(value, str):
            raise invalid(key, f'it is {type(value).__name__}, not text')
        if is_sent and UNSENDABLE.search(value):
            raise invalid(key, 'it contains characters that no NovaLink request can carry')
        if '\0' in value:
            raise invalid(key, 'it contains a NUL, which no path can')
        try:
            value.encode('utf-8', 'surrogateescape')
        except UnicodeEncodeError as err:
            raise invalid(key, 'it contains characters that no path can') from err
        return value

    def require_texts(self, *keys: str) -> None:
        """Check those of some keys that are there; see :meth:`text`."""
        for key in keys:
            if key in self._keys:
                self.text(key, is_sent=key not in _NOT_SENT)

    def required(self, key: str, is_sent: bool = True) -> str:
        """Return a text that has to be there."""
        value = self.text(key, is_sent)
        if value is None:
            raise invalid(key, 'it is missing or empty')
        return value

    def flag(self, key: str) -> bool:
        """Return a truth value; a missing one is False."""
        value = self._value(key)
        if value is None:
            return False
        try:
            return strutils.bool_from_string(value, strict=True)
        except ValueError as err:
            raise invalid(key, f'it is {_shown(value)}, not true or false') from err

    def path(self, key: str) -> str:
        """Return an absolute path, which has to be there.

        :raises UnsafeVolumePath: Linux cannot open it, or it contains ``..``
        """
        path = self._kept_by_xml(key)
        # LINSTOR's driver says 'None' where the resource is not on the host (its str() of None).
        if not path.startswith('/'):
            raise invalid(key, f'{path!r} is not an absolute path')
        self._refuse(key, why_no_path(path))
        return path

    def base(self) -> str | None:
        """Return the directory below which the volume's driver mounts exports."""
        base = self.text('mount_point_base')
        if base is None:
            return None
        if not base.startswith('/'):
            raise invalid('mount_point_base', f'{base!r} is not an absolute path')
        reason = why_no_path(base)
        if reason is not None:
            raise invalid('mount_point_base', f'it {reason}')
        return base

    def name(self) -> str:
        """Return the name of a file, which has to be there.

        :raises UnsafeVolumePath: it is not one plain component of a path
        """
        name = self._kept_by_xml('name')
        if not is_plain_name(name):
            self._refuse('name', f'{name!r} is not one plain path component, so it could leave '
                                 'the export')
        self._refuse('name', why_no_path(name))
        return name

    def export(self) -> tuple[str, str]:
        """Return an export, which has to be there: the scheme that Quobyte's may have, the rest."""
        given = self.required('export', is_sent=False)
        export = given.removeprefix(_QUOBYTE)
        if export_module.names_nothing(export):
            raise invalid('export', f'{given!r} names no export')
        return given.removesuffix(export), export

    def volume_id(self) -> str | None:
        """Return the id of the volume."""
        # os-brick and Nova prefer volume_id to serial too.
        return self.id('volume_id') or self.id('serial')

    def id(self, key: str) -> str | None:
        """Return an id, without blanks around it."""
        return without_blanks(self.text(key))

    def lpar(self, default: Any = None) -> str | None:
        """Return the UUID of the client LPAR.

        :param default: what the connector was given, for where these keys name none
        """
        lpar = self.text('lpar_uuid')
        if lpar is not None and not is_uuid(lpar):
            raise invalid('lpar_uuid', f'{lpar!r} is not a UUID in the form that NovaLink uses')
        if lpar is not None or default is None:
            return lpar
        if not isinstance(default, str) or not is_uuid(default):
            raise InvalidConnectionProperties(
                key='lpar_uuid', reason=f'the lpar_uuid of the connector is {_shown(default)}, not '
                'a UUID in the form that NovaLink uses')
        return plain_text(default)

    def slot(self) -> int | None:
        """Return the number of a client slot."""
        slot = self._value('slot')
        if slot is None:
            return None
        # No more digits than a slot may have: Python refuses to read a number of thousands.
        if isinstance(slot, str) and slot.isascii() and slot.isdigit() and len(slot) < 10:
            slot = int(slot)
        if isinstance(slot, bool) or not isinstance(slot, int):
            raise invalid('slot', f'it is {_shown(slot)}, not a slot number')
        slot = int.__int__(slot)
        if slot not in SLOTS:
            raise invalid('slot', f'{_shown(slot)} is not between {SLOTS.start} and '
                          f'{SLOTS.stop - 1}')
        return slot

    def lua(self) -> str | None:
        """Return a logical unit address."""
        lua = self.text('lua')
        if lua is not None and not _LUA.fullmatch(lua):
            raise invalid('lua', f'{lua!r} is no logical unit address, such as lun1')
        return lua

    def _value(self, key: str) -> Any:
        value = self._keys.get(key)
        return (plain_text(value) or None) if isinstance(value, str) else value

    def _kept_by_xml(self, key: str) -> str:
        value = self.required(key)
        if value != value.rstrip():
            # Clients and servers trim what an element holds, and would mean another file.
            raise invalid(key, f'{value!r} ends with a blank, which no NovaLink request keeps')
        return value

    def _refuse(self, key: str, reason: str | None) -> None:
        if reason is not None:
            raise UnsafeVolumePath(key=key, reason=f'{key} {reason}',
                                   volume=self.leniently(PropertyKeys.volume_id))


def is_plain_name(name: str) -> bool:
    """Whether a text is one component of a path, and none that leads elsewhere."""
    return '/' not in name and name not in ('.', '..')


def invalid(key: str, reason: str) -> InvalidConnectionProperties:
    """Return the error that says what is wrong with a key."""
    return InvalidConnectionProperties(
        key=key, reason=f"connection_properties['{key}'] cannot be used: {reason}")


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not plain_text(value))


def _shown(value: Any) -> str:
    """Return a value for a message; of a container the type."""
    if isinstance(value, str):
        return repr(plain_text(value)[:40])
    if type(value) is int and abs(value) >= _MANY_DIGITS:
        return 'a number of many digits'
    return repr(value) if type(value) in (bool, float, int) else f'of type {type(value).__name__}'
