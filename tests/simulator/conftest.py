# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the simulator's own tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from powervm_fileio_connector.simulator.pytest_plugin import novalink  # noqa: F401


@pytest.fixture
def make_file(tmp_path: Path) -> Callable[..., str]:
    """Make a sparse file and give its path."""
    def make(name: str = 'volume', size: int = 2**20) -> str:
        path = tmp_path / name
        with path.open('wb') as out:
            out.truncate(size)
        return str(path)
    return make
