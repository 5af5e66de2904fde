# SPDX-License-Identifier: Apache-2.0
"""Trying again what the server was too busy for, or not there for, without any harm in it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import retrying
from oslo_utils import timeutils

from powervm_fileio_connector.novalink import rest

PATIENCE_S = 5.0
"""How long a server that does not answer is tried: a caller wants an answer, too."""

_AWAY = (rest.Trouble.UNREACHABLE, rest.Trouble.LOST, rest.Trouble.FAULT)


def patiently(deadline: timeutils.StopWatch, call: Callable[[], Any]) -> Any:
    """Do something that may be repeated: till the deadline while the server is busy, and for
    :data:`PATIENCE_S` while it is away.

    :raises RequestFailed: it stayed so, or failed otherwise
    """
    give_up = timeutils.StopWatch(PATIENCE_S).start()
    pauses_s = map(rest.pause_s, itertools.count())
    pause_s = 0.0

    def is_passing(err: BaseException) -> bool:
        nonlocal pause_s
        pause_s = next(pauses_s)
        return (isinstance(err, rest.RequestFailed) and pause_s < deadline.leftover()
                and (err.trouble is rest.Trouble.BUSY
                     or (err.trouble in _AWAY and not give_up.expired())))

    return retrying.Retrying(retry_on_exception=is_passing,
                             wait_func=lambda *_: 1000 * pause_s).call(call)
