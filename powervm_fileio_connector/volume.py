# SPDX-License-Identifier: Apache-2.0
"""A volume to be served, and what is known of it once it is attached: plain values."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Mapping
from typing import Any

from powervm_fileio_connector import export

EXPORT_PROTOCOLS = ('nfs', 'quobyte', 'vzstorage', 'glusterfs', 'smbfs')
PATH_PROTOCOLS = ('gpfs', 'local')
FILE = 'file'
PROTOCOLS = (*EXPORT_PROTOCOLS, *PATH_PROTOCOLS, FILE)

# What NovaLink can serve each format through. user:qcow looks for a format by itself and would
# believe a header that a guest wrote into a raw volume, so raw never goes there.
QCOW = 'user:qcow'
BACKSTORES = {'raw': ('loop', 'fileio'), 'qcow2': (QCOW,)}

# What XML 1.0 cannot carry, so what no REST request can: control characters and lone surrogates
# (which is how Python shows bytes that are not UTF-8).
UNSENDABLE = re.compile('[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]')

# PATH_MAX counts the NUL at the end; NAME_MAX is that of the file systems that hold volumes.
_LONGEST_PATH = 4095
_LONGEST_NAME = 255

# PowerVM keeps client slots 0 and 1 for the virtual consoles; 65535 means "any".
SLOTS = range(2, 65535)

UUID = re.compile(r'[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}')


class Kind(enum.Enum):
    """Where a volume's file is kept, by its ``driver_volume_type`` or else by its keys."""

    NETWORK = 'a file server, by its export'
    CLUSTER = 'a cluster file system, by a path that is the same on every node'
    LOCAL = 'this host, by a path'


@dataclasses.dataclass(frozen=True)
class VolumeSpec:
    """One volume to be served to one LPAR.

    Either ``export`` and ``name`` say where its file is, or ``path`` does. From
    :func:`parse_leniently` both may be missing.

    :ivar export_scheme: what was before ``export`` when it was given: Quobyte's scheme, or nothing
    :ivar kind: where its driver keeps files: a :class:`Kind`
    """

    protocol: str = FILE
    kind: Kind = Kind.LOCAL
    # Virtuozzo's exports carry the cluster's password: never shown, see export_shown.
    export: str | None = dataclasses.field(default=None, repr=False)
    export_scheme: str = ''
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
        """The export as it was given, without any password, for messages and logs."""
        if self.export is None:
            return None
        # A password is found in the export alone, or after the slashes of the scheme.
        return export.redact(self.export_scheme + export.redact(self.export))

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
    """What ``connect_volume`` found out and ``disconnect_volume`` needs; see :meth:`to_dict`.

    :ivar is_new: the mapping was made now; not part of what callers store
    """

    path: str | None = None
    volume_id: str | None = None
    lpar_uuid: str | None = None
    vios_uuid: str | None = None
    slot: int | None = None
    lua: str | None = None
    udid: str | None = None
    target_name: str | None = None
    backstore: str | None = None
    is_new: bool = dataclasses.field(default=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return it as the plain JSON data that callers store."""
        stored = dataclasses.asdict(self)
        del stored['is_new']
        return {'type': FILE, **stored}

    @classmethod
    def parse(cls, device_info: Any) -> DeviceInfo:
        """Take what there is of a stored ``device_info``; what makes no sense counts as missing."""
        if not isinstance(device_info, Mapping):
            return cls()
        values = {field.name: device_info.get(field.name) for field in dataclasses.fields(cls)}
        slot, _ = values.pop('slot'), values.pop('is_new')
        texts = {name: plain_text(value) or None if isinstance(value, str) else None
                 for name, value in values.items()}
        texts = {name: None if text is None or UNSENDABLE.search(text) else text
                 for name, text in texts.items()}
        path, lpar_uuid = texts['path'], texts['lpar_uuid']
        texts['volume_id'] = without_blanks(texts['volume_id'])
        if path is not None and (not path.startswith('/') or why_no_path(path) is not None):
            texts['path'] = None
        if lpar_uuid is not None and not is_uuid(lpar_uuid):
            texts['lpar_uuid'] = None
        number = (int.__int__(slot) if isinstance(slot, int) and not isinstance(slot, bool)
                  else None)
        return cls(slot=number, is_new=False, **texts)


def plain_text(text: str) -> str:
    """Return a text as ``str`` itself: a probe process cannot be sent one of a subclass."""
    return str.__str__(text)


def without_blanks(volume_id: str | None) -> str | None:
    """Return an id without blanks around it, which no NovaLink request keeps; None: there is none.

    A mapping that was tagged with them could not be found by the id.
    """
    return (volume_id or '').strip() or None


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID as NovaLink writes it, in either case.

    Braces or ``urn:uuid:``, which others take for a UUID too, it would not find.
    """
    return bool(UUID.fullmatch(text))


def why_no_path(path: str) -> str | None:
    """Return why a text is no path to a file, or part of one, as errors say it; None: it may be.

    A path is the same bytes in every locale: UTF-8, as NovaLink reads it.
    """
    if '..' in path.split('/'):
        return (f"contains '..', which leads to another file wherever a symlink comes before it: "
                f'{path!r}')
    encoded = path.encode('utf-8', 'surrogateescape')
    if len(encoded) > _LONGEST_PATH:
        return f'has {len(encoded)} bytes, but a path has at most {_LONGEST_PATH}'
    longest = max(map(len, encoded.split(b'/')))
    if longest > _LONGEST_NAME:
        return (f'has a component of {longest} bytes, but a file name has at most '
                f'{_LONGEST_NAME}')
    return None
