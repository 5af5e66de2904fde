# SPDX-License-Identifier: Apache-2.0
"""The state in a file, so that it survives a restart."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from .state import State

_FORMAT = 1


class StateFile:
    """Saves a state after every change, as a whole; a reader never sees half of one."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        self._saved: int | None = None

    def load(self) -> State | None:
        """The state that was saved last; None if there is none yet.

        :raises ValueError: the file is something else
        """
        if not self._path.exists():
            return None
        try:
            data = json.loads(self._path.read_text())
            if data['format'] != _FORMAT:
                raise ValueError(f'its format is {data["format"]}, not {_FORMAT}')
            return State.from_snapshot(data['state'])
        except (ValueError, TypeError, LookupError) as err:
            raise ValueError(f'{self._path} is no state of this simulator') from err

    def save(self, state: State) -> None:
        """Write the state, unless it has not changed since the last time."""
        with self._lock:
            version = state.version
            if version == self._saved:
                return
            new = self._path.with_name(f'{self._path.name}.new')
            new.write_text(json.dumps({'format': _FORMAT, 'state': state.snapshot()}))
            new.replace(self._path)
            self._saved = version
