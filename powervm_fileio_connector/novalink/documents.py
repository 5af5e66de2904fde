# SPDX-License-Identifier: Apache-2.0
"""Reading and posting the document of one VIOS, with the group of its vSCSI mappings."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from typing import TypeVar

from pypowervm import const
from pypowervm.wrappers import virtual_io_server

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.mappings import LPARIdNeeded
from powervm_fileio_connector.mappings import LPARsNeeded
from powervm_fileio_connector.mappings import MappingSplitter
from powervm_fileio_connector.mappings import MappingTable
from powervm_fileio_connector.novalink import failures
from powervm_fileio_connector.novalink import partitions
from powervm_fileio_connector.novalink import retry
from powervm_fileio_connector.novalink.failures import FailureKind
from powervm_fileio_connector.novalink.failures import RequestFailed
from powervm_fileio_connector.novalink.rest import Rest

GROUP = [const.XAG.VIO_SMAP]
"""What is read and posted of the VIOS: one and the same, since each group has its own etag."""

_VIOS = virtual_io_server.VIOS
_T = TypeVar('_T')


class VIOSDocuments:
    """Reads and posts the document of one VIOS as tables of its mappings; each makes one try."""

    def __init__(self, rest: Rest, vios_uuid: str) -> None:
        self.rest = rest
        self.vios_uuid = vios_uuid

    def read(self, deadline: Deadline, known: MappingTable | None = None) -> MappingTable:
        """Read the document, or find that the one that is known has not changed.

        :raises RequestFailed: the server does not tell
        """
        as_of, splitter = time.monotonic(), MappingSplitter()
        etag = known.vios_w.etag if known is not None and not known.is_edited else None
        response = self.rest.request(
            deadline, 'read', _VIOS.schema_type, root_id=self.vios_uuid, xag=GROUP, etag=etag,
            on_answer=splitter)
        if response.status == const.HTTPStatus.NO_CHANGE and known is not None:
            known.as_of = as_of
            return known
        return self._table_read(response, as_of, splitter, deadline)

    def read_whole(self, deadline: Deadline) -> MappingTable:
        """Read the document, again while the server is busy, with all mappings in the wrapper.

        :raises RequestFailed: the server does not tell
        """
        as_of = time.monotonic()
        response = self.rest.read(deadline, _VIOS.schema_type, root_id=self.vios_uuid, xag=GROUP)
        return self._table_read(response, as_of, None, deadline)

    def post(self, body: bytes, etag: str, deadline: Deadline) -> MappingTable | None:
        """Send a document; return the one that the server answers with, None: it shows none.

        :raises RequestFailed: sorted by what it means
        """
        if deadline.left() < min(retry.LEAST_S, deadline.seconds / 2):
            raise RequestFailed(FailureKind.BUSY, 'the change was not sent, since no time was left '
                                'for its answer')
        as_of, splitter = time.monotonic(), MappingSplitter()
        # wrapper.update() posts to the link that the document calls its own, which need not name
        # the group, and the etag is that of the group.
        response = self.rest.request(
            deadline, 'update', body, etag, _VIOS.schema_type, root_id=self.vios_uuid, xag=GROUP,
            on_answer=splitter)
        element = response.entry.element if response.entry is not None else None
        if element is None or not shows_mappings(element):
            return None
        table = _table(response, as_of, splitter)
        table.is_answer = True
        return table

    def _table_read(self, response: Any, as_of: float, splitter: MappingSplitter | None,
                    deadline: Deadline) -> MappingTable:
        """Return the table of an answer; make sure that a VIOS which shows no mappings has none.

        Without them, the table, posted, would remove those of all LPARs.

        :raises RequestFailed: the VIOS has some, or the server does not tell
        """
        failures.require_entry(response, _VIOS.schema_type)
        if not shows_mappings(response.entry.element):
            # All groups, by the server's own choice.
            whole = self.rest.request(deadline, 'read', _VIOS.schema_type, root_id=self.vios_uuid,
                                      xag=[])
            failures.require_entry(whole, _VIOS.schema_type)
            if shows_mappings(whole.entry.element):
                raise RequestFailed(FailureKind.LOST, 'the answer lacks the SCSI mappings, which '
                                    'the VIOS shows otherwise', is_read=True)
        return _table(response, as_of, splitter)


def with_lpar_ids(table: MappingTable, rest: Rest, deadline: Deadline, call: Callable[[], _T],
                  is_tried_once: bool = False) -> _T:
    """Call something that may need to know of LPARs what the table does not tell.

    What the server tells is noted in the table, and lives no longer: ids are reused.

    :raises RequestFailed: the server does not tell
    """
    while True:
        try:
            return call()
        except LPARIdNeeded as need:
            lpar_id = None
            try:
                lpar_id = partitions.lpar(rest, need.lpar_uuid, deadline, is_tried_once).id
                if lpar_id is None:
                    raise RequestFailed(FailureKind.LOST, 'the answer does not tell the id of LPAR '
                                        f'{need.lpar_uuid}', is_read=True)
            except RequestFailed as err:
                # None: no mapping is this LPAR's; the server will say so if one is added.
                if err.kind is not FailureKind.MISSING:
                    raise
            table.lpar_ids[need.lpar_uuid.upper()] = lpar_id
        except LPARsNeeded:
            table.lpars = {lpar.uuid.upper(): lpar.id for lpar in partitions.lpars(rest, deadline)}


def shows_mappings(element: Any) -> bool:
    """Whether the element of a VIOS has a list of its mappings, be it empty."""
    return element.find('VirtualSCSIMappings') is not None


def _table(response: Any, as_of: float, splitter: MappingSplitter | None) -> MappingTable:
    # The etag is usually a header, in any case an element of the entry.
    table = MappingTable(_VIOS.wrap(response.entry, etag=response.etag or response.entry.etag),
                         splitter=splitter)
    table.as_of = as_of
    return table
