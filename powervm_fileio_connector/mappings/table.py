# SPDX-License-Identifier: Apache-2.0
"""The vSCSI mappings of one VIOS document: found by path or LPAR, added and removed.

Nothing is sent. Mappings are parsed when they matter; all others keep their bytes and their order.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any
from xml.sax import saxutils

from lxml import etree
from pypowervm import const
from pypowervm.wrappers import virtual_io_server

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings.record import normalised
from powervm_fileio_connector.mappings.record import record_of
from powervm_fileio_connector.mappings.search import MappingSearch
from powervm_fileio_connector.mappings.search import names_of
from powervm_fileio_connector.mappings.splitting import MappingSplitter

_MAPPING = f'{{{const.UOM_NS}}}VirtualSCSIMapping'
_MARK = 'kept-mappings-6d1a2f1e'


class LPARIdNeeded(Exception):
    """The table does not tell the id of an LPAR, or whether there is such an LPAR.

    Ask the server for its id, note it in ``table.lpar_ids`` by its UUID in capitals (None: there is
    no such LPAR), and try again. One edit may need the ids of several LPARs, one after the other.
    """

    def __init__(self, lpar_uuid: str) -> None:
        super().__init__(lpar_uuid)
        self.lpar_uuid = lpar_uuid


class LPARsNeeded(Exception):
    """The table does not tell which LPARs there are.

    Ask the server for all of them, note their ids in ``table.lpars`` by their UUIDs in capitals,
    and try again.
    """


class MappingEntry:
    """One mapping of a table: its element, and what that says.

    :ivar place: where it stands in its table; None: it was added
    :ivar file: the path of its file, without differences of spelling; None: it is of another kind
    :ivar name: the last part of that path
    """

    def __init__(self, element: Any, place: int | None = None) -> None:
        self.element = element
        self.place = place
        self.record = record = record_of(element)
        self.file = (normalised(record.path) if record.kind == 'file' and record.path is not None
                     else None)
        self.name = None if self.file is None else self.file[self.file.rfind('/') + 1:]


class MappingTable:
    """The mappings of a pypowervm VIOS wrapper, which is edited in place.

    What is asked of the server about LPARs is noted here, and lives no longer than the table: ids
    are reused, and an LPAR may return with another one.

    :ivar as_of: when the document was asked for (``time.monotonic``)
    :ivar is_answer: it is the answer to the changes that are to be confirmed by it
    :ivar lpar_ids: ids by UUID in capitals, as far as they were asked for; None: no such LPAR
    :ivar lpars: the ids of all LPARs by UUID in capitals; None: they were not asked for
    :ivar new_buses: how many edits want the adapter pair that one of them makes
    :ivar new_luas: whether LUAs were left open in what was added to a bus, by its server slot
    :ivar buses: the mappings on the buses of LPARs, by UUID in capitals and client slot, as far as
        they were looked at
    :ivar added: what was added to the document
    """

    def __init__(self, vios_w: Any, splitter: MappingSplitter | None = None) -> None:
        """:param vios_w: wrapper of the VIOS, read with the group of its vSCSI mappings
        :param splitter: what was given the answer before it was parsed
        """
        self.vios_w = vios_w
        self.as_of = 0.0
        self.is_answer = False
        self.lpar_ids: dict[str, int | None] = {}
        self.lpars: Mapping[str, int] | None = None
        self.is_edited = False
        self.new_buses: dict[tuple[str, int | None], int] = {}
        self.new_luas: dict[int | None, set[bool]] = {}
        self.buses: dict[str, dict[int | None, list[MappingEntry]]] = {}
        self.added: list[MappingEntry] = []
        self._added_by_name: dict[str, list[MappingEntry]] = {}
        self._added_by_lpar: dict[str | None, list[MappingEntry]] = {}
        self._section = vios_w.scsi_mappings.root_elem.element
        self._shown_ids: dict[str, int | None] = {}
        self._entries: dict[int, MappingEntry] = {}
        self._search: MappingSearch | None = None
        self._end_tag = b''
        self._pieces: list[Any]
        if splitter is None or splitter.mappings is None:
            self._pieces = self._section.findall(_MAPPING)
            return
        self._pieces, self._end_tag = splitter.mappings, splitter.end_tag
        prefix = self._end_tag[2:].rpartition(b':')
        self._search = MappingSearch(self._pieces, prefix[0] + prefix[1], splitter.has_references)
        self._section.append(etree.ProcessingInstruction(_MARK, _MARK))
        names = ''.join([
            f' xmlns{":" + prefix if prefix else ""}={saxutils.quoteattr(uri)}'
            for prefix, uri in self._section.nsmap.items() if prefix != 'xml'])
        self._context = f'<context{names}>'.encode()

    def of_paths(self, paths: Collection[str]) -> list[MappingEntry]:
        """The mappings of these files, whatever LPAR they belong to."""
        if not paths:
            return []
        wanted = {*map(normalised, paths)}
        found = self.of_names(names_of(wanted))
        return [entry for entry in found if entry.file in wanted] if found else found

    def of_names(self, names: Collection[str]) -> list[MappingEntry]:
        """The mappings of files with these names, in whatever directories."""
        places = None if self._search is None else self._search.named(names)
        found = []
        if places is None or places:
            found += [entry for entry in self._at(places) if entry.name in names]
        if self.added:
            for name in names:
                found += self._added_by_name.get(name, ())
        return found

    def of_lpar(self, lpar_uuid: str) -> Iterator[MappingEntry]:
        """The mappings that are linked to an LPAR; see also :meth:`without_link`."""
        wanted = lpar_uuid.upper()
        places = None if self._search is None else self._search.linked(wanted)
        return itertools.chain(
            (entry for entry in self._at(places) if entry.record.lpar_uuid == wanted),
            self._added_by_lpar.get(wanted, ()))

    def count(self) -> int:
        """How many mappings there are; none is parsed."""
        return len(self._pieces) - self._pieces.count(None) + len(self.added)

    def count_of_lpar(self, lpar_uuid: str) -> int:
        """How many mappings an LPAR may have at most that are linked to it; none is parsed."""
        shown = self._pieces if self._search is None else self._search.linked(lpar_uuid)
        return len(shown) + len(self._added_by_lpar.get(lpar_uuid.upper(), ()))

    def without_link(self, lpar_id: int | None = None) -> Iterator[MappingEntry]:
        """The mappings that have a client, but do not say which other than by its LPAR id.

        :param lpar_id: the id; None: any
        """
        places = None if self._search is None else self._search.unlinked(lpar_id)
        # What is added has a link.
        return (entry for entry in self._at(places) if entry.record.lpar_uuid is None
                and not entry.record.is_orphan and not entry.record.is_wild_card
                and lpar_id in (None, entry.record.lpar_id))

    @functools.cached_property
    def has_any_without_link(self) -> bool:
        """Whether a mapping has a client, but does not say which other than by its LPAR id."""
        return next(self.without_link(), None) is not None

    def containing(self, *texts: str) -> Iterator[MappingEntry]:
        """The mappings that may have one of these texts in them."""
        places = None if self._search is None else self._search.containing(*texts)
        return itertools.chain(self._at(places), self.added)

    def entries(self) -> Iterator[MappingEntry]:
        """All mappings."""
        return itertools.chain(self._at(None), self.added)

    def forget_lpars(self) -> None:
        """Drop what the server told of LPARs, and what follows from it: it was true for a batch."""
        self.lpar_ids, self.lpars, self.buses = {}, None, {}

    def lpar_id(self, lpar_uuid: str) -> int | None:
        """The id of an LPAR, as mappings that show both tell it, or as the server told.

        An orphan's id says nothing: ids are given to new LPARs once their LPAR is gone.

        :returns: None: there is no such LPAR
        :raises LPARIdNeeded: neither tells
        """
        uuid = lpar_uuid.upper()
        # One that is not listed may be there: a user need not see all.
        if self.lpars is not None and uuid in self.lpars:
            return self.lpars[uuid]
        if uuid in self.lpar_ids:
            return self.lpar_ids[uuid]
        if uuid not in self._shown_ids:
            ids = {entry.record.lpar_id for entry in self.of_lpar(uuid)
                   if entry.record.slot is not None and entry.record.lpar_id is not None}
            self._shown_ids[uuid] = ids.pop() if len(ids) == 1 else None
        lpar_id = self._shown_ids[uuid]
        if lpar_id is None:
            raise LPARIdNeeded(lpar_uuid)
        return lpar_id

    def wrap(self, entry: MappingEntry) -> Any:
        """pypowervm's wrapper of one mapping."""
        element = type(self.vios_w.element).wrapelement(entry.element, self.vios_w.adapter)
        return virtual_io_server.VSCSIMapping.wrap(element)

    def append(self, mapping_w: Any) -> MappingEntry:
        """Put a new mapping behind all others."""
        entry = MappingEntry(mapping_w.element.element)
        record = entry.record
        self._section.append(entry.element)
        self.added.append(entry)
        if entry.name is not None:
            self._added_by_name.setdefault(entry.name, []).append(entry)
        self._added_by_lpar.setdefault(record.lpar_uuid, []).append(entry)
        self.new_luas.setdefault(record.server_slot, set()).add(record.lua is None)
        self.is_edited = True
        return entry

    def remove(self, entry: MappingEntry) -> None:
        """Take a mapping out that is not one of those that were added."""
        assert entry.place is not None
        if self._search is None:
            # lxml takes the text behind an element away with it, as pypowervm's own remove does.
            self._section.remove(entry.element)
        self._pieces[entry.place] = None
        self.is_edited = True
        self.__dict__.pop('has_any_without_link', None)
        self.buses.clear()

    def body(self) -> bytes:
        """What to send."""
        # Not in ASCII, as pypowervm writes: in CDATA no character can be written by its number.
        shell: bytes = etree.tostring(self.vios_w.element.element, encoding='utf-8')
        if self._search is None:
            return shell
        head, _, tail = shell.partition(f'<?{_MARK} {_MARK}?>'.encode())
        kept = [piece for piece in self._pieces if piece is not None]
        if kept:
            # Joined at once: each step on the way would be a copy of megabytes.
            kept[0], head = head + kept[0], b''
        return self._end_tag.join([*kept, head + tail])

    def _at(self, places: Iterable[int] | None) -> Iterator[MappingEntry]:
        """The mappings at these places (None: all), without those that were added."""
        for place in range(len(self._pieces)) if places is None else places:
            piece = self._pieces[place]
            if piece is None:
                continue
            if place not in self._entries:
                self._entries[place] = MappingEntry(
                    piece if self._search is None else self._parse(piece), place)
            yield self._entries[place]

    def _parse(self, piece: bytes) -> Any:
        try:
            return etree.fromstring(
                b''.join((self._context, piece, self._end_tag, b'</context>')))[0]
        except etree.XMLSyntaxError as err:
            raise exceptions.NovaLinkUnavailable(
                reason=f'a mapping in the answer of NovaLink is no XML: {err}') from err
