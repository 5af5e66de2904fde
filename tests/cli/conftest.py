# SPDX-License-Identifier: Apache-2.0
"""The real entry point, in a process of its own: forked where ``run`` or ``operate`` runs it."""

import contextlib
import json
import os
import signal
import tempfile
import threading

import pytest

from powervm_fileio_connector.simulator import Fault
from powervm_fileio_connector.simulator import NovaLinkSimulator
from powervm_fileio_connector.simulator.etags import SCSI
from powervm_fileio_connector.simulator.model import FileFact
from powervm_fileio_connector.simulator.model import NewMapping
from powervm_fileio_connector.simulator.state import State
from tests import cinder_api
from tests.conftest import Outcome


@pytest.fixture
def operate(run, novalink):
    """Run a command against the simulator of this test."""
    def operate(name, *args, **kwargs):
        return run(name, *args, '--simulator', novalink.url, **kwargs)
    return operate


@pytest.fixture
def begin(forks, novalink):
    """Begin a command against the simulator of this test, and go on meanwhile."""
    with contextlib.ExitStack() as stack:
        yield lambda *args: stack.enter_context(Begun(
            forks, [*map(str, args), '--simulator', novalink.url]))


class Begun:
    """A command that has begun; with the block it ends.

    :ivar stderr: what it writes to standard error
    """

    def __init__(self, forks, arguments):
        self._stdout = tempfile.TemporaryFile('w+')     # noqa: SIM115
        ours, theirs = os.pipe()
        self.stderr = open(ours)    # noqa: SIM115
        self._has_ended = False
        with open(os.devnull) as nothing, open(theirs, 'w') as stderr:
            self._child = forks.start(
                arguments, [nothing.fileno(), self._stdout.fileno(), stderr.fileno()])

    def interrupt(self):
        os.kill(self._child.pid, signal.SIGINT)

    def outcome(self):
        """Wait for its end; what was read of standard error is not in the outcome."""
        err = self.stderr.read()
        code, self._has_ended = self._child.wait(60), True
        self._stdout.seek(0)
        return Outcome(code, self._stdout.read(), err)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        if not self._has_ended:
            os.kill(self._child.pid, signal.SIGKILL)
            self._child.wait(60)
        self.stderr.close()
        self._stdout.close()


@pytest.fixture
def as_json(operate):
    """Run a command and return what it says, as data."""
    def as_json(name, *args, code=0, **kwargs):
        outcome = operate(name, *args, '-f', 'json', **kwargs)
        assert outcome.code == code, outcome
        return outcome.json
    return as_json


@pytest.fixture
def add_mapping(novalink):
    """Add the mapping that ``attach`` adds where an LPAR has none, and return the path.

    That needs no process.
    """
    def add_mapping(path, lpar='lpar1', tag=None, **fields):
        [lpar_uuid] = [one.uuid for one in novalink.lpars if one.name == lpar]
        new = NewMapping('file', path, lpar_uuid, tag=tag, backstore='loop', **fields)
        state, vios = novalink.state, novalink.vios_uuid
        state.replace_mappings(
            vios, state.etag(vios, SCSI), SCSI, {one.id for one in state.mappings(vios)}, [new],
            {path: FileFact(True, True, os.path.getsize(path))})
        return path
    return add_mapping


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
