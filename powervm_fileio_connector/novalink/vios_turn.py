# SPDX-License-Identifier: Apache-2.0
"""What all sessions of this process share of one VIOS: turns, and what is known of its etag."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection
from collections.abc import Iterator

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink.locks import FairLock
from powervm_fileio_connector.novalink.locks import FileLock

_REMEMBER_S = 3600.0
"""How long a POST without an answer may be applied late: longer than any server works on one."""


class ViosTurn:
    """Lets one session at a time change a VIOS, and remembers POSTs of unknown outcome.

    A server may apply a POST after its client has gone. As long as the document still has the etag
    that the POST carried, that may yet happen; once the etag is another, the server refuses it.

    :ivar etag: that of the document when a session of this process saw it last
    """

    def __init__(self, vios_uuid: str) -> None:
        self._lock = FairLock()
        self._file_lock = FileLock(f'powervm-fileio-{vios_uuid.lower()}')
        self._unknown: dict[str, float] = {}
        self._unshown: dict[str, float] = {}
        self.etag: str | None = None

    @contextlib.contextmanager
    def taken(self, deadline: Deadline) -> Iterator[None]:
        """Take the turn; one that does not come soon is not waited for."""
        # Of this process, so that it ends; the half that is left is for the change.
        with self._lock.held(deadline.left() / 2), self._file_lock.held(deadline):
            yield

    @contextlib.contextmanager
    def posting(self, etag: str) -> Iterator[PostOutcome]:
        """Remember a POST until its outcome is known, also if the block is interrupted."""
        before, outcome = self._unknown.get(etag), PostOutcome()
        self._unknown[etag] = time.monotonic()
        try:
            yield outcome
        finally:
            if outcome.is_known:
                if before is None:
                    self._unknown.pop(etag, None)
                else:
                    self._unknown[etag] = before

    def note_unshown(self, keys: Collection[str]) -> None:
        """Remember that the server accepted a mapping of this volume and does not show it."""
        self._unshown.update(dict.fromkeys(keys, time.monotonic()))

    def may_change_late(self, etag: str | None, keys: Collection[str]) -> bool:
        """Tell whether a POST of ours may yet change a document, in what it shows of a volume.

        :param etag: the document's
        :param keys: the volume's, see ``Edit.keys``
        """
        oldest = time.monotonic() - _REMEMBER_S
        for remembered in (self._unknown, self._unshown):
            for known, since in [*remembered.items()]:
                if since < oldest:
                    remembered.pop(known, None)
        return etag in self._unknown or not self._unshown.keys().isdisjoint(keys)

    def note_fence(self, etag: str, keys: Collection[str] = ()) -> None:
        """Forget what a POST with this etag has made harmless, and what it has taken back."""
        self._unknown.pop(etag, None)
        for key in keys:
            self._unshown.pop(key, None)

    def reset(self) -> None:
        """In a forked child: threads of the parent hold nothing here."""
        self._lock = FairLock()
        self._file_lock = FileLock(self._file_lock.name)


class PostOutcome:
    """Whether it is known what a POST has done."""

    is_known = False
