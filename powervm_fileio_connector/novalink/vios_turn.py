# SPDX-License-Identifier: Apache-2.0
"""What all sessions of this process share of one VIOS: turns, and what is known of its etag."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection
from collections.abc import Iterator

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink import locks
from powervm_fileio_connector.novalink.failures import UNKNOWN
from powervm_fileio_connector.novalink.failures import RequestFailed
from powervm_fileio_connector.novalink.locks import FairLock
from powervm_fileio_connector.novalink.locks import FileLock

_REMEMBER_S = 3600.0
"""How long a POST without an answer may be applied late: longer than any server works on one."""

_BUSY_S, _BUSY_TURNS = 5.0, 5
"""For so long, and so often, a process changes a VIOS without a pause, where no lock is shared."""

_PAUSE_S, _MOST_PAUSE_S = 0.2, 2.0
"""So long it then pauses, and half as long as a change takes, but not longer: for another's read.
"""


class ViosTurn:
    """Lets one session at a time change a VIOS, and remembers POSTs of unknown outcome.

    A server may apply a POST after its client has gone. As long as the document still has the etag
    that the POST carried, that may yet happen; once the etag is another, the server refuses it.
    A POST of the unchanged document waits behind it, since a VIOS makes one change at a time.
    That it gives the document another etag cannot be relied on: recorded etags differ as hash
    codes of the contents do.

    :ivar etag: that of the document when a session of this process saw it last
    """

    def __init__(self, vios_uuid: str) -> None:
        self._lock = FairLock()
        self._file_lock = FileLock(f'powervm-fileio-{vios_uuid.lower()}')
        self._unknown: dict[object, tuple[str, float]] = {}
        self._unshown: dict[str, float] = {}
        self._turns_in_a_row = 0
        self._busy_since = self._ended_at = 0.0
        self._post_s = 0.0
        self.etag: str | None = None

    @contextlib.contextmanager
    def taken(self, deadline: Deadline) -> Iterator[None]:
        """Take the turn; one that does not come soon is not waited for."""
        # Of this process, so that it ends; the half that is left is for the change.
        with self._lock.held(deadline.left() / 2), self._file_lock.held(deadline):
            if locks.lock_path() is None:
                self._let_others_in(deadline)
            try:
                yield
            finally:
                self._ended_at = time.monotonic()

    def _let_others_in(self, deadline: Deadline) -> None:
        """Pause now and then: other processes, whose reads are always late, get no turn else."""
        now = time.monotonic()
        pause_s = min(_PAUSE_S + self._post_s / 2, _MOST_PAUSE_S)
        self._turns_in_a_row += 1
        if now - self._ended_at > pause_s:
            self._turns_in_a_row, self._busy_since = 1, now
        elif (self._turns_in_a_row > _BUSY_TURNS and now - self._busy_since > _BUSY_S
              and pause_s < deadline.left() / 2):
            time.sleep(pause_s)
            self._turns_in_a_row, self._busy_since = 1, time.monotonic()

    @contextlib.contextmanager
    def posting(self, etag: str) -> Iterator[None]:
        """Remember a POST until its outcome is known, also if the block is interrupted."""
        post = object()
        started = time.monotonic()
        self._unknown[post] = etag, started
        try:
            yield
        except RequestFailed as err:
            if err.kind not in UNKNOWN:
                self._unknown.pop(post, None)
            raise
        self._post_s = time.monotonic() - started
        self._unknown.pop(post, None)

    def note_unshown(self, keys: Collection[str]) -> None:
        """Remember that a change of this volume may be made, or shown, late, whatever the etag.

        An edit of that volume that finds nothing to do has the server drop what it does not show.
        """
        self._unshown.update(dict.fromkeys(keys, time.monotonic()))

    def forget_unshown(self, keys: Collection[str]) -> None:
        """Forget that, since a later change has been made, of a document that did not show it."""
        for key in keys:
            self._unshown.pop(key, None)

    def may_change_late(self, etag: str | None, keys: Collection[str]) -> bool:
        """Tell whether a POST of ours may yet change a document, in what it shows of a volume.

        :param etag: the document's
        :param keys: the volume's, see ``Edit.keys``
        """
        oldest = time.monotonic() - _REMEMBER_S
        for post, (_, since) in [*self._unknown.items()]:
            if since < oldest:
                self._unknown.pop(post, None)
        for key, since in [*self._unshown.items()]:
            if since < oldest:
                self._unshown.pop(key, None)
        return bool(self._posts_with(etag)) or not self._unshown.keys().isdisjoint(keys)

    def note_fence(self, etag: str, keys: Collection[str]) -> None:
        """Forget what a POST with this etag has made harmless, and what it has taken back."""
        for post in self._posts_with(etag):
            self._unknown.pop(post, None)
        self.forget_unshown(keys)

    def _posts_with(self, etag: str | None) -> list[object]:
        return [post for post, (known, _) in [*self._unknown.items()] if known == etag]

    def reset(self) -> None:
        """In a forked child: threads of the parent hold nothing here."""
        self._lock = FairLock()
        self._file_lock = FileLock(self._file_lock.name)
