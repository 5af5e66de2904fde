# SPDX-License-Identifier: Apache-2.0
"""The state as answers' bodies, made once per change and kept."""

from __future__ import annotations

import threading
import uuid

from . import atom
from .documents import HOLE
from .documents import host_xml
from .documents import of_groups
from .documents import partition_xml
from .documents import volume_group_xml
from .etags import groups_in
from .mapping_xml import mapping_xml
from .model import Host
from .model import Mapping
from .model import Partition
from .posted import Served
from .state import State

_END = len(b'</VirtualSCSIMapping>')


class Renderer:
    """Renders documents; every method may be called from any thread."""

    def __init__(self, state: State, url: str, links_of_files: bool = False) -> None:
        """:param links_of_files: mappings of files name their LPAR, as those of other disks do"""
        self.state, self.url = state, url
        self._links_of_files = links_of_files
        self._lock = threading.Lock()
        self._chunks: dict[int, tuple[Mapping, bytes]] = {}
        self._shells: dict[tuple[str, frozenset[str]], tuple[object, list[bytes]]] = {}
        self._served: dict[str, tuple[int, Served]] = {}

    def type_of(self, partition: Partition) -> str:
        """The name of a partition's document."""
        return 'VirtualIOServer' if partition.is_io_server else 'LogicalPartition'

    def chunk(self, mapping: Mapping) -> bytes:
        """A mapping's bytes."""
        known = self._chunks.get(mapping.id)
        if known is not None and known[0] is mapping:
            return known[1]
        vios = self.state.partition(mapping.vios_uuid)
        text = mapping_xml(mapping, self.state.host, vios, self.url,
                           mapping.kind != 'file' or self._links_of_files)
        chunk = text.encode()
        self._chunks[mapping.id] = (mapping, chunk)
        return chunk

    def served(self, vios_uuid: str) -> Served:
        """What a posted document is compared with."""
        version = self.state.version
        with self._lock:
            known = self._served.get(vios_uuid)
        if known is not None and known[0] == version:
            return known[1]
        mappings = {m.id: m for m in self.state.mappings(vios_uuid)}
        if len(self._chunks) > 2 * len(mappings) + 1000:
            # Of a copy: other threads add to it meanwhile.
            self._chunks = {i: c for i, c in self._chunks.copy().items() if i in mappings}
        served = Served({i: self.chunk(m)[:-_END] for i, m in mappings.items()}, mappings)
        with self._lock:
            self._served[vios_uuid] = (version, served)
        return served

    def partition(self, partition: Partition, group: str | None, base: str,
                  head: bool) -> tuple[list[bytes], str]:
        """An entry's pieces, and its etag.

        :param base: the address that its UUID is appended to
        :param head: True if the entry is a document itself
        """
        groups = groups_in(group)
        # The etag first: a change in between makes it stale, never the document older.
        etag = self.state.etag(partition.uuid, group)
        key = (partition.uuid, groups)
        known = self._shells.get(key)
        if known is None or known[0] is not partition:
            document = partition_xml(partition, self.state.host, self.url)
            shell = of_groups(document, groups).encode()
            known = (partition, shell.split(HOLE.encode()))
            self._shells[key] = known
        content = [known[1][0]]
        if len(known[1]) == 2:
            content += [self.chunk(m) for m in self.state.mappings(partition.uuid)]
            content.append(known[1][1])
        href = f'{base}/{partition.uuid}' + (f'?group={group}' if group else '')
        pieces = atom.entry(partition.uuid, self.type_of(partition), href, etag, content,
                            head=f' {atom.NAMESPACES}' if head else '')
        return pieces, etag

    def host(self, host: Host, group: str | None, base: str,
             head: bool) -> tuple[list[bytes], str]:
        """A ManagedSystem's entry, and its etag."""
        etag = self.state.etag(host.uuid, group)
        content = of_groups(host_xml(host), groups_in(group)).encode()
        href = f'{base}/{host.uuid}' + (f'?group={group}' if group else '')
        return atom.entry(host.uuid, 'ManagedSystem', href, etag, [content],
                          head=f' {atom.NAMESPACES}' if head else ''), etag

    def volume_groups(self, vios: Partition, base: str) -> bytes:
        """The feed of the volume groups of a VIOS."""
        name = str(uuid.uuid5(uuid.NAMESPACE_URL, f'{vios.uuid}/rootvg'))
        pieces = atom.entry(name, 'VolumeGroup', f'{base}/{name}', self.state.etag(name, 'None'),
                            [volume_group_xml(name).encode()])
        return atom.feed_document(base, [pieces])
