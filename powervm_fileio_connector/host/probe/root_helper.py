# SPDX-License-Identifier: Apache-2.0
"""Probes through the caller's root helper, for what is denied to this process.

``execute`` is the caller's, and takes as long as it likes: it cannot be killed. So it runs in a
daemon thread, which is left alone when the deadline has passed.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host.probe import helper

_MOST = 4
"""Threads of the process that may be in ``execute`` at the same time."""

_MOST_WAIT_S = 0.5      # for one of them to end, unless all are past their deadlines
_PAUSE_S = 0.02
_MARGIN_S = 0.5

_places = threading.BoundedSemaphore(_MOST)
_left_alone: set[threading.Thread] = set()


class RootHelperFailed(Exception):
    """The caller's ``execute`` failed, or what it ran; the text says why."""


class TooManyHang(Exception):
    """All threads that the process may use are taken, or there is none to be had."""


def ask(execute: Callable[..., Any], root_helper: str | None, message: object,
        deadline: Deadline) -> list[Any]:
    """Return the answers to requests; those that are missing did not come in time.

    :raises RootHelperFailed: ``execute`` raised an error, or returned something else
    :raises TooManyHang: no thread can be started for it
    """
    places = _places
    _wait_for_place(places, deadline)
    answers: list[Any] = []
    errors: list[Exception] = []
    done = threading.Event()

    # It ends by itself a moment earlier, so that no process of root's is left at the deadline.
    left_s = deadline.left()
    once = json.dumps([left_s - min(_MARGIN_S, left_s / 3), message])

    def run() -> None:
        try:
            output, _ = execute(*helper.command(), '--once', once, run_as_root=True,
                                root_helper=root_helper)
            answers.extend(json.loads(line) for line in output.splitlines())
        except Exception as err:  # noqa: BLE001  told to the caller, whatever execute raises
            errors.append(err)
        finally:
            _left_alone.discard(thread)
            places.release()
            done.set()

    thread = threading.Thread(target=run, name='powervm-fileio-root-helper', daemon=True)
    try:
        thread.start()
    except RuntimeError as err:
        places.release()
        raise TooManyHang(f'this process cannot start a thread for the root helper: {err}. Raise '
                          'the limit of processes') from err
    if not done.wait(deadline.left()):
        _left_alone.add(thread)
        if done.is_set():
            _left_alone.discard(thread)
    if errors:
        raise RootHelperFailed(_shortened(errors[0])) from errors[0]
    return list(answers)


def _wait_for_place(places: threading.BoundedSemaphore, deadline: Deadline) -> None:
    until = Deadline(min(deadline.left(), _MOST_WAIT_S))
    # Asked again and again: under eventlet, a wait in the semaphore could hold all greenlets.
    while not places.acquire(blocking=False):
        if until.has_passed or len(_left_alone) == _MOST:
            raise TooManyHang(f'{_MOST} probes through the root helper do not answer already. Find '
                              'out why the root helper or the share hangs')
        time.sleep(_PAUSE_S)


def _shortened(error: Exception) -> str:
    return ' '.join(str(error).split())[:300]


def _forget_all() -> None:
    global _places
    _places = threading.BoundedSemaphore(_MOST)
    _left_alone.clear()


os.register_at_fork(after_in_child=_forget_all)
