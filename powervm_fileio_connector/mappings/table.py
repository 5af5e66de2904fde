# SPDX-License-Identifier: Apache-2.0
"""The vSCSI mappings of one VIOS document: found by path or LPAR, added and removed.

Nothing is sent. Other mappings keep their bytes and their order.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from pypowervm import const
from pypowervm.wrappers import virtual_io_server

from powervm_fileio_connector.mappings.record import MappingRecord
from powervm_fileio_connector.mappings.record import normalised
from powervm_fileio_connector.mappings.record import record_of

_MAPPING = f'{{{const.UOM_NS}}}VirtualSCSIMapping'


class MappingEntry:
    """One mapping of a table: its element, what that says, and whether it was taken out."""

    def __init__(self, element: Any, place: int | None = None) -> None:
        self.element = element
        self.place = place
        self.record = record_of(element)
        self.is_removed = False


class MappingTable:
    """The mappings of a pypowervm VIOS wrapper, which is edited in place.

    :ivar as_of: when the document was asked for (``time.monotonic``)
    :ivar lpar_ids: ids of LPARs by UUID, as far as they are known; None: there is no such LPAR
    :ivar new_buses: how many edits want the adapter pair that one of them makes
    """

    def __init__(self, vios_w: Any, lpar_ids: Mapping[str, int | None] | None = None) -> None:
        """:param vios_w: wrapper of the VIOS, read with the group of its vSCSI mappings"""
        self.vios_w = vios_w
        self.as_of = 0.0
        self.lpar_ids = dict(lpar_ids or {})
        self.is_edited = False
        self.new_buses: dict[tuple[str, int | None], int] = {}
        self.added: list[MappingEntry] = []
        self._section = vios_w.scsi_mappings.root_elem.element
        self._all: list[MappingEntry] | None = None

    def of_paths(self, paths: Collection[str]) -> list[MappingEntry]:
        """The mappings of these files, whoever they belong to, whatever the spelling."""
        wanted = {normalised(path) for path in paths}
        # A path that is spelled differently still has the same last component.
        names = {posixpath.basename(path) for path in wanted}
        return [entry for name in sorted(names) for entry in self._containing(f'/{name}')
                if entry.record.kind == 'file' and entry.record.path is not None
                and normalised(entry.record.path) in wanted
                and posixpath.basename(normalised(entry.record.path)) == name]

    def of_lpar(self, lpar_uuid: str) -> list[MappingEntry]:
        """The mappings that are linked to an LPAR; see also :meth:`without_link`."""
        wanted = lpar_uuid.upper()
        return [entry for entry in self._containing(wanted, wanted.lower())
                if entry.record.lpar_uuid == wanted]

    def without_link(self) -> list[MappingEntry]:
        """The mappings that have a client, but do not say which other than by its LPAR id."""
        return [entry for entry in self._unlinked() if entry.record.lpar_uuid is None
                and not entry.record.is_orphan and not entry.record.is_wild_card]

    def lpar_id(self, lpar_uuid: str) -> int | None:
        """The id of an LPAR, as mappings that show both tell it, or as ``lpar_ids`` does.

        An orphan's id says nothing: ids are given to new LPARs once their LPAR is gone.

        :raises KeyError: the document does not tell
        """
        uuid = lpar_uuid.upper()
        if uuid not in self.lpar_ids:
            for entry in self.of_lpar(uuid):
                if entry.record.slot is not None and entry.record.lpar_id is not None:
                    self.lpar_ids[uuid] = entry.record.lpar_id
                    break
        return self.lpar_ids[uuid]

    def wrap(self, entry: MappingEntry) -> Any:
        """pypowervm's wrapper of one mapping."""
        element = type(self.vios_w.element).wrapelement(entry.element, self.vios_w.adapter)
        return virtual_io_server.VSCSIMapping.wrap(element)

    def append(self, mapping_w: Any) -> None:
        """Put a new mapping behind all others."""
        self._everything()
        entry = MappingEntry(mapping_w.element.element)
        self._section.append(entry.element)
        self.added.append(entry)
        self.is_edited = True

    def remove(self, entry: MappingEntry) -> None:
        """Take a mapping out that is not one of those that were added."""
        # lxml takes the text behind an element away with it, as pypowervm's own remove does.
        self._section.remove(entry.element)
        self._everything().remove(entry)
        entry.is_removed = self.is_edited = True

    def body(self) -> bytes:
        """What to send."""
        return self.vios_w.toxmlstring()

    def _containing(self, *texts: str) -> Iterable[MappingEntry]:
        """The mappings that may have one of these texts in them; here: all."""
        return [*self._everything(), *self.added]

    def _unlinked(self) -> Iterable[MappingEntry]:
        """The mappings that may have no link to an LPAR; here: all."""
        return self._containing()

    def _everything(self) -> list[MappingEntry]:
        if self._all is None:
            self._all = [MappingEntry(element) for element in self._section.findall(_MAPPING)]
        return self._all


def records(vios_w: Any) -> list[MappingRecord]:
    """Read all mappings of a VIOS wrapper that was read with the group of its vSCSI mappings."""
    return [record_of(element) for element in
            vios_w.scsi_mappings.root_elem.element.findall(_MAPPING)]
