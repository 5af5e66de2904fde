# SPDX-License-Identifier: Apache-2.0
"""The share probe processes of this process: handed out, kept while idle, and ended.

An idle one serves the next probe of any thread that sees the same mounts as the same user. They end
when the process does, however it ends. No lock is held: handing helpers out and taking them back
are single operations on a deque.
"""

from __future__ import annotations

import collections
import contextlib
import os
import time
from collections.abc import Sequence

from oslo_log import log as logging

from powervm_fileio_connector.host.probe import helper as helper_module
from powervm_fileio_connector.host.probe.helper import CannotStart
from powervm_fileio_connector.host.probe.helper import Helper
from powervm_fileio_connector.host.probe.helper import Identity

LOG = logging.getLogger(__name__)

_MOST_IDLE = 8          # kept for the next probe; each takes some 10 MB, mostly shared
_SOON_S = 0.2           # within which a helper is back unless its share hangs
_PAUSE_S = 0.005
_KILL_WAIT_S = 0.5      # for workers to die; those that the kernel holds are left to init

_idle: collections.deque[Helper] = collections.deque()


def take(may_wait: bool = True) -> Helper:
    """Return an idle helper that sees what we see, as the user that we are, or a new one.

    :param may_wait: where many have just been handed out, one of them is waited for
    :raises CannotStart: this process cannot start another one
    """
    helper_module.reap()
    identity = _current_identity()
    until = time.monotonic() + _SOON_S if may_wait and _are_many_back_soon() else 0.0
    while True:
        helper = _idle_one(identity)
        if helper is not None:
            return helper
        if time.monotonic() >= until:
            return Helper(identity)
        time.sleep(_PAUSE_S)


def _current_identity() -> Identity:
    """Return what decides what a probe sees: mount namespace, root directory, user and groups.

    A helper keeps its maker's, whatever becomes of the maker's.

    :raises CannotStart: /proc is not mounted, or cannot be read
    """
    try:
        root = os.stat('/')
        namespace = os.readlink('/proc/thread-self/ns/mnt')
    except OSError as err:
        raise CannotStart(err, 'Mount /proc where this process runs') from err
    return (namespace, root.st_dev, root.st_ino,
            os.getresuid(), os.getresgid(), tuple(os.getgroups()))


def _idle_one(identity: Identity) -> Helper | None:
    while _idle:
        with contextlib.suppress(IndexError):
            helper = _idle.pop()
            try:
                if helper.identity == identity:
                    helper.was_idle = True
                    helper.hand_out()
                    return helper
            except BaseException:
                helper.close()
                raise
            end([helper])
    return None


def _are_many_back_soon() -> bool:
    """Whether as many as are kept are at work, and not for so long that their share may hang.

    To start one more takes twenty times as long as they take for a probe, and it would be ended
    right after it.
    """
    if len(helper_module.busy) < _MOST_IDLE:
        return False
    since = time.monotonic() - _SOON_S
    return sum(taken_at > since for taken_at in list(helper_module.busy.values())) >= _MOST_IDLE


def give_back(helper: Helper) -> None:
    """Keep a helper that answered for the next probe, or end it where enough are kept."""
    helper_module.busy.pop(id(helper), None)
    _idle.append(helper)
    while len(_idle) > _MOST_IDLE:
        with contextlib.suppress(IndexError):
            end([_idle.popleft()])


def close_idle() -> None:
    """End all idle helpers. Safe at any time, from any thread."""
    ending = []
    with contextlib.suppress(IndexError):
        while True:
            ending.append(_idle.pop())
    end(ending)


def end(helpers: Sequence[Helper]) -> None:
    """Kill helpers, and report those that the kernel does not let die within a moment."""
    if not helpers:
        return
    groups = [helper.pid for helper in helpers]
    try:
        for helper in helpers:
            helper.kill()
        until = time.monotonic() + _KILL_WAIT_S
        for helper, group in zip(helpers, groups, strict=True):
            if helper.has_ended(until):
                helper_module.reap_group(group, until)
            else:
                LOG.warning('A share probe process (process group %d) is held by the kernel '
                            'although it was killed; it will end when the share answers', group)
    finally:
        for helper in helpers:
            helper.close()


os.register_at_fork(after_in_child=_idle.clear)
