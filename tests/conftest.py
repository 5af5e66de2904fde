# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all tests."""

import os
import uuid

import hypothesis
import pytest

# CI machines are slow now and then; a slow example is no finding.
hypothesis.settings.register_profile(
    'default', deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile('default')

# pypowervm's and os-brick's import of eventlet warns; nothing of it is ours to mend.
os.environ.setdefault('EVENTLET_NO_GREENDNS', 'yes')

LPAR_UUID = '4D2C1F61-8F2D-4C1C-9E4C-0E6C2B6D3A11'


@pytest.fixture
def lpar_uuid():
    return LPAR_UUID


@pytest.fixture
def volume_id():
    return str(uuid.uuid4())
