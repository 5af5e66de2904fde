# SPDX-License-Identifier: Apache-2.0
"""What the feed of a FeedTask shows of one LPAR's disks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from collections.abc import Iterable
from typing import Any
from typing import TypeVar

from powervm_fileio_connector import mappings
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.mappings import MappingTable
from powervm_fileio_connector.novalink.committer import Committer

T = TypeVar('T')


class LPARFeed:
    """One LPAR's mappings in the feed of a FeedTask, which may be old until the task has run.

    :param committer: the management partition's
    """

    def __init__(self, feed_task: Any, committer: Committer, lpar_uuid: str) -> None:
        self._feed_task, self._committer, self._lpar_uuid = feed_task, committer, lpar_uuid

    def find(self, paths: Iterable[str], tag: str | None, deadline: Any) -> MappingRecord | None:
        """Return the mapping of a file, by path or else by tag; None: it shows none.

        :raises FileIOConnectorError: the tag fits several files, or NovaLink does not answer
        """
        paths = tuple(paths)
        return self._ask(lambda table: mappings.find(table, self._lpar_uuid, paths, tag), deadline)

    def attached(self, deadline: Any) -> list[MappingRecord] | None:
        """Return all mappings; None: the task has no management partition.

        :raises NovaLinkUnavailable: the server does not answer
        """
        return self._ask(lambda table: mappings.attached_to(table, self._lpar_uuid), deadline)

    def _ask(self, question: Callable[[MappingTable], T], deadline: Any) -> T | None:
        for vios_w in self._feed_task.feed:
            if vios_w.uuid.upper() == self._committer.vios_uuid.upper():
                table = MappingTable(vios_w)
                # Mappings of files need not name their LPAR, other than by its id.
                return self._committer.with_lpar_ids(
                    table, deadline, functools.partial(question, table))
        return None
