# SPDX-License-Identifier: Apache-2.0
"""An edit in a transaction (``FeedTask``) that nova-powervm runs later."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import Change
from powervm_fileio_connector.mappings import MappingTable
from powervm_fileio_connector.mappings import NotConfirmed
from powervm_fileio_connector.mappings import RemoveMapping


class DeferredEdit:
    """An edit whose errors arrive as Nova's, in the middle of somebody else's transaction.

    :param before: called before the edit is applied; an error of ours keeps it from being applied
    :param report: is given the result, once NovaLink's answer shows it
    :param as_nova: makes a context that turns our errors into Nova's
    """

    def __init__(self, edit: AddMapping | RemoveMapping, before: Callable[[], None],
                 report: Callable[[Any], None],
                 as_nova: Callable[[], AbstractContextManager[None]]) -> None:
        self._edit = edit
        self._before = before
        self._report = report
        self._as_nova = as_nova
        self.lpar_uuid = edit.lpar_uuid
        self.paths = edit.paths
        self.keys = edit.keys

    def apply(self, table: MappingTable, may_defer: bool = True) -> Change:
        """Apply the edit; may be repeated."""
        with self._as_nova():
            self._before()
            return self._edit.apply(table, may_defer)

    def result(self, table: MappingTable, change: Change) -> Any:
        """Return the edit's result, as NovaLink's answer shows it, and report it."""
        with self._as_nova():
            try:
                result = self._edit.result(table, change)
            except NotConfirmed as err:
                raise exceptions.MappingFailed(reason=str(err)) from err
            self._report(result)
            return result
