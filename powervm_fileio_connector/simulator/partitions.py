# SPDX-License-Identifier: Apache-2.0
"""GET of the machine and of its partitions: feeds, entries, searches, quick properties."""

from __future__ import annotations

import zlib

from . import atom
from .context import Context
from .http_messages import Answer
from .model import Partition
from .quick import quick
from .quick import search


def get_systems(context: Context) -> Answer:
    """All machines."""
    entries = [context.renderer.host(host, context.group, context.base, head=False)
               for host in context.state.hosts]
    return context.document(atom.feed_document(
        context.base, [pieces for pieces, _ in entries]), entries[0][1])


def get_system(context: Context) -> Answer:
    """One machine."""
    pieces, etag = context.renderer.host(context.host(), context.group, context.base, head=True)
    return context.document(b''.join(pieces), etag)


def get_system_quick(context: Context) -> Answer:
    """The quick properties of a machine."""
    return quick(context.host(), context.parameters.get('property', ''))


def get_partitions(context: Context) -> Answer:
    """All partitions of a kind."""
    return _feed(context, context.partitions())


def search_partitions(context: Context) -> Answer:
    """The partitions with a property."""
    return _feed(context, search(context.partitions(), context.parameters['kind'],
                                 context.parameters['search']))


def get_partitions_quick(context: Context) -> Answer:
    """The quick properties of all partitions of a kind."""
    return quick(context.partitions(), context.parameters.get('property', ''))


def get_partition(context: Context) -> Answer:
    """One partition."""
    partition = context.partition()
    etag = context.state.etag(partition.uuid, context.group)
    if context.request.headers.get('if-none-match') == etag:
        return Answer(304, headers={'ETag': etag})
    pieces, etag = context.renderer.partition(partition, context.group, context.base, head=True)
    return context.document(b''.join(pieces), etag)


def get_partition_quick(context: Context) -> Answer:
    """The quick properties of one partition."""
    return quick(context.partition(), context.parameters.get('property', ''))


def get_volume_groups(context: Context) -> Answer:
    """The volume groups of a VIOS."""
    partition = context.partition()
    base = f'{context.base}/{partition.uuid}/VolumeGroup'
    return context.document(context.renderer.volume_groups(partition, base))


def _feed(context: Context, partitions: list[Partition]) -> Answer:
    if not partitions:
        # pypowervm takes this for an empty feed.
        return Answer(204)
    base = context.base
    entries = [context.renderer.partition(p, context.group, base, head=False) for p in partitions]
    etag = str(zlib.crc32(' '.join(etag for _, etag in entries).encode()))
    if context.request.headers.get('if-none-match') == etag:
        return Answer(304, headers={'ETag': etag})
    href = base + (f'?group={context.group}' if context.group else '')
    body = atom.feed_document(href, [pieces for pieces, _ in entries])
    return context.document(body, etag)
