# SPDX-License-Identifier: Apache-2.0
"""What is remembered during one operation of Nova, such as a spawn, a resize, or its revert.

nova-powervm makes a slot manager for each operation, and hands it to each volume in turn.
"""

from __future__ import annotations

import dataclasses
import weakref
from typing import Any

from powervm_fileio_connector import exceptions


@dataclasses.dataclass
class Operation:
    """One operation.

    :ivar places: slot and LUA, by UDID, of the disks that it has dropped from the slot map, for the
        case that it is reverted
    :ivar silent: the error of each share that did not answer, by its export or else by the
        directory of the file: further volumes of it are not looked for by probing it again
    """

    places: dict[str, tuple[int, str | None]] = dataclasses.field(default_factory=dict)
    silent: dict[str, exceptions.MountNotResponding] = dataclasses.field(default_factory=dict)


_operations: weakref.WeakKeyDictionary[Any, Operation] = weakref.WeakKeyDictionary()


def of(slot_mgr: Any) -> Operation:
    """Return the operation that a slot manager was made for."""
    return _operations.setdefault(slot_mgr, Operation())
