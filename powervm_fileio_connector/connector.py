# SPDX-License-Identifier: Apache-2.0
"""FileIOConnector: the order of the steps.

Attaching: the properties are parsed, the management partition is made sure of, the file is found
and judged, a mapping is added, and what the server's answer shows is returned. Detaching: what may
be known about the mapping is gathered, the mapping is removed, and the server's answer no longer
shows it. Every step is in a module of its own; nothing here knows XML, mount tables or HTTP.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

from os_brick import initiator
from os_brick.initiator.connectors import base
from oslo_config import cfg
from oslo_log import log as logging

from powervm_fileio_connector import conf as conf_module
from powervm_fileio_connector import exceptions
from powervm_fileio_connector import host
from powervm_fileio_connector import mappings
from powervm_fileio_connector import plans
from powervm_fileio_connector.connection_properties import parse
from powervm_fileio_connector.connection_properties import parse_leniently
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.novalink import Committer
from powervm_fileio_connector.novalink import ManagementPartition
from powervm_fileio_connector.novalink import client_for
from powervm_fileio_connector.volume import QCOW
from powervm_fileio_connector.volume import DeviceInfo
from powervm_fileio_connector.volume import VolumeSpec

if TYPE_CHECKING:
    from pypowervm import adapter as pvm_adapter

LOG = logging.getLogger(__name__)

_NOTHING_KNOWN = DeviceInfo()


class FileIOConnector(base.BaseLinuxConnector):
    """Gives LPARs disks that are files on a file system mounted on the NovaLink partition.

    Safe to use from several threads. Nothing is mounted, unmounted or written, ever.

    :param root_helper: command prefix for looks at a share that this user may not take
    :param driver: as os-brick's connectors take it; not used
    :param execute: replaces os-brick's executor for what needs ``root_helper``
    :param use_multipath: as os-brick's connectors take it; a file has one path
    :param device_scan_attempts: looks for a file that may yet appear
    :param adapter: ``pypowervm.adapter.Adapter``; None opens a session of our own at first use,
        from the options ``[powervm_fileio] novalink_*``
    :param lpar_uuid: the client LPAR, where ``connection_properties`` name none
    :param conf: ``oslo_config.cfg.ConfigOpts``; None is the global one
    """

    def __init__(self, root_helper: str, driver: Any = None,
                 execute: Callable[..., tuple[str, str]] | None = None,
                 use_multipath: bool = False,
                 device_scan_attempts: int = initiator.DEVICE_SCAN_ATTEMPTS_DEFAULT,
                 adapter: pvm_adapter.Adapter | None = None, lpar_uuid: str | None = None,
                 conf: cfg.ConfigOpts | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(root_helper, driver=driver, execute=execute,
                         device_scan_attempts=device_scan_attempts)
        self.use_multipath = use_multipath
        self.lpar_uuid = lpar_uuid
        self.settings = conf_module.read(conf)
        self._prober = probe.Prober(self.settings.probe_timeout_s, execute=self._execute,
                                    root_helper=root_helper)
        self._client = client_for(self.settings, adapter)

    @staticmethod
    def get_connector_properties(root_helper: str, *args: Any, **kwargs: Any) -> dict:
        """Return what Cinder needs to know of this host to serve it files: nothing."""
        return {}

    def set_execute(self, execute: Callable[..., tuple[str, str]]) -> None:
        """Use another executor, here and in the parts that os-brick's base class holds."""
        super().set_execute(execute)
        self._linuxscsi.set_execute(execute)

    def connect_volume(self, connection_properties: dict[str, Any]) -> dict[str, Any]:
        """Map the volume's file to the client LPAR.

        Safe to repeat, also after a failure or a crash: an existing mapping is returned as it is,
        and then nothing is sent. Returns once the server's answer shows the mapping.

        :param connection_properties: what Cinder emits as ``data``, a whole ``connection_info``, or
            its flat form; never changed
        :returns: ``device_info``: plain JSON data, enough to disconnect
        :raises InvalidConnectionProperties: a key is missing, empty or wrong
        :raises UnsupportedVolume: encrypted, read-only or of a format that cannot be served
        :raises NovaLinkNotIOServer: the management partition cannot serve files
        :raises ShareNotMounted: nothing, or something else, is mounted where the file should be
        :raises MountNotResponding: the mount did not answer in time
        :raises VolumeInUse: the file is mapped to another LPAR, and not ``multiattach``
        :raises FileIOConnectorError: see ``exceptions`` for the rest
        """
        with self._about('attach volume {0.label} to LPAR {0.lpar_uuid}', connection_properties):
            spec = self._parse(connection_properties)
            deadline = self._deadline()
            partition = self._partition(deadline)
            with deadline.paused():
                found = self._find(spec)
                host.recheck(found, self.settings, prober=self._prober)
            record = self._add(self._writer(partition), self._addition(spec, found), found,
                               deadline)
            info = plans.device_info(spec, partition.uuid, record)
        LOG.info('Volume %(volume)s (%(path)s) is attached to LPAR %(lpar)s in slot %(slot)s as '
                 '%(lua)s.', {'volume': spec.label, 'path': info.path, 'lpar': info.lpar_uuid,
                              'slot': info.slot, 'lua': info.lua})
        return info.to_dict()

    def disconnect_volume(self, connection_properties: dict[str, Any],
                          device_info: dict[str, Any] | None, force: bool = False,
                          ignore_errors: bool = False) -> None:
        """Remove the mapping of the volume's file to the client LPAR.

        Safe to repeat: what is already gone (mapping, LPAR, file, mount) is success. Returns once
        the server's answer no longer shows the mapping. The share is not needed for it, so a hung
        one does not stop it.

        :param connection_properties: as for :meth:`connect_volume`; keys may be missing or changed
        :param device_info: what :meth:`connect_volume` returned, or None
        :param force: lets ``ignore_errors`` count, as in os-brick; what can be passed (file, share
            or LPAR gone or silent) is passed without it, too
        :param ignore_errors: with ``force``, log what remains instead of raising
        :raises NovaLinkUnavailable: the server cannot be reached, so nothing is known
        :raises MappingFailed: it cannot be told which mapping is the volume's, or NovaLink refused
        """
        try:
            self._disconnect(connection_properties, DeviceInfo.parse(device_info))
        except exceptions.FileIOConnectorError as err:
            if not (force and ignore_errors):
                raise
            LOG.warning('Errors are ignored as asked, but the mapping may remain: %s', err)

    def extend_volume(self, connection_properties: dict[str, Any]) -> int:
        """Make the LPAR see the new size of the volume's file, which Cinder has extended.

        Safe to repeat. Never shrinks anything.

        :returns: the size in bytes that the file has now
        :raises ExtendFailed: the volume is not attached, has become smaller, or is served in a way
            (``user:qcow``) that NovaLink cannot rescan
        """
        with self._about('extend volume {0.label} of LPAR {0.lpar_uuid}', connection_properties):
            spec = self._parse(connection_properties)
            deadline = self._deadline()
            partition = self._partition(deadline)
            with deadline.paused():
                found = self._find(spec)
            vios = self._writer(partition)
            record = vios.find(spec.lpar_uuid, found.spellings, spec.volume_id,
                               deadline)
            udid = _extensible(spec, found, record)
            self._client.rescan(partition.uuid, udid, deadline)
            # The rescan has changed the document.
            vios.forget()
        LOG.info('Volume %(volume)s of LPAR %(lpar)s now has %(size)d bytes.',
                 {'volume': spec.label, 'lpar': spec.lpar_uuid, 'size': found.size})
        return found.size

    def get_volume_paths(self, connection_properties: dict[str, Any]) -> list[str]:
        """Return the path of the volume's file, in a list that is empty where there is none.

        Nothing is mounted or changed for it.

        :raises MountNotResponding: the mount did not answer, so nothing is known
        """
        with self._about('find volume {0.label}', connection_properties):
            spec = self._parse(connection_properties, need_lpar=False)
            try:
                return [self._find(spec, attempts=1).path]
            except (exceptions.VolumeFileNotFound, exceptions.ShareNotMounted) as err:
                LOG.debug('No path for volume %s: %s', spec.label, err)
                return []

    def check_valid_device(self, path: str, run_as_root: bool = True) -> bool:
        """Tell whether a path is a file that could be attached; nothing is read from it."""
        try:
            self._find(self._parse({'path': path}, need_lpar=False), attempts=1)
        except exceptions.FileIOConnectorError as err:
            LOG.debug('%s is not a valid device: %s', path, err)
            return False
        return True

    def get_search_path(self) -> str | None:
        """Return the first directory below which exports are looked for; None: there is none."""
        return next(iter(self.settings.mount_point_base), None)

    def get_all_available_volumes(
            self, connection_properties: dict[str, Any] | None = None) -> list[str]:
        """Return the files on the mounts of the volume's export, or below the search paths.

        A mount that does not answer in time is left out, with a warning.
        """
        spec = None
        if connection_properties is not None:
            spec = self._parse(connection_properties, need_lpar=False)
        return host.list_files(spec, self.settings, prober=self._prober)

    @property
    def _adapter(self) -> pvm_adapter.Adapter:
        return self._client.adapter

    def _partition(self, deadline: Deadline) -> ManagementPartition:
        return self._client.management_partition(deadline)

    def _disconnect(self, connection_properties: Any,
                    info: DeviceInfo) -> tuple[mappings.MappingRecord, ...]:
        """Remove the mapping, and return what was removed; empty: it was gone."""
        with self._about('detach volume {0.label} from LPAR {0.lpar_uuid}', connection_properties,
                         info):
            spec = parse_leniently(connection_properties,
                                              lpar_uuid=info.lpar_uuid or self.lpar_uuid)
            # What was observed when the volume was attached beats what is said of it now.
            spec = dataclasses.replace(spec, lpar_uuid=info.lpar_uuid or spec.lpar_uuid,
                                       volume_id=info.volume_id or spec.volume_id)
            deadline = self._deadline()
            partition = self._partition(deadline)
            with deadline.paused():
                removal = self._removal(spec, info)
            removed: tuple[mappings.MappingRecord, ...] = self._writer(partition).submit(
                removal, deadline)
        LOG.info('Volume %(volume)s is detached from LPAR %(lpar)s (%(what)s).',
                 {'volume': spec.label, 'lpar': spec.lpar_uuid,
                  'what': ', '.join(record.path or '' for record in removed) or 'it was gone'})
        return removed

    def _add(self, vios: Committer, addition: mappings.AddMapping,
             found: host.VolumeFile,
             deadline: Deadline) -> mappings.MappingRecord:
        """Add a mapping; one made otherwise than asked, or of a swapped file, is taken back."""
        try:
            record = vios.submit(addition, deadline)
        except exceptions.SlotOrLUAConflict as err:
            if err.kwargs.get('is_left_mapped'):
                self._take_back(vios, addition, deadline)
            raise
        if record.is_new:
            with deadline.paused():
                changed = self._change_since(found)
            if changed is not None:
                self._take_back(vios, addition, deadline)
                raise changed
        return record

    def _take_back(self, vios: Committer, addition: mappings.AddMapping,
                   deadline: Deadline) -> None:
        try:
            vios.submit(mappings.RemoveMapping(addition.lpar_uuid, paths=addition.paths), deadline)
        except exceptions.FileIOConnectorError as err:
            LOG.warning('The mapping of %s remains: %s', addition.path, err)

    def _change_since(self, found: host.VolumeFile,
                      ) -> exceptions.FileIOConnectorError | None:
        """Say what became of the file while NovaLink was mapping its path.

        NovaLink takes a path, and the edits of others may have taken a while. A share that hangs
        just now says nothing.
        """
        try:
            host.recheck(found, self.settings, prober=self._prober)
        except (exceptions.UnsafeVolumePath, exceptions.VolumeFileNotFound) as err:
            return err
        except exceptions.FileIOConnectorError as err:
            LOG.warning('%s could not be looked at again: %s', found.path, err)
        return None

    # -- what a subclass may do otherwise --------------------------------------------------

    def _addition(self, spec: VolumeSpec,
                  found: host.VolumeFile) -> mappings.AddMapping:
        return plans.addition(spec, found, self.settings)

    def _removal(self, spec: VolumeSpec,
                 info: DeviceInfo) -> mappings.RemoveMapping:
        return plans.removal(
            spec, info, self.settings, find=lambda: self._find(spec, attempts=1),
            resolve=lambda paths: host.resolved_paths(paths, prober=self._prober))

    def _writer(self, partition: ManagementPartition) -> Committer:
        return self._client.committer(partition.uuid)

    def _find(self, spec: VolumeSpec,
              attempts: int | None = None) -> host.VolumeFile:
        return host.find(spec, self.settings, prober=self._prober,
                                attempts=attempts or self.device_scan_attempts)

    # --------------------------------------------------------------------------------------

    def _parse(self, connection_properties: Any, need_lpar: bool = True) -> VolumeSpec:
        return parse(connection_properties, lpar_uuid=self.lpar_uuid,
                                default_backstore=self.settings.backstore, need_lpar=need_lpar)

    @contextlib.contextmanager
    def _about(self, doing: str, connection_properties: Any,
               info: DeviceInfo = _NOTHING_KNOWN) -> Iterator[None]:
        """Tell our errors what was being done, to which volume of which LPAR."""
        try:
            yield
        except exceptions.FileIOConnectorError as err:
            lpar_uuid = info.lpar_uuid or self.lpar_uuid
            spec = parse_leniently(connection_properties,
                                              lpar_uuid=lpar_uuid or '(unknown)')
            if spec.volume_id is None:
                spec = dataclasses.replace(spec, volume_id=info.volume_id)
            err.add_context(doing=doing.format(spec), volume=spec.label, lpar=spec.lpar_uuid)
            raise

    def _deadline(self) -> Deadline:
        return Deadline(self.settings.rest_timeout_s)


def _extensible(spec: VolumeSpec, found: host.VolumeFile,
                record: mappings.MappingRecord | None) -> str:
    """Return the UDID of a disk whose new size a rescan can show.

    :raises ExtendFailed: not attached, served by ``user:qcow``, or smaller than before
    """
    if record is None or record.udid is None:
        raise exceptions.ExtendFailed(
            path=found.path, reason=f'{found.path} is not mapped to the LPAR',
            remedy='Attach it first.')
    if QCOW in (record.backstore, spec.backstore):
        raise exceptions.ExtendFailed(
            path=found.path, reason=f'{found.path} is served through user:qcow, which NovaLink '
            'cannot rescan', remedy='Detach and attach the volume to see its new size.')
    if record.is_larger_than(found.size):
        raise exceptions.ExtendFailed(
            path=found.path, reason=f'{found.path} has {found.size} bytes, but the LPAR already '
            f'sees {record.capacity_gb} GB, and a disk in use is never shrunk',
            remedy='Find out what made the file smaller.')
    return record.udid
