# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all tests."""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import uuid

import hypothesis
import pytest

from tests import effort
from tests import fork_server

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

# What lies on the root file system is refused, and tests need some; /tmp may be one of its own.
if os.stat(tempfile.gettempdir()).st_dev != os.stat('/').st_dev:
    os.environ.setdefault('PYTEST_DEBUG_TEMPROOT', '/var/tmp')

# Commands that tests interrupt would inherit it, where a shell has put the tests in the background.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

TESTS = pathlib.Path(__file__).parent
LPAR_UUID = '4D2C1F61-8F2D-4C1C-9E4C-0E6C2B6D3A11'


@dataclasses.dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.hookimpl(optionalhook=True)     # of xdist
def pytest_xdist_auto_num_workers(config):
    """Return how many workers ``-n auto`` starts: two more than processors, since tests wait.

    With ``-n logical`` there is one for each processor.
    """
    more = 0 if config.option.numprocesses == 'logical' else 2
    return len(os.sched_getaffinity(0)) + more


def pytest_collection_modifyitems(items):
    """Mark tests by their directory, and run slow ones first, so that none is left at the end."""
    for item in items:
        for marker in MARKERS.get(item.path.relative_to(TESTS).parts[0], ()):
            item.add_marker(marker)
    items.sort(key=lambda item: item.get_closest_marker('slow') is None)


@pytest.fixture(scope='session')
def command():
    """The installed script, next to this Python, for tests that start a process of their own."""
    script = shutil.which('powervm-fileio', path=os.path.dirname(sys.executable))
    assert script, 'install the package with its extra cli first'
    return script


@pytest.fixture(scope='session')
def forks(command, request, tmp_path_factory):
    """The process that has imported the command and forks for each of its runs.

    All workers of a run share it, since its imports take seconds.
    """
    directory = tmp_path_factory.getbasetemp()
    if hasattr(request.config, 'workerinput'):
        directory = directory.parent        # each worker has one in that of the run
    with fork_server.Server(command, directory) as server:
        yield server


@pytest.fixture
def run(forks):
    """Run a command to its end."""
    def run(*args, stdin='', timeout=120, environment=None):
        with contextlib.ExitStack() as stack:
            streams = [stack.enter_context(tempfile.TemporaryFile('w+')) for _ in range(3)]
            streams[0].write(stdin)
            streams[0].seek(0)
            child = forks.start([str(arg) for arg in args], [s.fileno() for s in streams],
                                {**os.environ, **(environment or {})})
            code = child.wait(timeout)
            for stream in streams[1:]:
                stream.seek(0)
            return Outcome(code, *(stream.read() for stream in streams[1:]))
    return run


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
