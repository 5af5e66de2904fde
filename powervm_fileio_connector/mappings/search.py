# SPDX-License-Identifier: Apache-2.0
"""Which mappings can be those of a file or of an LPAR, found without parsing them.

What is found may be too much, since only a parsed mapping tells for certain, but never too little.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Sequence
from typing import NamedTuple

from powervm_fileio_connector.mappings.record import LINKED_UUID

_LINK = b'AssociatedLogicalPartition'
_BEHIND_NAME = (b' ', b'\t', b'\r', b'\n', b'/', b'>')
_HREF = re.compile(rb'\shref\s*=\s*(?:"([^"]*)"|\'([^\']*)\')')
_UUID = re.compile(LINKED_UUID.pattern.encode())
# They begin with what is rare: where they begin with a choice, each byte is tried.
_DISK = re.compile(rb'Disk(?:Label|Name)\b([^<]*)')
_ID = re.compile(rb'PartitionID\b[^<]*>\s*0*([0-9]+)\s*<')
_PLAIN = re.compile(rb'[^&<>"\'\s]+')
_PLAIN_ATTRIBUTE = rb' (?!xmlns)[A-Za-z]+="[^"&<>]*"'
_MOST_SCANS = 3
"""To index all names costs as much as to search for this many of them."""


class _Links(NamedTuple):
    """The places of mappings by the UUIDs in their links, without a link, and of doubtful ones."""

    lpars: dict[bytes, list[int]]
    unlinked: list[int]
    doubtful: list[int]


class MappingSearch:
    """Searches mappings that are kept as bytes; the places of those that were removed hold None."""

    def __init__(self, pieces: Sequence[bytes | None], prefix: bytes,
                 has_references: bool) -> None:
        """:param prefix: what stands before the names of elements, colon included"""
        self._pieces = pieces
        self._link = b'<' + prefix + _LINK
        p = re.escape(prefix)
        # As servers write it; what is written in another way takes three times as long to index.
        self._usual_link = re.compile(
            rb'\s*<%bVirtualSCSIMapping\b[^<>]*>\s*(?:<%bMetadata>\s*<%bAtom/>\s*</%bMetadata>\s*)?'
            rb'<%bAssociatedLogicalPartition(?:%b)*? href="[^"&<>]*/([0-9A-Fa-f-]{36})"(?:%b)*\s*/>'
            % (p, p, p, p, p, _PLAIN_ATTRIBUTE, _PLAIN_ATTRIBUTE)).match
        self._has_references = has_references
        self._found: dict[str, list[int]] = {}
        self._names: dict[bytes, list[int]] | None = None
        self._nameless: list[int] = []

    def named(self, names: Collection[str]) -> list[int]:
        """Where the file may be one of these names."""
        places: set[int] = set()
        for name in names:
            if self._names is None and len(self._found) >= _MOST_SCANS and name not in self._found:
                self._names = self._by_name()
            if self._names is not None:
                key = name.encode('utf-8', 'surrogateescape')
                places.update(self._names.get(key, ()), self._nameless)
                continue
            if name not in self._found:
                self._found[name] = self.containing(f'/{name}')
            places.update(self._found[name])
        return sorted(places)

    def linked(self, lpar_uuid: str) -> list[int]:
        """Where the link may be one to this LPAR, whatever the case of its UUID."""
        links = self._links
        return sorted({*links.lpars.get(lpar_uuid.upper().encode(), ()), *links.doubtful})

    def unlinked(self, lpar_id: int | None = None) -> list[int]:
        """Where there may be no link, and the client's id this one; None: any."""
        links = self._links
        some = links.unlinked if lpar_id is None else self._ids.get(lpar_id, ())
        return sorted({*some, *links.doubtful})

    def containing(self, *texts: str) -> list[int]:
        """Where one of these texts may be. It may be escaped, but its plain parts are not."""
        parts = [max(_PLAIN.findall(text.encode('utf-8', 'surrogateescape')), key=len, default=b'')
                 for text in texts]
        if self._has_references:
            parts.append(b'&#')
        places = []
        for place, piece in enumerate(self._pieces):
            if piece is None:
                continue
            for part in parts:
                if part in piece:
                    places.append(place)
                    break
        return places

    def _by_name(self) -> dict[bytes, list[int]]:
        names: dict[bytes, list[int]] = {}
        for place, piece in enumerate(self._pieces):
            for value in _DISK.findall(piece) if piece is not None else ():
                name = value[value.rfind(b'/') + 1:].rstrip()
                if name in (b'', b'.') or b'&' in name:
                    self._nameless.append(place)
                else:
                    names.setdefault(name, []).append(place)
        return names

    @functools.cached_property
    def _links(self) -> _Links:
        links = _Links({}, [], [])
        for place, piece in enumerate(self._pieces):
            if piece is None:
                continue
            usual = self._usual_link(piece)
            if usual and piece.find(_LINK, usual.end()) < 0:
                links.lpars.setdefault(usual[1].upper(), []).append(place)
            elif _LINK not in piece:
                links.unlinked.append(place)
            elif (uuid := self._unusual_link(piece)) is not None:
                links.lpars.setdefault(uuid.upper(), []).append(place)
            else:
                links.doubtful.append(place)
        return links

    @functools.cached_property
    def _ids(self) -> dict[int, list[int]]:
        """The places without a link by the ids of LPARs in them."""
        ids: dict[int, list[int]] = {}
        for place in self._links.unlinked:
            piece = self._pieces[place] or b''
            if self._has_references and b'&#' in piece:
                self._links.doubtful.append(place)
            for number in set(map(int, _ID.findall(piece))):
                ids.setdefault(number, []).append(place)
        return ids

    def _unusual_link(self, piece: bytes) -> bytes | None:
        """The UUID in the link of a mapping; None: which its link is, or its UUID, is doubtful."""
        name = piece.find(_LINK)
        start = name + len(_LINK) - len(self._link)
        link = piece[start:piece.find(b'>', name)]
        href = _HREF.search(link)
        uuid = _UUID.search(href[1] or href[2] or b'') if href is not None else None
        return uuid[1] if uuid is not None and self._is_only_link(piece, start, link) else None

    def _is_only_link(self, piece: bytes, start: int, link: bytes) -> bool:
        """Whether this start tag certainly is that of the mapping's own link, and the only one."""
        if (not link.startswith(self._link) or b'&' in link or b'xmlns' in link
                or link[len(self._link):len(self._link) + 1] not in _BEHIND_NAME):
            return False
        depth = (piece.count(b'<', 0, start) - 2 * piece.count(b'</', 0, start)
                 - piece.count(b'/>', 0, start))
        again = piece.find(_LINK, start + len(link))
        # Its end tag may follow.
        return depth == 1 and (again < 0 or (
            piece[start + len(link) + 1:again].strip() == b'</' + self._link[1:-len(_LINK)]
            and piece.find(_LINK, again + 1) < 0))


def names_of(files: Iterable[str]) -> list[str]:
    """The names of files.

    :param files: their paths, normalised
    """
    names = {file[file.rfind('/') + 1:] for file in files}
    return sorted(names) if len(names) > 1 else [*names]
