# SPDX-License-Identifier: Apache-2.0
"""Trying again what the server was too busy for, or not there for, without any harm in it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import retrying

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink import failures

PATIENCE_S = 5.0
"""How long a server that does not answer is tried: a caller wants an answer, too."""

_AWAY = (failures.Trouble.UNREACHABLE, failures.Trouble.LOST, failures.Trouble.FAULT)


def patiently(deadline: Deadline, call: Callable[[], Any]) -> Any:
    """Do something that may be repeated: till the deadline while the server is busy, and for
    :data:`PATIENCE_S` while it is away.

    :raises RequestFailed: it stayed so, or failed otherwise
    """
    give_up = Deadline(PATIENCE_S)
    pauses_s = map(failures.pause_s, itertools.count())
    pause_s = 0.0

    def is_passing(err: BaseException) -> bool:
        nonlocal pause_s
        pause_s = next(pauses_s)
        return (isinstance(err, failures.RequestFailed) and pause_s < deadline.left()
                and (err.trouble is failures.Trouble.BUSY
                     or (err.trouble in _AWAY and not give_up.has_passed)))

    return retrying.Retrying(retry_on_exception=is_passing,
                             wait_func=lambda *_: 1000 * pause_s).call(call)
