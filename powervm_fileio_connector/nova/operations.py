# SPDX-License-Identifier: Apache-2.0
"""What is remembered during one operation of Nova, such as a spawn, a resize, or its revert.

nova-powervm makes a slot manager for each operation, and hands it to each volume in turn.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os.path
import weakref
from collections.abc import Iterator
from typing import Any

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.volume import VolumeSpec


@dataclasses.dataclass
class Operation:
    """One operation.

    :ivar places: slot and LUA, by UDID, of the disks that it has dropped from the slot map, for the
        case that it is reverted
    :ivar detached: the same of the disks that it has detached, which the map need not have known
    :ivar detaches: it detaches volumes, so that what it attaches is put back by its revert
    :ivar silent: reason and remedy of the error of each share that did not answer, by its export or
        else by the directory of the file: further volumes of it are not looked for by probing it
        again
    :ivar is_pruned: the slot map holds no disk any more that the LPAR does not have
    :ivar is_saved_at_once: the slot map is saved after each attach
    """

    places: dict[str, tuple[int, str | None]] = dataclasses.field(default_factory=dict)
    detached: dict[str, tuple[int, str | None]] = dataclasses.field(default_factory=dict)
    detaches: bool = False
    silent: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    is_pruned: bool = False
    is_saved_at_once: bool = False


_operations: weakref.WeakKeyDictionary[Any, Operation] = weakref.WeakKeyDictionary()


def of(slot_mgr: Any) -> Operation:
    """Return the operation that a slot manager was made for."""
    return _operations.setdefault(slot_mgr, Operation())


@contextlib.contextmanager
def noting_silence(spec: VolumeSpec, slot_mgr: Any, is_asked_once: bool = False) -> Iterator[None]:
    """Remember for the rest of an operation that a volume's share does not answer.

    :param is_asked_once: the share is not asked again if it is known not to answer
    :raises MountNotResponding: it does not
    """
    silent = of(slot_mgr).silent
    share = spec.export or os.path.dirname(spec.path or '')
    if is_asked_once and share in silent:
        raise exceptions.MountNotResponding(**silent[share])
    try:
        yield
    except exceptions.MountNotResponding as err:
        # Not the error: it is one volume's, and its traceback would keep the slot manager for ever.
        silent[share] = {field: err.kwargs[field] for field in ('reason', 'remedy')}
        raise
