# SPDX-License-Identifier: Apache-2.0
"""One change of a VIOS at a time among the processes of this host, where a lock path is configured.

It saves the loser of a race its POST. What keeps changes right is the etag, lock or not.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from oslo_concurrency import lockutils
from oslo_config import cfg
from oslo_log import log as logging

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink import failures

LOG = logging.getLogger(__name__)


def lock_path() -> str | None:
    """Where os-brick's locks are, or else oslo.concurrency's; None: no lock path is configured."""
    for group in ('os_brick', 'oslo_concurrency'):
        with contextlib.suppress(cfg.NoSuchOptError):
            path = cfg.CONF[group].lock_path
            if path:
                return path
    return None


@contextlib.contextmanager
def held(name: str, deadline: Deadline) -> Iterator[None]:
    """Hold a host-wide lock.

    :raises RequestFailed: others hold it until the deadline
    """
    path = lock_path()
    if path is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        # File locks are the process's, not the thread's: among threads, another lock is needed.
        within = lockutils.internal_lock(name)
        if not within.acquire(timeout=deadline.left()):
            raise failures.RequestFailed(failures.Trouble.BUSY,
                                         f'this process holds the lock {name}')
        stack.callback(within.release)
        try:
            is_held = _enter(name, path, deadline, stack)
        except (OSError, threading.ThreadError) as err:
            LOG.warning('Going on without the lock %s in %s: %s', name, path, err)
        else:
            if not is_held:
                raise failures.RequestFailed(failures.Trouble.BUSY,
                                         f'another process holds the lock {name}')
        yield


def _enter(name: str, path: str, deadline: Deadline,
           stack: contextlib.ExitStack) -> bool:
    """Take the file lock, to be released with the stack.

    Waiting for a file lock is looking at it now and then, so a busy process that takes it again as
    soon as it has let go could keep it from others for ever. So only one process waits for the lock
    itself, and all others, that one included, wait for its place.
    """
    place = lockutils.external_lock(f'{name}-next', lock_path=path)
    lock = lockutils.external_lock(name, lock_path=path)
    if not place.acquire(max_delay=0.05, timeout=deadline.left()):
        return False
    try:
        # Nobody else looks, so it may be looked at often.
        if not lock.acquire(max_delay=0.01, timeout=deadline.left()):
            return False
        stack.callback(lock.release)
        return True
    finally:
        place.release()
