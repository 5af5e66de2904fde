# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all tests."""

import os
import pathlib
import signal
import tempfile
import uuid

import hypothesis
import pytest

from tests import effort

# One profile for CI and developers. Machines are slow now and then; a slow example is no finding.
hypothesis.settings.register_profile(
    'ci', deadline=None, max_examples=effort.of(50, 500),
    suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile('ci')

MARKERS = {'consumers': ['consumers', 'slow'], 'host': ['root'], 'kernel': ['root', 'slow'],
           'openstack': ['root', 'slow', 'openstack']}
"""The markers of all tests of a directory."""

# pypowervm's and os-brick's import of eventlet warns; nothing of it is ours to mend.
os.environ.setdefault('EVENTLET_NO_GREENDNS', 'yes')

# Commands that tests interrupt would inherit it, where a shell has put the tests in the background.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

TESTS = pathlib.Path(__file__).parent
LPAR_UUID = '4D2C1F61-8F2D-4C1C-9E4C-0E6C2B6D3A11'


@pytest.hookimpl(optionalhook=True)     # of xdist
def pytest_xdist_auto_num_workers():
    """Return how many workers ``-n auto`` starts: two a processor, since tests mostly wait."""
    return 2 * len(os.sched_getaffinity(0))


def pytest_collection_modifyitems(items):
    """Mark tests by their directory."""
    for item in items:
        for marker in MARKERS.get(item.path.relative_to(TESTS).parts[0], ()):
            item.add_marker(marker)


@pytest.fixture
def lpar_uuid():
    return LPAR_UUID


@pytest.fixture
def volume_id():
    return str(uuid.uuid4())


@pytest.fixture
def share():
    """A directory on a real mount that is not the root file system."""
    with tempfile.TemporaryDirectory(prefix='powervm-fileio-', dir='/dev/shm') as directory:
        yield pathlib.Path(directory)


@pytest.fixture
def make_volume(share):
    """Make a sparse volume file and return its path."""
    def make(name='volume-1', size=1 << 20):
        path = share / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, 'ab') as volume:
            volume.truncate(size)
        return str(path)
    return make
