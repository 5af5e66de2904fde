# SPDX-License-Identifier: Apache-2.0
"""Edits that keep an instance's slot map: which slot and LUA each of its disks has, by UDID.

nova-powervm saves the map, and asks it for the same slots when it rebuilds the instance. It takes
what it registers from a pypowervm wrapper: here, of the mapping that the server shows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import mappings
from powervm_fileio_connector.mappings import edit as edits
from powervm_fileio_connector.mappings.table import MappingTable


@dataclasses.dataclass(frozen=True)
class AddMapping(mappings.AddMapping):
    """Map a file, and note slot and LUA in the slot map.

    :ivar slot_mgr: nova-powervm's slot manager of the instance
    """

    slot_mgr: Any = None

    def result(self, document: MappingTable, change: edits.Change) -> mappings.MappingRecord:
        """Return the mapping as the server shows it, once it is noted."""
        record = super().result(document, change)
        for mapping in document.of_paths(self.paths):
            if mapping.record == record:
                self.slot_mgr.register_vscsi_mapping(document.wrap(mapping))
        return record


@dataclasses.dataclass(frozen=True)
class RemoveMapping(mappings.RemoveMapping):
    """Remove a file's mappings, and take their slots and LUAs out of the slot map.

    :ivar slot_mgr: nova-powervm's slot manager of the instance
    """

    slot_mgr: Any = None
    _removed: list[Any] = dataclasses.field(
        default_factory=list, init=False, compare=False, repr=False)

    def apply(self, document: MappingTable, may_defer: bool = True) -> edits.Change:
        """Remove the mappings, and remember them until the server's answer is there."""
        mine = (*document.of_lpar(self.lpar_uuid), *document.without_link())
        change = super().apply(document, may_defer)
        removed = [document.wrap(mapping) for mapping in mine if mapping.is_removed]
        # After an answer that was lost there is nothing left to remove, but what was sent counts.
        self._removed[:] = removed or self._removed
        return change

    def result(self, document: MappingTable,
               change: edits.Change) -> tuple[mappings.MappingRecord, ...]:
        """Return the mappings that are gone, once they are out of the slot map."""
        records = super().result(document, change)
        for mapping_w in self._removed:
            self.slot_mgr.drop_vscsi_mapping(mapping_w)
        return records


class Deferred:
    """An edit in a transaction that others run, whose errors arrive as Nova's.

    :param as_nova: makes a context that turns our errors into Nova's
    """

    def __init__(self, edit: mappings.AddMapping | mappings.RemoveMapping,
                 as_nova: Callable[[], AbstractContextManager[None]]) -> None:
        self._edit = edit
        self._as_nova = as_nova

    def apply(self, document: MappingTable, may_defer: bool = True) -> edits.Change:
        """Apply the edit; may be repeated."""
        with self._as_nova():
            return self._edit.apply(document, may_defer)

    def result(self, document: MappingTable, change: edits.Change) -> Any:
        """Read from the server's answer what came of it."""
        with self._as_nova():
            try:
                return self._edit.result(document, change)
            except edits.NotConfirmed as err:
                raise exceptions.MappingFailed(reason=str(err)) from err
