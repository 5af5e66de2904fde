# SPDX-License-Identifier: Apache-2.0
"""A connector for many volumes at once: edits wait for each other, so that few POSTs carry them.

The writer puts into one POST whatever waits while another is under way. Where a POST takes seconds
that is enough; where it is quick, each would carry a handful. So an edit here waits a moment for
those volumes whose files are just being looked at.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator
from typing import Any

from powervm_fileio_connector import connector
from powervm_fileio_connector import mappings
from powervm_fileio_connector.cli.volumes import Volume
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.novalink import ManagementPartition
from powervm_fileio_connector.volume import DeviceInfo
from powervm_fileio_connector.volume import VolumeSpec

# A look at a share has a helper process of its own.
_MOST_LOOKS = 64

# How long company is waited for: none comes for a while, or it has been long enough.
_QUIET_S = 0.5
_LONG_ENOUGH_S = 5.0


class Company:
    """Who is still looking at a share, and will have an edit to send soon."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._looking = 0
        self._last_arrival = 0.0
        self._mine = threading.local()

    @contextlib.contextmanager
    def member(self) -> Iterator[None]:
        """Be expected, from now on until the edit is handed in or the block ends."""
        with self._changed:
            self._looking += 1
        self._mine.is_expected = True
        try:
            yield
        finally:
            with self._changed:
                self._arrived()

    def wait(self, most_s: float) -> None:
        """Wait until all who are expected are here, or nobody else came for a while."""
        until = time.monotonic() + min(most_s, _LONG_ENOUGH_S)
        with self._changed:
            self._arrived()
            while self._looking:
                now = time.monotonic()
                end = min(until, self._last_arrival + _QUIET_S)
                if now >= end:
                    break
                self._changed.wait(end - now)

    def _arrived(self) -> None:
        if getattr(self._mine, 'is_expected', False):
            self._mine.is_expected = False
            self._looking -= 1
            self._last_arrival = time.monotonic()
            self._changed.notify_all()


class CrowdConnector(connector.FileIOConnector):
    """A connector that many threads use at the same time, each within :attr:`company`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.company = Company()
        self._looks = threading.BoundedSemaphore(_MOST_LOOKS)
        self._criteria: dict[Any, mappings.RemoveMapping] = {}

    def criteria(self, volume: Volume) -> mappings.RemoveMapping:
        """Return what tells the mappings of a volume, of whichever LPAR.

        Found out once: the share is not looked at again to detach the volume.

        :raises InvalidConnectionProperties: nothing tells which volume is meant
        """
        return self._removal(volume.spec, volume.info)

    def detach(self, volume: Volume) -> tuple[mappings.MappingRecord, ...]:
        """Disconnect a volume, and return the mappings that were removed; none: it was gone."""
        return self._disconnect(volume.keys, volume.info)

    def _removal(self, spec: VolumeSpec,
                 info: DeviceInfo) -> mappings.RemoveMapping:
        key = dataclasses.replace(spec, lpar_uuid=''), info
        if key not in self._criteria:
            self._criteria[key] = super()._removal(spec, info)
        return dataclasses.replace(self._criteria[key], lpar_uuid=spec.lpar_uuid)

    def _find(self, *args: Any, **kwargs: Any) -> finder.VolumeFile:
        with self._looks:
            return super()._find(*args, **kwargs)

    def _writer(self, partition: ManagementPartition) -> Any:
        return _WithCompany(super()._writer(partition), self.company)


class _WithCompany:
    """A writer that waits for company before it sends an edit."""

    def __init__(self, real: Any, company: Company) -> None:
        self._real = real
        self._company = company

    def submit(self, edit: Any, deadline: Deadline) -> Any:
        self._company.wait(deadline.left() / 4)
        return self._real.submit(edit, deadline)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
