# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the simulator's own tests."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest

from powervm_fileio_connector.simulator import NovaLinkSimulator


@pytest.fixture
def novalink(request: pytest.FixtureRequest) -> Iterator[NovaLinkSimulator]:
    """An empty host, where a test can count what it makes; test_hard_settings has the other."""
    arguments = {'foreign': False, 'links_of_files': True, **getattr(request, 'param', {})}
    with NovaLinkSimulator(**arguments) as simulator:
        yield simulator
        simulator.state.check_invariants()


@pytest.fixture
def make_file(tmp_path: Path) -> Callable[..., str]:
    """Make a sparse file and give its path."""
    def make(name: str = 'volume', size: int = 2**20) -> str:
        path = tmp_path / name
        with path.open('wb') as out:
            out.truncate(size)
        return str(path)
    return make
