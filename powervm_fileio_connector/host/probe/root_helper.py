# SPDX-License-Identifier: Apache-2.0
"""Probes through the caller's root helper, for what is denied to this process.

``execute`` is the caller's, and takes as long as it likes: it cannot be killed. So it runs in a
daemon thread, which is left alone when the deadline has passed.
"""

from __future__ import annotations

import collections
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

_PAUSE_S = 0.02
_MARGIN_S = 0.5
_LONGEST_TEXT = 300

_free = collections.deque(range(_MOST))         # numbers of threads that may be started
_deadlines: dict[int, Deadline | None] = dict.fromkeys(range(_MOST))    # of those in ``execute``


class RootHelperFailed(Exception):
    """The caller's ``execute`` failed, or what it ran; the text says why."""


class TooManyHang(Exception):
    """All threads that the process may use are taken, or there is none to be had."""


def ask(execute: Callable[..., Any], root_helper: str | None, message: object,
        deadline: Deadline) -> list[tuple[int, dict[str, Any]]]:
    """Return the answers to requests; those that are missing did not come in time.

    :raises RootHelperFailed: ``execute`` raised an error, or returned no answers
    :raises TooManyHang: no thread can be started for it
    """
    answers: list[tuple[int, dict[str, Any]]] = []
    errors: list[BaseException] = []
    done = threading.Event()
    taken: list[int] = []

    def give_back() -> None:
        while taken:
            _deadlines[taken[-1]] = None
            _free.append(taken.pop())

    def run() -> None:
        try:
            output, _ = execute(*helper.command(), '--once', json.dumps([ends_at, message]),
                                run_as_root=True, root_helper=root_helper)
            answers.extend(map(_parsed, output.splitlines()))
            if not answers and time.monotonic() < ends_at:
                raise RootHelperFailed('it printed no answer')
        except BaseException as err:  # noqa: BLE001  told to the caller, whatever execute raises
            errors.append(err)
        finally:
            give_back()
            done.set()

    try:
        _take_one(taken, deadline)
        # What it runs ends a moment earlier, so that no process of root's is left at the deadline.
        # The clock is the host's, so that it does not matter how long sudo takes before.
        left_s = deadline.left()
        ends_at = time.monotonic() + left_s - min(_MARGIN_S, left_s / 3)
        threading.Thread(target=run, name='powervm-fileio-root-helper', daemon=True).start()
    except RuntimeError as err:
        give_back()
        raise TooManyHang(f'this process cannot start a thread for the root helper: {err}. Raise '
                          'the limit of processes') from err
    except BaseException:
        give_back()
        raise
    done.wait(deadline.left())
    if errors:
        raise RootHelperFailed(_text_of(errors[0])) from errors[0]
    return list(answers)


def _take_one(taken: list[int], deadline: Deadline) -> None:
    """Take the number of a thread; where none is free, wait for one, unless all of them hang.

    One hangs whose caller has given it up. A root helper that has yet to start takes seconds.
    """
    patience = deadline.half()
    while True:
        try:
            # In one step, so that no exception comes between taking it and keeping it.
            taken.extend(map(collections.deque.pop, [_free]))
            _deadlines[taken[0]] = deadline
            return
        except IndexError:
            if patience.has_passed or all(
                    other is not None and other.has_passed for other in _deadlines.values()):
                raise TooManyHang(f'{_MOST} probes through the root helper do not answer already. '
                                  'Find out why the root helper or the share hangs') from None
        time.sleep(_PAUSE_S)


def _parsed(line: str) -> tuple[int, dict[str, Any]]:
    index, told = json.loads(line)
    return int(index), dict(told)


def _text_of(error: BaseException) -> str:
    # An error of a process has its own text, and str() begins with all that was asked.
    text = getattr(error, 'stderr', None) or str(error) or type(error).__name__
    if isinstance(text, bytes):
        text = text.decode(errors='replace')
    return ' '.join(str(text).split())[-_LONGEST_TEXT:]


def _forget_all() -> None:
    _deadlines.update(dict.fromkeys(range(_MOST)))
    _free.clear()
    _free.extend(range(_MOST))


os.register_at_fork(after_in_child=_forget_all)
