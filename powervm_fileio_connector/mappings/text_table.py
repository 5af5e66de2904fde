# SPDX-License-Identifier: Apache-2.0
"""The same document kept as text, of which only the mappings that matter are parsed.

A busy host's document is megabytes. To parse, write and free it takes most of what an attach costs
(7.6 MB with 3000 mappings: 0.19 s of processor time, of which 0.08 s go to freeing half a million
pieces of memory), and all but one of its mappings go back as they came. So the mappings are cut out
of an answer before pypowervm parses it, kept as the strings they are, and put back into what is
sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from xml.sax import saxutils

from lxml import etree

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings.table import MappingEntry
from powervm_fileio_connector.mappings.table import MappingTable

_MARK = 'kept-mappings'
_PREFIX = re.compile(r'(?:[\w.-]+:)?')
_PLAIN = re.compile(r'[A-Za-z0-9_./-]+')
_ESCAPED_PLAIN = re.compile(r'&#(?:0*(?:3[2-9]|[4-9]\d|1[01]\d|12[0-6])|[xX]0*[2-7][0-9A-Fa-f]);')


class MappingSplitter:
    """Cuts the mappings out of an answer, before pypowervm parses it.

    Where a document is written in a way that plain text search could mistake, nothing is cut.

    :ivar mappings: the text of each mapping, without its end tag; None: nothing was cut
    :ivar end_tag: the end tag of all of them
    :ivar has_references: whether characters are written by their number somewhere
    """

    def __init__(self) -> None:
        self.mappings: list[str] | None = None
        self.end_tag = ''
        self.has_references = False

    def __call__(self, response: Any) -> None:
        """Cut, if it can be done."""
        text = response.body
        name = text.find('VirtualSCSIMappings')
        if name < 0 or text.count('VirtualSCSIMappings') != 2:
            return
        prefix = text[text.rfind('<', 0, name) + 1:name]
        start = text.find('>', name) + 1
        end = text.find(f'</{prefix}VirtualSCSIMappings>', start)
        end_tag, start_tag = f'</{prefix}VirtualSCSIMapping>', f'<{prefix}VirtualSCSIMapping'
        # CDATA and comments could hold what looks like a tag.
        if (not _PREFIX.fullmatch(prefix) or not start or end < 0
                or text.find('<!', start, end) >= 0
                or text.find(end_tag) < start or text.find(end_tag, end) >= 0):
            return
        # The whole is cut, and searched in place: to copy megabytes is most of what this costs.
        pieces = text.split(end_tag)
        rest = pieces.pop()[:end - len(text)]
        if rest.strip() or text.count(start_tag, start, end) != len(pieces):
            return
        pieces[0] = pieces[0][start:]
        first = pieces[0].find(start_tag)
        metadata, pieces[0] = pieces[0][:first], pieces[0][first:]
        begins = re.compile(rf'\s*{re.escape(start_tag)}').match
        if not all(map(begins, pieces)):
            return
        response.body = f'{text[:start]}{metadata}{text[end:]}'
        self.mappings, self.end_tag = pieces, end_tag
        self.has_references = text.find('&#', start, end) >= 0


class TextTable(MappingTable):
    """A document whose mappings were cut out; those that are added are in the wrapper's tree."""

    def __init__(self, vios_w: Any, lpar_ids: Mapping[str, int | None],
                 cut: MappingSplitter) -> None:
        super().__init__(vios_w, lpar_ids)
        assert cut.mappings is not None
        self._texts: list[str | None] = list(cut.mappings)
        self._end_tag = cut.end_tag
        self._has_references = cut.has_references
        self._parsed: dict[int, MappingEntry] = {}
        self._places: dict[tuple[str, ...], list[int]] = {}
        self._without_link: list[int] | None = None
        self._section.append(etree.ProcessingInstruction(_MARK, _MARK))
        names = ''.join(
            f' xmlns{":" + prefix if prefix else ""}={saxutils.quoteattr(uri)}'
            for prefix, uri in self._section.nsmap.items() if prefix != 'xml')
        self._context = f'<context{names}>'

    def remove(self, entry: MappingEntry) -> None:
        """Take a mapping out that is not one of those that were added."""
        assert entry.place is not None
        self._texts[entry.place] = None
        entry.is_removed = self.is_edited = True

    def body(self) -> bytes:
        """What to send."""
        shell = etree.tostring(self.vios_w.element.element).decode()
        head, tail = shell.split(f'<?{_MARK} {_MARK}?>')
        kept = [text for text in self._texts if text is not None]
        if kept:
            # Joined at once: each step on the way would be a copy of megabytes.
            kept[0], head = head + kept[0], ''
        return self._end_tag.join([*kept, head + tail]).encode()

    def _containing(self, *texts: str) -> Iterable[MappingEntry]:
        if texts not in self._places:
            self._places[texts] = self._search(texts)
        return [*self._at(self._places[texts]), *self.added]

    def _unlinked(self) -> Iterable[MappingEntry]:
        if self._without_link is None:
            self._without_link = [
                place for place, text in enumerate(self._texts)
                if text is not None and 'AssociatedLogicalPartition' not in text]
        return [*self._at(self._without_link), *self.added]

    def _everything(self) -> list[MappingEntry]:
        return []

    def _search(self, wanted: tuple[str, ...]) -> list[int]:
        """Where one of some texts may be. It may be escaped, but its plain parts are not."""
        parts = [max(_PLAIN.findall(text), key=len, default='') for text in wanted]
        return [place for place, text in enumerate(self._texts) if text is not None
                and (any(part in text for part in parts)
                     or (self._has_references and _ESCAPED_PLAIN.search(text)))]

    def _at(self, places: list[int]) -> Iterable[MappingEntry]:
        for place in places:
            text = self._texts[place]
            if text is None:
                continue
            if place not in self._parsed:
                self._parsed[place] = MappingEntry(self._parse(text), place)
            yield self._parsed[place]

    def _parse(self, text: str) -> Any:
        try:
            return etree.fromstring(f'{self._context}{text}{self._end_tag}</context>')[0]
        except etree.XMLSyntaxError as err:
            raise exceptions.NovaLinkUnavailable(
                reason=f'a mapping in the answer of NovaLink is no XML: {err}') from err
