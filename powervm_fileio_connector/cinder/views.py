# SPDX-License-Identifier: Apache-2.0
"""Volumes and attachments as Cinder's API shows them: plain values.

The two belong together. The list of attachments has ``connection_info`` and unfinished attachments,
but no host. A volume lists its finished attachments with ``host_name``, for administrators alone,
and ``device``, which is the ``mountpoint`` of the connector. So ``device`` is where an attachment
says which host and LPAR it was made for.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Any

_MARK = 'powervm-fileio'
_DEVICE = re.compile(f'{_MARK}:(?P<host>.+):(?P<lpar>[0-9A-Fa-f-]{{36}})')


@dataclasses.dataclass(frozen=True)
class Attachment:
    """One attachment of a volume.

    :ivar status: reserved, attaching, attached, detaching or an error
    :ivar instance: of Nova, to which the attachment belongs
    :ivar host: as the connector named it; None where Cinder does not show it
    :ivar lpar_uuid: of an attachment that this package has finished
    :ivar connection_info: the flat form; may hold a password
    """

    id: str
    volume_id: str
    status: str = 'attached'
    instance: str | None = None
    host: str | None = None
    lpar_uuid: str | None = None
    connection_info: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def is_finished(self) -> bool:
        """Whether its host has the volume, as far as Cinder knows."""
        return self.status == 'attached'

    @property
    def shown(self) -> str:
        """The attachment in words, for messages."""
        if not self.is_finished:
            return f'has the unfinished attachment {self.id} ({self.status})'
        to = [f'instance {self.instance}'] if self.instance else []
        to += [f'LPAR {self.lpar_uuid}'] if self.lpar_uuid else []
        to += [f'host {self.host}'] if self.host else []
        return 'is attached to ' + (' of '.join(to) or f'a host that Cinder does not show '
                                                       f'(attachment {self.id})')


@dataclasses.dataclass(frozen=True)
class Volume:
    """One volume.

    :ivar project_id: None where Cinder does not show it
    :ivar backend: ``host@backend#pool``, which Cinder shows to administrators
    :ivar finished: its finished attachments, without ``connection_info``
    """

    id: str
    name: str
    status: str
    size_gb: int
    is_multiattach: bool = False
    project_id: str | None = None
    backend: str | None = None
    updated_at: str | None = None
    finished: tuple[Attachment, ...] = ()

    @property
    def label(self) -> str:
        """What the volume is called in messages."""
        return f'{self.name} ({self.id})' if self.name else self.id


def device(host: str, lpar_uuid: str) -> str:
    """Return the ``mountpoint`` by which an attachment is known to be of a host and an LPAR."""
    return f'{_MARK}:{host}:{lpar_uuid}'


def volume_of(shown: dict[str, Any]) -> Volume:
    """Take what is needed of a volume of the API."""
    return Volume(
        id=shown['id'], name=shown.get('name') or '', status=shown['status'],
        size_gb=shown['size'] or 0, is_multiattach=bool(shown.get('multiattach')),
        project_id=shown.get('os-vol-tenant-attr:tenant_id'),
        backend=shown.get('os-vol-host-attr:host'), updated_at=shown.get('updated_at'),
        finished=tuple(_finished(entry) for entry in shown.get('attachments') or ()))


def attachment_of(shown: dict[str, Any]) -> Attachment:
    """Take what is needed of an attachment of the API."""
    return Attachment(id=shown['id'], volume_id=shown['volume_id'],
                      status=shown.get('status') or '', instance=shown.get('instance') or None,
                      connection_info=dict(shown.get('connection_info') or {}))


def completed(attachments: Iterable[Attachment], volumes: Iterable[Volume]) -> list[Attachment]:
    """Return attachments with the host and the LPAR that their volumes show."""
    known = {entry.id: entry for volume in volumes for entry in volume.finished}
    return [dataclasses.replace(one, host=known[one.id].host, lpar_uuid=known[one.id].lpar_uuid)
            if one.id in known else one for one in attachments]


def _finished(entry: dict[str, Any]) -> Attachment:
    marked = _DEVICE.fullmatch(entry.get('device') or '')
    return Attachment(
        id=entry['attachment_id'], volume_id=entry.get('volume_id') or '',
        instance=entry.get('server_id') or None,
        host=entry.get('host_name') or (marked['host'] if marked else None),
        lpar_uuid=marked['lpar'].upper() if marked else None)
