# SPDX-License-Identifier: Apache-2.0
"""The state in a file, so that it survives a restart."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import threading
from typing import IO

from .state import State

_FORMAT = 1


class StateFile:
    """Saves a state after every change, as a whole: a reader never sees half of one.

    The file is locked from its first use on, so that two simulators never share it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        # A link stays: the file that it leads to is replaced.
        self._path = os.path.realpath(path)
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._saved: int | None = None

    def load(self) -> State | None:
        """The state that was saved last; None if there is none yet.

        :raises ValueError: the file is something else, or another simulator uses it
        :raises OSError: it cannot be read
        """
        if os.path.exists(self._path) and not os.path.isfile(self._path):
            raise ValueError(f'{self._path} is no regular file')
        while True:
            try:
                file = open(self._path, 'rb')  # noqa: SIM115 - open for as long as it is locked
            except FileNotFoundError:
                return None
            self._hold(file)
            with contextlib.suppress(FileNotFoundError):  # replaced just now: look again
                if os.path.samestat(os.fstat(file.fileno()), os.stat(self._path)):
                    break
        try:
            data = json.loads(file.read())
            if data['format'] != _FORMAT:
                raise ValueError(f'its format is {data["format"]}, not {_FORMAT}')
            return State.from_snapshot(data['state'])
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as err:
            self.close()
            raise ValueError(f'{self._path} is no state of this simulator') from err

    def save(self, state: State) -> None:
        """Write the state, unless it has not changed since the last time.

        :raises OSError: it cannot be written, and the file is as it was
        :raises ValueError: another simulator uses it
        """
        with self._lock:
            version = state.version
            if version == self._saved:
                return
            data = json.dumps({'format': _FORMAT, 'state': state.snapshot()}).encode()
            new = f'{self._path}.{secrets.token_hex(8)}'
            try:
                self._write(new, data)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(new)
                raise
            self._saved = version

    def close(self) -> None:
        """Let others use the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, new: str, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        file = os.fdopen(os.open(new, flags, 0o600), 'wb')
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if self._file is None:
                self._create(new)
            else:
                os.replace(new, self._path)
        except BaseException:
            file.close()
            raise
        self.close()
        self._file = file
        directory = os.open(os.path.dirname(self._path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _create(self, new: str) -> None:
        try:
            os.link(new, self._path)
        except FileExistsError as err:
            raise ValueError(f'{self._path} is used by another simulator') from err
        os.unlink(new)

    def _hold(self, file: IO[bytes]) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            file.close()
            raise ValueError(f'{self._path} is used by another simulator') from err
        self.close()
        self._file = file
