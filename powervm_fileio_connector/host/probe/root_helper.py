# SPDX-License-Identifier: Apache-2.0
"""A probe through the caller's root helper, for what this user may not see.

``execute`` is the caller's, and takes as long as it likes: it cannot be killed. So it runs in a
daemon thread, which is left alone when the deadline has passed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host.probe import helpers

_MOST = 4
"""Threads of the process that may wait for a root helper at the same time."""

_MARGIN_S = 0.5

_waiting: set[threading.Thread] = set()


class RootHelperFailed(Exception):
    """The caller's ``execute`` failed; its text says why."""


def ask(execute: Callable[..., Any], root_helper: str | None, request: Mapping[str, Any],
        deadline: Deadline) -> str | None:
    """Return a probe's answer as text; None: the deadline has passed.

    :raises RootHelperFailed: ``execute`` raised an error
    :raises MountNotResponding: too many root helpers do not answer, or no thread can be started
    """
    _waiting.difference_update([one for one in list(_waiting) if not one.is_alive()])
    if len(_waiting) >= _MOST:
        raise exceptions.MountNotResponding(
            reason=f'{_MOST} probes through the root helper do not answer already',
            remedy='Find out why the root helper or the share hangs, then retry.')
    outputs: list[str] = []
    errors: list[Exception] = []
    done = threading.Event()

    # It ends by itself a moment earlier, so that no process of root's is left at the deadline.
    left_s = deadline.left()
    arguments = json.dumps({**request, 'timeout_s': left_s - min(_MARGIN_S, left_s / 3)})

    def run() -> None:
        try:
            output, _ = execute(*helpers.command(), '--once', arguments, run_as_root=True,
                                root_helper=root_helper)
            outputs.append(output)
        except Exception as err:  # noqa: BLE001 - handed to the caller, whatever execute raises
            errors.append(err)
        finally:
            done.set()

    thread = threading.Thread(target=run, name='powervm-fileio-root-helper', daemon=True)
    try:
        thread.start()
    except RuntimeError as err:
        raise exceptions.MountNotResponding(
            reason=f'this process cannot start a thread for the root helper: {err}',
            remedy='Raise the limit of processes, then retry.') from err
    _waiting.add(thread)
    is_done = done.wait(deadline.left())
    if is_done:
        _waiting.discard(thread)
    if errors:
        raise RootHelperFailed(' '.join(str(errors[0]).split())[:300]) from errors[0]
    return outputs[0] if is_done else None
