# SPDX-License-Identifier: Apache-2.0
"""The share probe processes of this process: handed out, kept while idle, and ended.

An idle one serves the next probe of any thread that sees the same mounts as the same user. There
are few of them, however many shares hang: those that hang are shared. They end when the process
does, however it ends. No lock is held: handing helpers out and taking them back are single
operations on a deque.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import time
from collections.abc import Sequence

from oslo_log import log as logging

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host.probe import helper as helper_module
from powervm_fileio_connector.host.probe.helper import CannotStart
from powervm_fileio_connector.host.probe.helper import Helper
from powervm_fileio_connector.host.probe.helper import Identity
from powervm_fileio_connector.host.probe.helper import SharedHelper

LOG = logging.getLogger(__name__)

_SOON_S = 0.2           # within which a helper is back unless its share hangs
_PAUSE_S = 0.005
_KILL_WAIT_S = 0.5      # for workers to die; those that the kernel holds are left to init

_idle: collections.deque[Helper] = collections.deque()


def take(deadline: Deadline, may_wait: bool = True) -> Helper | SharedHelper | None:
    """Return an idle helper that sees what we see, as the user that we are, or a new one.

    Where there are as many as there may be, one of them is waited for, or, if they have been at
    work for so long that their shares may hang, shared.

    :param may_wait: False where the caller has some of them, which come back only to it
    :returns: None where the deadline passed
    :raises CannotStart: this process cannot start another one
    """
    helper_module.reap()
    identity = _current_identity()
    while True:
        helper = _idle_one(identity)
        if helper is not None:
            return helper
        if deadline.has_passed:
            return None
        with contextlib.suppress(IndexError):
            return Helper(identity)
        time.sleep(_PAUSE_S)
        busy = helper_module.least_shared(identity, _SOON_S if may_wait else 0.0)
        if busy is not None:
            try:
                return SharedHelper(busy)
            except BlockingIOError:
                continue            # it does not take any more
            except OSError as err:
                if err.errno in (errno.EPIPE, errno.ECONNRESET, errno.EBADF):
                    continue        # it has ended meanwhile
                raise CannotStart(err) from err


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
                    helper.hand_out()
                    return helper
            except BaseException:
                helper.close()
                raise
            end([helper])
    return None


def give_back(helper: Helper | SharedHelper) -> None:
    """Keep a helper that answered for the next probe, unless a probe of another one holds it."""
    if isinstance(helper, SharedHelper):
        helper.close(has_answered=True)
    elif helper.shared or helper.is_held:
        end([helper])
    else:
        helper.is_fresh = False
        helper_module.busy.pop(id(helper), None)
        _idle.append(helper)


def close_idle() -> None:
    """End all idle helpers. Safe at any time, from any thread."""
    ending = []
    with contextlib.suppress(IndexError):
        while True:
            ending.append(_idle.pop())
    end(ending)


def end(ending: Sequence[Helper | SharedHelper]) -> None:
    """Kill helpers, and report those that the kernel does not let die within a moment."""
    helpers = [helper for helper in ending if isinstance(helper, Helper)]
    groups = [helper.pid for helper in helpers]
    try:
        for helper in helpers:
            helper.kill(may_reap=False)
        until = time.monotonic() + _KILL_WAIT_S
        for helper, group in zip(helpers, groups, strict=True):
            has_ended = helper.has_ended(until)
            helper.kill()
            if has_ended:
                helper_module.reap_group(group, until)
            else:
                LOG.warning('A share probe process (process group %d) is held by the kernel '
                            'although it was killed; it will end when the share answers', group)
    finally:
        for one in ending:
            one.close()


os.register_at_fork(after_in_child=_idle.clear)
