# SPDX-License-Identifier: Apache-2.0
"""FileIOConnector: os-brick's methods, each of them a plan that is made and carried out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

from os_brick import initiator
from os_brick.initiator.connectors import base
from oslo_config import cfg
from oslo_log import log as logging

from powervm_fileio_connector import conf as conf_module
from powervm_fileio_connector import exceptions
from powervm_fileio_connector import host
from powervm_fileio_connector import plans
from powervm_fileio_connector.attachments import Attachments
from powervm_fileio_connector.connection_properties import parse
from powervm_fileio_connector.connection_properties import parse_leniently
from powervm_fileio_connector.host.probe import Prober
from powervm_fileio_connector.novalink import client_for
from powervm_fileio_connector.volume import DeviceInfo
from powervm_fileio_connector.volume import VolumeSpec

if TYPE_CHECKING:
    from pypowervm import adapter as pvm_adapter

LOG = logging.getLogger(__name__)

_FIND = 'find volume {0.label}'


class FileIOConnector(base.BaseLinuxConnector):
    """Gives LPARs disks that are files on a file system mounted on the NovaLink partition.

    Safe to use from several threads. Nothing is mounted, unmounted or written, ever.

    :param root_helper: command prefix for probes of a share that are denied to this user
    :param driver: as os-brick's connectors take it; not used
    :param execute: replaces os-brick's executor for what needs ``root_helper``
    :param use_multipath: as os-brick's connectors take it; a file has one path
    :param device_scan_attempts: how often a file that may yet appear is looked for
    :param adapter: ``pypowervm.adapter.Adapter``; None is the session of this process, opened at
        first use from the options ``[powervm_fileio] novalink_*``
    :param lpar_uuid: the client LPAR, where ``connection_properties`` name none
    :param conf: ``oslo_config.cfg.ConfigOpts``; None is the global one
    """

    def __init__(self, root_helper: str, driver: Any = None,
                 execute: Callable[..., tuple[str, str]] | None = None,
                 use_multipath: bool = False,
                 device_scan_attempts: int = initiator.DEVICE_SCAN_ATTEMPTS_DEFAULT,
                 adapter: pvm_adapter.Adapter | None = None, lpar_uuid: str | None = None,
                 conf: cfg.ConfigOpts | None = None, *args: Any, **kwargs: Any) -> None:
        self.settings = conf_module.read(conf)
        self._prober = Prober(self.settings.probe_timeout_s, execute=self._execute)
        super().__init__(root_helper, driver=driver, execute=execute,
                         device_scan_attempts=device_scan_attempts)
        self.use_multipath = use_multipath
        self.lpar_uuid = lpar_uuid
        self._attachments = Attachments(self.settings, self._prober,
                                        client_for(self.settings, adapter),
                                        attempts=device_scan_attempts)

    @property
    def checks_host(self) -> bool:
        """Whether NovaLink's management partition must be this host.

        True; set it to False for a simulator on a Power host, which simulates another partition.
        """
        return self._attachments.client.checks_host

    @checks_host.setter
    def checks_host(self, is_checked: bool) -> None:
        self._attachments.client.checks_host = is_checked

    @staticmethod
    def get_connector_properties(root_helper: str, *args: Any, **kwargs: Any) -> dict:
        """Return what Cinder needs to know of this host to serve it files: nothing."""
        return {}

    def set_execute(self, execute: Callable[..., tuple[str, str]]) -> None:
        """Use another executor, here and in the parts that os-brick's base class holds."""
        super().set_execute(execute)
        self._linuxscsi.set_execute(execute)

    def set_root_helper(self, helper: str) -> None:
        """Use another root helper, here and in the parts that os-brick's base class holds."""
        super().set_root_helper(helper)
        self._linuxscsi.set_root_helper(helper)
        self._prober.root_helper = helper

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
        spec = self._parse(plans.ATTACH, connection_properties)
        info: DeviceInfo = self._attachments.carry_out(self._attachments.plan_attach(spec))
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
        :raises InvalidConnectionProperties: nothing tells which volume is meant, or which LPAR
        :raises MappingFailed: it cannot be told which mapping is the volume's, or NovaLink refused
        """
        try:
            info = DeviceInfo.parse(device_info)
            spec = self._parse_leniently(connection_properties, info)
            self._attachments.carry_out(self._attachments.plan_detach(spec, info))
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
        return self._attachments.extend(self._parse(plans.EXTEND, connection_properties))

    def get_volume_paths(self, connection_properties: dict[str, Any]) -> list[str]:
        """Return the path of the volume's file, in a list that is empty where there is none.

        Nothing is mounted or changed for it.

        :raises MountNotResponding: the mount did not answer, so nothing is known
        """
        spec = self._parse(_FIND, connection_properties, need_lpar=False)
        try:
            with plans.error_context(_FIND, spec):
                return [self._find(spec).path]
        except (exceptions.VolumeFileNotFound, exceptions.ShareNotMounted) as err:
            LOG.debug('No path for volume %s: %s', spec.label, err)
            return []

    def check_valid_device(self, path: str, run_as_root: bool = True) -> bool:
        """Return whether a path is a file that could be attached; nothing is read from it."""
        try:
            self._find(self._parse(_FIND, {'path': path}, need_lpar=False))
        except exceptions.FileIOConnectorError as err:
            LOG.debug('%s is not a valid device: %s', path, err)
            return False
        return True

    def get_search_path(self) -> str:
        """Return the first directory below which exports are looked for."""
        return self.settings.mount_point_base[0]

    def get_all_available_volumes(
            self, connection_properties: dict[str, Any] | None = None) -> list[str]:
        """Return the files on the mounts of the volume's export, or below the search paths.

        A mount that does not answer in time is left out, with a warning, and so is what lies on the
        root file system, unless the deployer trusts its directory.
        """
        spec = None
        if connection_properties is not None:
            spec = self._parse(_FIND, connection_properties, need_lpar=False)
        return host.list_files(spec, self.settings, prober=self._prober)

    def _parse(self, doing: str, connection_properties: Any, need_lpar: bool = True) -> VolumeSpec:
        try:
            return parse(connection_properties, lpar_uuid=self.lpar_uuid,
                         default_backstore=self.settings.backstore, need_lpar=need_lpar)
        except exceptions.FileIOConnectorError:
            known = parse_leniently(connection_properties, lpar_uuid=self.lpar_uuid,
                                    need_lpar=False)
            with plans.error_context(doing, known):
                raise

    def _parse_leniently(self, connection_properties: Any, info: DeviceInfo) -> VolumeSpec:
        lpar_uuid = info.lpar_uuid or self.lpar_uuid
        try:
            return parse_leniently(connection_properties, lpar_uuid=lpar_uuid)
        except exceptions.FileIOConnectorError:
            known = parse_leniently(connection_properties, need_lpar=False)
            with plans.error_context(plans.DETACH, known):
                raise

    def _find(self, spec: VolumeSpec) -> host.VolumeFile:
        return host.find(spec, self.settings, prober=self._prober)
