# SPDX-License-Identifier: Apache-2.0
"""From a volume to the edit that adds or removes its mapping, and from a mapping to device_info."""

from __future__ import annotations

import os.path
from collections.abc import Callable

from oslo_log import log as logging

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.conf import Settings
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.host.probe.prober import Prober
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.volume import DeviceInfo
from powervm_fileio_connector.volume import VolumeSpec

LOG = logging.getLogger(__name__)

# What leaves open where the file of a volume lies, or to what a symlink on the way to it leads.
_PLACE_UNKNOWN = (exceptions.ShareNotMounted, exceptions.MountNotResponding, exceptions.StaleMount)


def addition(spec: VolumeSpec, found: finder.VolumeFile, settings: Settings) -> AddMapping:
    """Return the edit that attaches a volume whose file was found."""
    return AddMapping(
        lpar_uuid=spec.lpar_uuid, path=found.path,
        # A mapping that somebody else made may have the spelling that was given.
        spellings=(*found.aliases, *finder.candidate_paths(spec, settings)),
        backstore=spec.backstore, is_backstore_explicit=spec.is_backstore_explicit,
        tag=spec.volume_id, slot=spec.slot, lua=spec.lua, multiattach=spec.multiattach,
        max_per_bus=settings.max_mappings_per_bus)


def removal(spec: VolumeSpec, info: DeviceInfo, settings: Settings, *, prober: Prober,
            find: Callable[[], finder.VolumeFile]) -> RemoveMapping:
    """Return the edit that detaches a volume: all that may tell which mapping is its own.

    The path that was observed when it was attached comes first. A UDID says no more than the path
    that it stands for, and a server may give that of a file that is gone to another one, so it
    counts only where the path is not known.

    :param find: looks for the volume's file; it need not be there
    :raises InvalidConnectionProperties: nothing tells which volume is meant
    """
    paths = finder.candidate_paths(spec, settings)
    is_known = info.path is not None or info.udid is not None
    if not (is_known or paths or spec.volume_id):
        raise exceptions.InvalidConnectionProperties(
            key='device_info', reason='neither connection_properties nor device_info tell '
            'which volume is meant, by path, export and name, UDID or id')
    file_name = None
    if paths and not is_known:
        try:
            found = find()
            paths = (found.path, *found.aliases, *paths)
        except _PLACE_UNKNOWN as err:
            LOG.debug('The file of volume %s cannot be looked at: %s', spec.label, err)
            file_name = spec.name or os.path.basename(spec.path or '')
        except exceptions.FileIOConnectorError as err:
            LOG.debug('The file of volume %s is gone or changed: %s', spec.label, err)
            paths = (*paths, *finder.resolved_paths(paths, prober=prober))
    own = finder.spellings(info.path) if info.path else ()
    return RemoveMapping(
        lpar_uuid=spec.lpar_uuid, paths=own + paths, spellings=own if is_known else paths,
        udid=None if own else info.udid, tag=spec.volume_id, file_name=file_name,
        export_hash=spec.export_hash)


def device_info(spec: VolumeSpec, vios_uuid: str, record: MappingRecord) -> DeviceInfo:
    """Return what the caller keeps of a mapping that was observed."""
    return DeviceInfo(
        path=record.path, volume_id=spec.volume_id or record.tag, lpar_uuid=spec.lpar_uuid,
        vios_uuid=vios_uuid, slot=record.slot, lua=record.lua, udid=record.udid,
        target_name=record.target_name, backstore=record.backstore or spec.backstore)
