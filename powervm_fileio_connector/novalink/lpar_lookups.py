# SPDX-License-Identifier: Apache-2.0
"""What the edits of a batch ask the server about their LPARs, and how long they may take for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.deadline import TimeBudget
from powervm_fileio_connector.mappings import MappingTable
from powervm_fileio_connector.novalink import failures
from powervm_fileio_connector.novalink.documents import with_lpar_ids
from powervm_fileio_connector.novalink.failures import FailureKind
from powervm_fileio_connector.novalink.failures import RequestFailed
from powervm_fileio_connector.novalink.partitions import LOOKUP_S
from powervm_fileio_connector.novalink.pending import PendingEdit
from powervm_fileio_connector.novalink.rest import Rest

_LEAST_LOOKUP_S = 1.0
"""How long the look-up of the LPAR of one edit of many may take."""

_MOST_LOOKUP_S = 20.0
"""How long that of an edit that is tried again, alone, may take; others wait for it."""


class NotLookedUp(Exception):
    """What an edit needs to know of its LPAR was not asked for: a later batch does."""


class LPARLookups:
    """The look-ups of one batch, which take no more time together than they may.

    :param count: how many edits the batch has
    """

    def __init__(self, rest: Rest, deadline: Deadline, count: int) -> None:
        self._rest = rest
        self._deadline = deadline
        self._count = count
        self._budget = TimeBudget(_MOST_LOOKUP_S if count == 1 else LOOKUP_S)

    def with_lpar_ids(self, table: MappingTable, pending: PendingEdit,
                      call: Callable[[], Any]) -> Any:
        """Call something that may need to know of LPARs what the table does not tell.

        :raises NotLookedUp: the look-ups of other edits took all the time
        :raises RequestFailed: the server does not tell, or not soon
        """
        left_s = self._budget.left_s
        most_s = min(self._deadline.left(), pending.deadline.left(),
                     max(_LEAST_LOOKUP_S, LOOKUP_S / self._count, pending.lookup_s))
        try:
            with self._budget.spending(most_s) as deadline:
                return with_lpar_ids(table, self._rest, deadline, call, is_tried_once=True)
        except RequestFailed as err:
            if not left_s:
                raise NotLookedUp from err
            if err.kind is not FailureKind.LATE:
                raise
            # The others do not wait any longer, but this edit may.
            pending.lookup_s = min(_MOST_LOOKUP_S, 2 * max(most_s, LOOKUP_S))
            raise RequestFailed(FailureKind.BUSY, err.detail, is_read=True) from err


def put_off(pending: PendingEdit, err: RequestFailed) -> None:
    """Try one edit again later, alone: the look-up of its LPAR failed, and may fail again."""
    if err.kind in failures.REFUSED or err.kind is FailureKind.SESSION:
        pending.fail(failures.as_error(err))
        return
    pending.try_again(err)
    pending.batch_limit = 1
    # The others get as much time as it has taken from them.
    pending.due = max(pending.due, time.monotonic() + pending.lookup_s / 2)
