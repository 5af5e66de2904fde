# SPDX-License-Identifier: Apache-2.0
"""What is asked of Cinder: volumes, their attachments, and the few changes of them."""

from __future__ import annotations

import contextlib
import platform
import socket
import sys
import time
import urllib.parse
from typing import Any

from oslo_utils import uuidutils

from powervm_fileio_connector.cinder import errors
from powervm_fileio_connector.cinder import views
from powervm_fileio_connector.cinder.cloud import Cloud

_PAGE = 1000        # Cinder's own limit (osapi_max_limit), unless it is configured otherwise
_POLL_S = 0.5

# Drivers whose extend_volume refuses a volume that is attached; it would be left "error_extending".
_NEVER_EXTENDS_ATTACHED = ('quobyte',)
_GENERIC_VENDOR = 'Open Source'
_NEWEST = '3.71'
"""The newest microversion whose answers are known here."""


class BlockStorage:
    """Cinder of one cloud, as a host uses it.

    :param cloud: of clouds.yaml; None is the one that ``OS_*`` describe
    :param timeout_s: for all requests to the cloud together
    :param host: the name by which Cinder knows this host
    """

    def __init__(self, cloud: str | None, timeout_s: float, host: str) -> None:
        self.cloud = Cloud(cloud, timeout_s)
        self.host = host

    def find(self, text: str, doing: str) -> views.Volume:
        """Return the volume of an id or a name, in the project of the credentials.

        :param doing: to follow "Cannot" in errors
        :raises VolumeNotFound: there is none
        :raises AmbiguousVolume: several have the name
        :raises VolumeNotUsable: it is in another project
        """
        found = []
        if uuidutils.is_uuid_like(text):
            with contextlib.suppress(errors.ResourceGone):
                found = [self.cloud.ask(doing, lambda proxy: _as_sent(proxy.get_volume(text)))]
        if not found:
            found = [one for one in self.cloud.ask(doing, lambda proxy: _listed(
                proxy, 'volumes', name=text)) if one['name'] == text]
        if not found:
            raise errors.VolumeNotFound(
                f'Cannot {doing}: cloud {self.cloud.name} shows no volume {text}, by id or name, '
                'in the project of these credentials. Check "openstack volume list".')
        if len(found) > 1:
            raise errors.AmbiguousVolume(
                f'Cannot {doing}: {len(found)} volumes are named {text}: '
                + ', '.join(sorted(one['id'] for one in found)) + '. Give the id.')
        volume = views.volume_of(found[0])
        project = self.cloud.project_id
        if volume.project_id and project and volume.project_id != project:
            raise errors.VolumeNotUsable(
                f'Cannot {doing}: volume {volume.label} is in project {volume.project_id}, and '
                f'these credentials are for {project}. Use credentials for its project.')
        return volume

    def refreshed(self, volume: views.Volume) -> views.Volume:
        """Return a volume as it is now."""
        return views.volume_of(self.cloud.ask(
            f'read volume {volume.label}', lambda proxy: _as_sent(proxy.get_volume(volume.id))))

    def attachments_of(self, volume: views.Volume, *,
                       is_undo: bool = False) -> list[views.Attachment]:
        """Return the attachments of a volume, finished or not."""
        found = self.cloud.ask(
            f'read the attachments of volume {volume.label}',
            lambda proxy: _listed(proxy, 'attachments', volume_id=volume.id), is_undo=is_undo)
        return views.completed((views.attachment_of(one) for one in found
                                if one['volume_id'] == volume.id), [volume])

    def reserve(self, volume: views.Volume) -> views.Attachment:
        """Create an attachment without a connector: from now on the volume is nobody else's.

        :raises CinderRefused: the volume is not available
        """
        return views.attachment_of(self.cloud.ask(
            f'reserve volume {volume.label}',
            lambda proxy: _as_sent(proxy.create_attachment(volume.id))))

    def connect(self, attachment: views.Attachment, lpar_uuid: str) -> views.Attachment:
        """Tell Cinder the host and the LPAR of an attachment; it returns the connection_info."""
        connector = {
            'host': self.host, 'ip': self._own_ip(), 'multipath': False, 'do_local_attach': False,
            'os_type': sys.platform, 'platform': platform.machine(), 'mode': 'rw',
            'mountpoint': views.device(self.host, lpar_uuid)}
        return views.attachment_of(self.cloud.ask(
            f'connect attachment {attachment.id}',
            lambda proxy: _as_sent(
                proxy.update_attachment(attachment.id, connector=connector))))

    def complete(self, attachment: views.Attachment) -> None:
        """Tell Cinder that the volume is in use."""
        self.cloud.ask(f'complete attachment {attachment.id}',
                       lambda proxy: proxy.complete_attachment(attachment.id))

    def delete(self, attachment: views.Attachment, *, is_undo: bool = False) -> None:
        """Delete an attachment; one that is gone is success."""
        with contextlib.suppress(errors.ResourceGone):
            self.cloud.ask(f'delete attachment {attachment.id}',
                           lambda proxy: proxy.delete_attachment(
                               attachment.id, ignore_missing=False), is_undo=is_undo)

    def extend(self, volume: views.Volume, size_gb: int) -> views.Volume:
        """Have Cinder grow a volume that is attached, and wait until it has.

        :raises CinderRefused: it cannot; the volume may be in ``error_extending`` now
        """
        doing = f'extend volume {volume.label}'
        self.cloud.ask(doing, lambda proxy: proxy.extend_volume(volume.id, size_gb))
        while True:
            now = self.refreshed(volume)
            if now.status.startswith('error'):
                raise errors.CinderRefused(
                    f'Cannot {doing}: Cinder tried, and the volume is now {now.status}. Its driver '
                    'may not extend attached volumes. An administrator sets it back with '
                    f'"openstack volume set --state in-use {volume.id}"; its file and the disk '
                    'are as before.')
            if now.status != 'extending':
                if now.size_gb < size_gb:
                    raise errors.CinderRefused(
                        f'Cannot {doing}: Cinder gave it up; it still has {now.size_gb} GB. '
                        '"openstack volume message list" may say why.')
                return now
            time.sleep(_POLL_S)

    def refuses_extend(self, volume: views.Volume, protocol: str) -> str | None:
        """Say why a volume's driver cannot extend it while attached, as far as this is known.

        Only administrators are shown a back end's capabilities; for others this knows less.

        :param protocol: its ``driver_volume_type``
        """
        if protocol in _NEVER_EXTENDS_ATTACHED:
            return f'{protocol} drivers do not extend attached volumes'
        try:
            pools = self.cloud.ask('read the capabilities of the back ends',
                                   lambda proxy: list(proxy.backend_pools()))
        except errors.LogonRefused:
            return None
        capabilities: dict[str, Any] = next(
            (pool.capabilities or {} for pool in pools if pool.name == volume.backend), {})
        if capabilities.get('online_extend_support') is False:
            return f'back end {volume.backend} reports online_extend_support: False'
        # Cinder writes the driver's "nfs" as "NFS" here.
        if str(capabilities.get('storage_protocol')).lower() == 'nfs' and (
                capabilities.get('vendor_name') == _GENERIC_VENDOR):
            return "Cinder's generic NFS driver does not extend attached volumes"
        return None

    def everything(self, *, all_projects: bool,
                   ) -> tuple[dict[str, views.Volume], list[views.Attachment]]:
        """Return all volumes and all attachments, in pages, with no request for each.

        :raises LogonRefused: all projects were asked for, and only one may be seen
        """
        scope = {'all_tenants': True} if all_projects else {}
        doing = 'read the volumes and attachments'
        volumes = {one['id']: views.volume_of(one) for one in self.cloud.ask(
            doing, lambda proxy: _listed(proxy, 'volumes', **scope))}
        attachments = [views.attachment_of(one) for one in self.cloud.ask(
            doing, lambda proxy: _listed(proxy, 'attachments', **scope))]
        return volumes, views.completed(attachments, volumes.values())

    def _own_ip(self) -> str:
        """The address of this host from which Cinder is reached. Nothing is sent."""
        parts = urllib.parse.urlsplit(self.cloud.address or '')
        with contextlib.suppress(OSError):
            family, *_, where = socket.getaddrinfo(parts.hostname, parts.port or 80,
                                                   type=socket.SOCK_DGRAM)[0]
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(where)
                return probe.getsockname()[0]
        return ''


def _as_sent(resource: Any) -> dict[str, Any]:
    """A resource of openstacksdk with the names of the API."""
    return resource.to_dict(computed=False, headers=False, original_names=True)


def _listed(proxy: Any, kind: str, **query: Any) -> list[dict[str, Any]]:
    """Return a detailed list, page by page, as it was sent.

    openstacksdk's own lists take a millisecond of the processor for each entry. A page may be
    shorter than asked for, so that only an empty one is the end.
    """
    from openstack import exceptions
    from openstack import utils

    version = utils.maximum_supported_microversion(proxy, _NEWEST)
    found: list[dict[str, Any]] = []
    while True:
        marker = {'marker': found[-1]['id']} if found else {}
        response = proxy.get(f'/{kind}/detail', params={**query, **marker, 'limit': _PAGE},
                             microversion=version)
        exceptions.raise_from_response(response)
        page = response.json()[kind]
        if not page:
            return found
        found += page
