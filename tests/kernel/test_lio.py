# SPDX-License-Identifier: Apache-2.0
"""Facts about LIO, which rules of ours rest on, in a virtual machine; documented as verified."""

import pytest

from tests.kernel.lio import facts

pytestmark = pytest.mark.lio


@pytest.mark.parametrize('name', [fact.__name__ for fact in facts.FACTS])
def test_lio(name, lio):
    lio.raise_failure(name)
