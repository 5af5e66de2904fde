# SPDX-License-Identifier: Apache-2.0
"""Creating LPARs: under the lowest free id, or again under the UUID of one that was deleted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from .model import UUID
from .model import Partition
from .model import check_partition
from .model import new_uuid
from .state import State


def create_lpar(state: State, /, name: str | None = None, uuid: str | None = None,
                id: int | None = None, **fields: Any) -> Partition:
    """Create an LPAR, by default running and ready, under the lowest free id.

    :raises ValueError: its UUID or its id is taken, or a field is none that could be shown
    """
    chosen = id or _lowest_free(p.id for p in state.partitions())
    partition = Partition(uuid or new_uuid(), name or f'lpar{chosen}', chosen, **fields)
    check_partition(partition)
    if not UUID.fullmatch(partition.uuid):
        raise ValueError(f'{partition.uuid[:50]!r} is no UUID')
    state.add_partition(partition)
    return partition


def recreate_lpar(state: State, uuid: str, successor: str | None = None,
                  leave_orphans: bool = True) -> Partition:
    """Delete an LPAR and create it again: the same UUID and name, but another id.

    This is what a rebuild, an unshelve, or a migration there and back does.

    :param successor: name of a new LPAR that gets the old id
    :raises ValueError: there is no such LPAR
    """
    old = state.partition(uuid)
    state.remove_partition(old.uuid, leave_orphans)
    if successor is not None:
        create_lpar(state, successor, id=old.id)
    new = replace(old, id=_lowest_free([old.id, *(p.id for p in state.partitions())]))
    state.add_partition(new)
    return new


def _lowest_free(ids: Iterable[int]) -> int:
    taken = set(ids)
    return next(i for i in range(1, len(taken) + 2) if i not in taken)
