# SPDX-License-Identifier: Apache-2.0
"""Notes about attachments that are being made, so that a crash leaves none without an owner.

Cinder shows no host for an attachment that is not finished. So before one is created a note is
written on this host, and removed when it is finished or gone. A note holds no secret.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
from collections.abc import Iterator
from typing import IO

import platformdirs


@dataclasses.dataclass
class Unfinished:
    """The note about one volume, held by one process at a time.

    :ivar is_open: an attachment was about to be made, and is not known to be finished or gone
    :ivar attachment_id: of the attachment; None while it is not known to exist
    :ivar lpar_uuid: the LPAR that it is for
    :ivar was_mapped: the LPAR had the file before, so that a failure leaves it there
    """

    is_open: bool = False
    attachment_id: str | None = None
    lpar_uuid: str | None = None
    was_mapped: bool = False
    _file: IO[str] | None = dataclasses.field(default=None, repr=False)

    @classmethod
    @contextlib.contextmanager
    def of(cls, volume_id: str) -> Iterator[Unfinished]:
        """Hold the note about a volume; another process that does so is waited for."""
        path = _directory() / f'{volume_id}.json'
        with _locked(path) as file:
            note = cls(_file=file)
            # What a crash has cut short was never relied upon.
            with contextlib.suppress(ValueError):
                fields = json.load(file)
                note.attachment_id, note.lpar_uuid, note.was_mapped = (
                    fields['attachment_id'], fields['lpar_uuid'], fields['was_mapped'])
                note.is_open = True
            try:
                yield note
            finally:
                if not note.is_open:
                    path.unlink()

    @classmethod
    def left(cls) -> set[str]:
        """The ids of the volumes of which there are notes.

        A command that only held one, and was killed, has left an empty file.
        """
        with os.scandir(_directory()) as entries:
            return {entry.name.removesuffix('.json') for entry in entries if _has_text(entry)}

    def write(self, lpar_uuid: str, attachment_id: str | None = None,
              was_mapped: bool = False) -> None:
        """Write the note; it outlives a crash of the host once this returns."""
        assert self._file is not None
        self.is_open, self.attachment_id = True, attachment_id
        self.lpar_uuid, self.was_mapped = lpar_uuid, was_mapped
        self._file.seek(0)
        self._file.truncate()
        json.dump({'attachment_id': attachment_id, 'lpar_uuid': lpar_uuid,
                   'was_mapped': was_mapped}, self._file)
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """The attachment is finished or gone; the note is removed when it is let go."""
        self.is_open = False


def _has_text(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return entry.stat().st_size > 0
    return False


def _directory() -> pathlib.Path:
    directory = platformdirs.user_state_path('powervm-fileio') / 'cinder'
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return directory


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[IO[str]]:
    """Open a file that only one process at a time has, and that the last one may have removed."""
    while True:
        with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), 'r+',
                  encoding='utf-8') as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                is_current = os.path.samestat(os.stat(path), os.fstat(file.fileno()))
            except FileNotFoundError:
                is_current = False
            if is_current:
                yield file
                return
