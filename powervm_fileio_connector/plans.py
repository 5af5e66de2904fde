# SPDX-License-Identifier: Apache-2.0
"""Plans: everything that is decided about a volume before anything is sent."""

from __future__ import annotations

import contextlib
import dataclasses
import os.path
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from oslo_log import log as logging

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import host
from powervm_fileio_connector.conf import Settings
from powervm_fileio_connector.deadline import CallDeadlines
from powervm_fileio_connector.host.probe import Prober
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.mappings import MappingTable
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.mappings import normalised
from powervm_fileio_connector.novalink import ManagementPartition
from powervm_fileio_connector.volume import QCOW
from powervm_fileio_connector.volume import DeviceInfo
from powervm_fileio_connector.volume import VolumeSpec

LOG = logging.getLogger(__name__)

ATTACH = 'attach volume {0.label} to LPAR {0.lpar_uuid}'
DETACH = 'detach volume {0.label} from LPAR {0.lpar_uuid}'
EXTEND = 'extend volume {0.label} of LPAR {0.lpar_uuid}'

# What leaves open where the file of a volume lies, or to what a symlink on the way to it leads.
_PLACE_UNKNOWN = (exceptions.ShareNotMounted, exceptions.MountNotResponding, exceptions.StaleMount)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that is decided about one volume before anything is sent.

    :ivar file: the volume's, to attach it; None to detach it
    """

    spec: VolumeSpec
    partition: ManagementPartition
    edit: AddMapping | RemoveMapping
    deadlines: CallDeadlines
    file: host.VolumeFile | None = None

    @property
    def doing(self) -> str:
        """What the plan is for; see :func:`error_context`."""
        return DETACH if self.file is None else ATTACH


@dataclasses.dataclass(frozen=True)
class Preview:
    """What carrying out a plan would change now.

    :ivar unchanged: the volume's mappings with which nothing is to be done
    :ivar error: why it would fail; nothing would be changed then
    """

    added: tuple[MappingRecord, ...] = ()
    removed: tuple[MappingRecord, ...] = ()
    unchanged: tuple[MappingRecord, ...] = ()
    error: exceptions.FileIOConnectorError | None = None


@contextlib.contextmanager
def error_context(doing: str, spec: VolumeSpec) -> Iterator[None]:
    """Tell our errors what was being done, to which volume of which LPAR.

    :param doing: what was being done, with the fields of ``spec`` that it names still to be put in
    """
    try:
        yield
    except exceptions.FileIOConnectorError as err:
        err.add_context(doing=doing.format(spec), volume=spec.label, lpar=spec.lpar_uuid or None)
        raise


def addition(spec: VolumeSpec, file: host.VolumeFile, settings: Settings) -> AddMapping:
    """Return the edit that attaches a volume whose file was found."""
    return AddMapping(
        lpar_uuid=spec.lpar_uuid, path=file.path, spellings=file.spellings,
        lookalikes=frozenset(file.lookalikes), conflicts=file.conflicts, elsewhere=file.probed,
        directories=frozenset(file.directories), backstore=spec.backstore,
        is_backstore_explicit=spec.is_backstore_explicit, tag=spec.volume_id, slot=spec.slot,
        lua=spec.lua, multiattach=spec.multiattach, max_per_bus=settings.max_mappings_per_bus)


def removal(spec: VolumeSpec, info: DeviceInfo, settings: Settings, *,
            find: Callable[[], host.VolumeFile],
            resolve: Callable[[tuple[str, ...]], tuple[str, ...]]) -> RemoveMapping:
    """Return the edit that detaches a volume: all that may tell which mapping is its own.

    The path that was observed when it was attached comes first. A UDID says no more than the path
    that it stands for, and a server may give that of a file that is gone to another one, so it
    counts only where the path is not known.

    :param find: finds the volume's file, which need not be there
    :param resolve: returns where paths lead without symlinks, also where no file is there any more
    :raises InvalidConnectionProperties: nothing tells which volume is meant
    """
    paths = host.candidate_paths(spec, settings)
    is_known = info.path is not None or info.udid is not None
    if not (is_known or paths or spec.volume_id or spec.name):
        raise exceptions.InvalidConnectionProperties(
            key='device_info', reason='neither connection_properties nor device_info tell '
            'which volume is meant, by path, export and name, UDID, id or file name')
    file_name = None if paths or is_known else spec.name
    if paths and not is_known:
        try:
            file = find()
            paths = tuple(dict.fromkeys((*file.spellings, *paths)))
            if file.lookalikes:     # it may be attached by one of these
                file_name = os.path.basename(file.path)
        except _PLACE_UNKNOWN as err:
            LOG.debug('The file of volume %s cannot be probed: %s', spec.label, err)
            file_name = spec.name or os.path.basename(spec.path or '')
        except exceptions.FileIOConnectorError as err:
            LOG.debug('The file of volume %s is gone or changed: %s', spec.label, err)
            paths = tuple(dict.fromkeys((*paths, *resolve(paths))))
    own = host.spellings_of(info.path) if info.path else ()
    return RemoveMapping(
        lpar_uuid=spec.lpar_uuid, paths=own + paths, spellings=own if is_known else paths,
        udid=None if own else info.udid, tag=spec.volume_id, file_name=file_name,
        export_hash=spec.export_hash)


def without_doubt(plan: Plan, answer: Any, settings: Settings, prober: Prober) -> Plan | None:
    """Return a plan that was refused for mappings alone which may have to do with its file.

    Those are of other files of the same name, and of qcow2 images that it may be a backing file of;
    what the images were found to be is part of the new plan.

    None: it was not, or a path of that name leads to no file, and may have led to this one.

    :raises MountNotResponding: not all images could be inspected in time
    """
    if not isinstance(answer, exceptions.FileIOConnectorError):
        return None
    images = answer.kwargs.get('images', ())
    if images and plan.file is not None and isinstance(plan.edit, AddMapping):
        with plan.deadlines.probing() as probes:
            conflicts = host.images_over(plan.file, images, settings, prober=prober,
                                         deadline=probes)
        return dataclasses.replace(plan, edit=dataclasses.replace(
            plan.edit, conflicts=plan.edit.conflicts + conflicts,
            unrelated=plan.edit.unrelated.union(images)))
    unresolved = answer.kwargs.get('unresolved', ())
    if not unresolved:
        return None
    with plan.deadlines.probing() as probes:
        elsewhere = host.leading_elsewhere(unresolved, plan.edit.paths, settings, prober=prober,
                                           deadline=probes)
    if elsewhere is None:
        return None
    return dataclasses.replace(plan, edit=dataclasses.replace(plan.edit, elsewhere=elsewhere))


def mapped_names(table: MappingTable, file: host.VolumeFile, prober: Prober,
                 deadlines: CallDeadlines, is_last: bool = False) -> host.MappedNames:
    """Return the mapped paths that lead to a file's data, such as its hard links."""
    mapped = [entry.record.path for entry in table.entries() if entry.record.path]
    with deadlines.probing(is_last) as probes:
        return host.names_among(file, mapped, prober=prober, deadline=probes)


def device_info(spec: VolumeSpec, vios_uuid: str, record: MappingRecord) -> DeviceInfo:
    """Return what the caller keeps of a mapping that NovaLink's answer shows."""
    return DeviceInfo(
        path=record.path, volume_id=spec.volume_id or record.tag, lpar_uuid=spec.lpar_uuid,
        vios_uuid=vios_uuid, slot=record.slot, lua=record.lua, udid=record.udid,
        target_name=record.target_name, backstore=record.backstore or spec.backstore,
        is_new=record.is_new)


def extensible_udid(spec: VolumeSpec, file: host.VolumeFile,
                    record: MappingRecord | None) -> str:
    """Return the UDID of a disk whose new size a rescan can show.

    :raises ExtendFailed: not attached, served by ``user:qcow``, or smaller than before
    """
    if record is None:
        raise exceptions.ExtendFailed(
            path=file.path, reason=f'{file.path} is not mapped to the LPAR',
            remedy='Attach it first.')
    if normalised(record.path or '') not in map(normalised, (file.path, *file.spellings)):
        raise exceptions.ExtendFailed(
            path=file.path, reason=f'{file.path} is not mapped to the LPAR; tagged as this volume '
            f'is {record.path}', remedy='Find out which of the two files the volume is.')
    if record.udid is None:
        raise exceptions.ExtendFailed(
            path=file.path, reason=f'NovaLink shows no UDID of {file.path}, by which it rescans')
    if QCOW in (record.backstore, spec.backstore):
        raise exceptions.ExtendFailed(
            path=file.path, reason=f'{file.path} is served through user:qcow, which NovaLink '
            'cannot rescan', remedy='Detach and attach the volume to see its new size.')
    if record.is_larger_than(file.size):
        raise exceptions.ExtendFailed(
            path=file.path, reason=f'{file.path} has {file.size} bytes, but the LPAR already '
            f'sees {record.capacity_gb} GB, and a disk in use is never shrunk',
            remedy='Find out what made the file smaller.')
    return record.udid
