# SPDX-License-Identifier: Apache-2.0
"""``--dry-run``: what attaching or detaching would change, found by the very same steps."""

from __future__ import annotations

from typing import Any

from powervm_fileio_connector import connector
from powervm_fileio_connector import mappings
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.mappings.edit import Edit
from powervm_fileio_connector.mappings.edit import Outcome
from powervm_fileio_connector.novalink import Committer
from powervm_fileio_connector.novalink import ManagementPartition

COLUMNS = ('Edit', 'LPAR', 'Slot', 'LUA', 'Path', 'Backstore', 'Tag')

Row = tuple[Any, ...]


class NotSent(Exception):
    """The edit was not sent; here is what it would have changed."""

    def __init__(self, rows: list[Row]) -> None:
        super().__init__()
        self.rows = rows


class PreviewConnector(connector.FileIOConnector):
    """Takes every step of a connector but for the last: edits are shown instead of sent."""

    def _writer(self, partition: ManagementPartition) -> Any:
        return _Preview(super()._writer(partition))


class _Preview:
    """In the place of a writer: applies an edit to a document of its own, and says what it did."""

    def __init__(self, real: Committer) -> None:
        self._real = real

    def submit(self, edit: Edit, deadline: Deadline) -> Any:
        change, before, after = self._real.try_out(edit, deadline)
        if change.outcome is Outcome.UNCHANGED:
            raise NotSent([_row('none', edit.lpar_uuid, record) for record in change.records]
                          or [('none', edit.lpar_uuid, None, None, None, None, None)])
        raise NotSent(
            [_row('remove', None, record) for record in before if record not in after]
            + [_row('add', edit.lpar_uuid, record) for record in after if record not in before])


def _row(act: str, lpar_uuid: str | None, record: mappings.MappingRecord) -> Row:
    return (act, record.lpar_uuid or lpar_uuid, record.slot, record.lua, record.path,
            record.backstore, record.tag)
