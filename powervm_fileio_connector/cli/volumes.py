# SPDX-License-Identifier: Apache-2.0
"""A volume that a command acts on: its ``connection_properties``, and what is told beside them."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from oslo_utils import uuidutils

from powervm_fileio_connector.cli.errors import UsageError
from powervm_fileio_connector.connection_properties import parse_leniently
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.property_keys import PropertyKeys
from powervm_fileio_connector.volume import DeviceInfo
from powervm_fileio_connector.volume import VolumeSpec

if TYPE_CHECKING:
    from powervm_fileio_connector.cli.context import CommandContext


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
    def is_multiattach(self) -> bool:
        """Whether other LPARs may have it too."""
        return PropertyKeys.usable(self.keys).leniently(
            PropertyKeys.flag, 'multiattach') or False

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
