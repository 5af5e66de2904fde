# SPDX-License-Identifier: Apache-2.0
"""The real entry point, in a process of its own: forked where ``run`` or ``operate`` runs it."""

import contextlib
import dataclasses
import json
import os
import shutil
import sys
import tempfile
import threading

import pytest

from powervm_fileio_connector.simulator import Fault
from powervm_fileio_connector.simulator import NovaLinkSimulator
from powervm_fileio_connector.simulator.state import State
from tests import cinder_api
from tests import fork_server


@dataclasses.dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture(scope='session')
def command():
    """The installed script, next to this Python, for tests that start a process of their own."""
    script = shutil.which('powervm-fileio', path=os.path.dirname(sys.executable))
    assert script, 'install the package with its extra cli first'
    return script


@pytest.fixture(scope='session')
def forks(command):
    """A process that has imported the command and forks for each of its runs."""
    with (tempfile.TemporaryDirectory(prefix='powervm-fileio-') as directory,
          fork_server.Server(command, directory) as server):
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
def operate(run, novalink):
    """Run a command against the simulator of this test."""
    def operate(name, *args, **kwargs):
        return run(name, *args, '--simulator', novalink.url, **kwargs)
    return operate


@pytest.fixture
def as_json(operate):
    """Run a command and return what it says, as data."""
    def as_json(name, *args, code=0, **kwargs):
        outcome = operate(name, *args, '-f', 'json', **kwargs)
        assert outcome.code == code, outcome
        return outcome.json
    return as_json


@pytest.fixture
def write_json(tmp_path):
    """Write JSON to a file and return its path."""
    def write(content, name='volumes.json'):
        path = tmp_path / name
        path.write_text(json.dumps(content))
        return path
    return write


@pytest.fixture
def connection_info(make_volume):
    """Make a volume's file and the connection_info that Cinder would send for it."""
    def make(name='volume-1', **keys):
        return {'driver_volume_type': 'gpfs', **keys,
                'data': {'name': name, 'device_path': make_volume(name)}}
    return make


@pytest.fixture
def cloud():
    """A cloud with Keystone and Cinder, as far as the commands of Cinder need them."""
    with cinder_api.CinderApi() as api:
        yield api


@pytest.fixture
def changed_world(novalink, run):
    """The host as it would be if its mappings were a bit different."""
    @contextlib.contextmanager
    def changed(**fields):
        snapshot = novalink.state.snapshot()
        for mapping in snapshot['mappings']:
            mapping.update(fields, source=None)
        with NovaLinkSimulator(state=State.from_snapshot(snapshot)) as other:
            yield other, lambda *args: run(*args, '--simulator', other.url)
    return changed


class Held(Fault):
    """Holds requests of one method, until the block ends."""

    def __init__(self, novalink, method):
        super().__init__(times=None, method=method)
        object.__setattr__(self, 'reached', threading.Event())
        object.__setattr__(self, 'opened', threading.Event())
        novalink.faults.add(self)

    def on_request(self, exchange):
        self.reached.set()
        assert self.opened.wait(120)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.opened.set()


def posts(novalink):
    """The changes that were sent."""
    return novalink.requests.count('POST')
