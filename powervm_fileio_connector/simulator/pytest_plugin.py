# SPDX-License-Identifier: Apache-2.0
"""pytest fixtures, registered with the package; the simulator is imported when one is used."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .novalink import NovaLinkSimulator

# Every Linux has a tmpfs here, so a real mount that is not the root file system, as a share is.
_MOUNT = '/dev/shm'  # noqa: S108 - a directory of our own is made in it


@pytest.fixture
def novalink(request: pytest.FixtureRequest) -> Iterator[NovaLinkSimulator]:
    """A running ``NovaLinkSimulator`` with two LPARs, for one test.

    ``@pytest.mark.parametrize('novalink', [{'lpars': 5}], indirect=True)`` gives its arguments.
    """
    from .novalink import NovaLinkSimulator

    with NovaLinkSimulator(**getattr(request, 'param', {})) as simulator:
        yield simulator
        simulator.state.check_invariants()


@pytest.fixture
def novalink_volume() -> Iterator[Callable[..., Path]]:
    """Makes sparse files that the connector takes for volumes on a share, for one test.

    pytest's own directories mostly lie on the root file system, which it refuses.
    """
    with tempfile.TemporaryDirectory(prefix='novalink-volumes-', dir=_MOUNT) as directory:
        def make(name: str = 'volume-1', size: int = 1 << 20) -> Path:
            path = Path(directory) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open('ab') as volume:
                volume.truncate(size)
            return path

        yield make
