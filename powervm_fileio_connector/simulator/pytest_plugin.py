# SPDX-License-Identifier: Apache-2.0
"""A pytest fixture, registered with the package: a test that names ``novalink`` has it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .novalink import NovaLinkSimulator


@pytest.fixture
def novalink(request: pytest.FixtureRequest) -> Iterator[NovaLinkSimulator]:
    """A running ``NovaLinkSimulator`` with two LPARs, for one test.

    ``@pytest.mark.parametrize('novalink', [{'lpars': 5}], indirect=True)`` gives its arguments.
    """
    with NovaLinkSimulator(**getattr(request, 'param', {})) as simulator:
        yield simulator
        simulator.state.check_invariants()
