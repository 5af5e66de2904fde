# SPDX-License-Identifier: Apache-2.0
"""Where NovaLink is tried: files of our own, an LPAR that may be used, and recorded requests.

All files are below one new directory, and so are all paths that are mapped: what this leaves is
told from everything else by that.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import shutil
import time
import uuid
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from lxml import etree
from pypowervm.wrappers import storage
from pypowervm.wrappers import virtual_io_server

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.attachments import Attachments
from powervm_fileio_connector.cli.context import doing
from powervm_fileio_connector.cli.errors import LOG
from powervm_fileio_connector.cli.errors import UsageError
from powervm_fileio_connector.cli.qualification.lines import Finding
from powervm_fileio_connector.cli.qualification.lines import not_tried
from powervm_fileio_connector.connection_properties import parse
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.mappings import MappingEntry
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.mappings import MappingTable
from powervm_fileio_connector.mappings import normalised
from powervm_fileio_connector.novalink import Client
from powervm_fileio_connector.novalink import LparInfo
from powervm_fileio_connector.novalink import ManagementPartition
from powervm_fileio_connector.novalink import exchange
from powervm_fileio_connector.volume import DeviceInfo

MIB = 1 << 20
GROUP = 'ViosSCSIMapping'
_UOM = '/rest/api/uom'
_TYPE = 'application/vnd.ibm.powervm.uom+xml; type=VirtualIOServer'
_CLEAN_UP_S = 120.0
_PAUSE_S = 0.5


@dataclasses.dataclass(frozen=True)
class Exchange:
    """One recorded request and its answer."""

    method: str
    path: str
    request: bytes
    status: int
    answer: bytes
    took_s: float
    etag: str | None = None


class Site:
    """A NovaLink, an LPAR that may be used, and files that may be mapped to it.

    :ivar exchanges: the requests that were sent as they are, and not by the connector
    :ivar first: the disk that was attached first
    """

    def __init__(self, attachments: Attachments, partition: ManagementPartition, lpar: LparInfo,
                 parent: str) -> None:
        self.attachments = attachments
        self.client: Client = attachments.client
        self.partition = partition
        self.lpar = lpar
        self.directory = os.path.join(parent, f'powervm-fileio-qualify-{uuid.uuid4().hex[:12]}')
        self.exchanges: list[Exchange] = []
        self.first: DeviceInfo | None = None

    def deadline(self) -> Deadline:
        """Return the time that one request may take."""
        return Deadline(self.attachments.settings.rest_timeout_s)

    # -- files ---------------------------------------------------------------------------------

    def make_directory(self) -> None:
        """Make the directory of all files, in which this host must be ready to serve one.

        :raises UsageError: nothing can be made there
        :raises FileIOConnectorError: no file there may be attached, whatever NovaLink says
        """
        parent = os.path.dirname(self.directory)
        try:
            os.mkdir(self.directory, 0o755)
            path = self.make_file('served')
        except OSError as err:
            raise UsageError(f'Nothing can be made in --directory {parent}: {err.strerror}.'
                             ) from err
        with doing(f'attach files of {parent}'):
            self.attachments.find(parse({'driver_volume_type': 'file', 'path': path},
                                        need_lpar=False))

    def make_file(self, name: str, size: int = MIB) -> str:
        """Make a new file of zeros, in a directory that is made if need be."""
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY, 0o600)
        try:
            os.ftruncate(descriptor, size)
        finally:
            os.close(descriptor)
        return path

    # -- attaching -----------------------------------------------------------------------------

    def attach(self, path: str, **more: Any) -> DeviceInfo:
        """Attach a file by the connector's own steps."""
        spec = parse({'driver_volume_type': 'file', 'path': path, **more},
                     lpar_uuid=self.lpar.uuid,
                     default_backstore=self.attachments.settings.backstore)
        info: DeviceInfo = self.attachments.carry_out(self.attachments.plan_attach(spec))
        return info

    def detach(self, info: DeviceInfo) -> tuple[MappingRecord, ...]:
        """Detach a disk by the connector's own steps."""
        spec = parse({'driver_volume_type': 'file', 'path': info.path}, lpar_uuid=self.lpar.uuid)
        removed: tuple[MappingRecord, ...] = self.attachments.carry_out(
            self.attachments.plan_detach(spec, info))
        return removed

    def extend(self, path: str) -> int:
        """Have NovaLink find out the size of an attached file."""
        return self.attachments.extend(parse({'driver_volume_type': 'file', 'path': path},
                                             lpar_uuid=self.lpar.uuid))

    # -- requests ------------------------------------------------------------------------------

    def vios_path(self, suffix: str = '', group: str | None = GROUP) -> str:
        """Return the address of the VIOS, or of something below it."""
        query = f'?group={group}' if group else ''
        return f'{_UOM}/VirtualIOServer/{self.partition.uuid}{suffix}{query}'

    def get(self, path: str, is_logged_on: bool = True,
            headers: dict[str, str] | None = None) -> Exchange:
        """Send a GET as it is."""
        accept = 'application/json' if '/quick/' in path else 'application/atom+xml'
        return self._send('GET', path, b'', {'Accept': accept, **(headers or {})}, is_logged_on)

    def post(self, body: bytes, etag: str | None, deadline: Deadline | None = None) -> Exchange:
        """Send a VIOS document as it is."""
        headers = {'Accept': 'application/atom+xml; charset=UTF-8', 'Content-Type': _TYPE}
        if etag is not None:
            headers['If-Match'] = etag
        return self._send('POST', self.vios_path(), body, headers, deadline=deadline)

    def table(self) -> MappingTable:
        """Read the mappings."""
        return self.client.committer(self.partition.uuid).read_table(self.deadline())

    def post_new(self, *wishes: dict[str, Any]) -> Exchange:
        """Add mappings without any check of our own, in one request.

        :param wishes: of each: path, and lpar_uuid, slot, lua, backstore, or the mapping ``bus``
            whose adapters are to be used
        """
        table = self.table()
        for wish in wishes:
            table.append(self.mapping(table, **wish))
        return self.post(table.body(), table.vios_w.etag)

    def mapping(self, table: MappingTable, path: str, lpar_uuid: str | None = None,
                slot: int | None = None, lua: str | None = None, backstore: str = 'loop',
                bus: MappingEntry | None = None) -> Any:
        """Return a new mapping of a file, built without any check."""
        adapter = table.vios_w.adapter
        file = storage.FileIO.bld_ref(adapter, path, backstore_type=backstore)
        if bus is not None:
            return virtual_io_server.VSCSIMapping.bld_from_existing(table.wrap(bus), file, lua=lua)
        return virtual_io_server.VSCSIMapping.bld(
            adapter, None, lpar_uuid or self.lpar.uuid, file, lpar_slot_num=slot, lua=lua)

    def own(self, table: MappingTable | None = None) -> list[MappingEntry]:
        """Return the mappings of files below our directory."""
        return [entry for entry in (table or self.table()).entries() if entry.record.path
                and normalised(entry.record.path).startswith(self.directory + '/')]

    def entry_of(self, path: str | None) -> MappingEntry | None:
        """Return the mapping of one of our files, as it is shown now."""
        return next((entry for entry in self.own() if entry.record.path == path), None)

    def others(self) -> list[bytes]:
        """Return all other mappings, as canonical XML."""
        table = self.table()
        own = self.own(table)
        return [etree.tostring(entry.element, method='c14n') for entry in table.entries()
                if entry not in own]

    # -- cleaning up ---------------------------------------------------------------------------

    def clean_up(self) -> list[str]:
        """Remove what this made, mappings first; return what remains, which is logged, too."""
        remaining = self._remove_mappings()
        if not remaining:
            shutil.rmtree(self.directory, ignore_errors=True)
            if os.path.lexists(self.directory):
                remaining.append(self.directory)
        if remaining:
            # Here, since the error or signal that ends a qualification hides what it returns.
            LOG.error('Not removed: %s.', ', '.join(remaining))
        return remaining

    def _remove_mappings(self) -> list[str]:
        """Remove the mappings of our files, whichever answer is lost; return those that remain."""
        until = Deadline(_CLEAN_UP_S)
        remaining = [f'{self.directory} and the mappings of files in it']
        while True:
            try:
                table = self.table()
                own = self.own(table)
                remaining = [str(entry.record.path) for entry in own]
                if not own or until.has_passed:
                    return remaining
                for entry in own:
                    table.remove(entry)
                is_done = self.post(table.body(), table.vios_w.etag).status < 300
            except exceptions.FileIOConnectorError:     # the mappings cannot be read
                return remaining
            except exchange.RequestFailed:
                is_done = False
            self.client.committer(self.partition.uuid).forget()
            if not is_done:
                time.sleep(_PAUSE_S)

    def _send(self, method: str, path: str, body: bytes, headers: dict[str, str],
              is_logged_on: bool = True, deadline: Deadline | None = None) -> Exchange:
        session = self.client.adapter.session
        begun = time.monotonic()
        answer = exchange.send(session, method, path, headers, body, deadline or self.deadline(),
                               session._sessToken if is_logged_on else None)
        found = Exchange(method, path, body, answer.status, answer.body,
                         time.monotonic() - begun, answer.headers.get('etag'))
        self.exchanges.append(found)
        return found


@contextlib.contextmanager
def attached(site: Site, path: str, **more: Any) -> Iterator[DeviceInfo]:
    """Have a file attached in a ``with`` block."""
    info = site.attach(path, **more)
    try:
        yield info
    finally:
        site.detach(info)


def of_first(check: Callable[[Site, MappingRecord], Finding]) -> Callable[[Site], Finding]:
    """Have a check given the mapping of the disk that was attached first, as it is shown now."""
    @functools.wraps(check)
    def tried(site: Site) -> Finding:
        entry = None if site.first is None else site.entry_of(site.first.path)
        return not_tried('no disk was attached') if entry is None else check(site, entry.record)
    return tried
