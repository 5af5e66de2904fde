# SPDX-License-Identifier: Apache-2.0
"""Random histories of several processes, with faults and SIGKILL: callers were told the truth.

``POWERVM_FILEIO_HISTORIES`` is how many are played, ``POWERVM_FILEIO_SEED`` where the seeds begin.
"""

import dataclasses
import glob
import json
import multiprocessing
import os
import pathlib
import random
import subprocess
import sys

import pytest

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.simulator import Busy500
from powervm_fileio_connector.simulator import Busy503
from powervm_fileio_connector.simulator import DropAfterApply
from powervm_fileio_connector.simulator import DropBeforeApply
from powervm_fileio_connector.simulator import EtagOnlyIn
from powervm_fileio_connector.simulator import ExpiredSession
from powervm_fileio_connector.simulator import HeldPost
from powervm_fileio_connector.simulator import InternalError500
from powervm_fileio_connector.simulator import LPARLinksWithoutUUID
from powervm_fileio_connector.simulator import MixedCaseUUIDs
from powervm_fileio_connector.simulator import NovaLinkSimulator
from powervm_fileio_connector.simulator import OmitLUA
from powervm_fileio_connector.simulator import ProcessingInstructions
from powervm_fileio_connector.simulator import RefuseConnection
from powervm_fileio_connector.simulator import Restart
from powervm_fileio_connector.simulator import Slow
from powervm_fileio_connector.simulator import StaleEtag412
from powervm_fileio_connector.simulator import TruncatedAnswer
from tests import effort
from tests.contract import histories
from tests.contract.conftest import committer_for

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get('POWERVM_FILEIO_HISTORIES', effort.of(30, 100)))
FIRST = int(os.environ.get('POWERVM_FILEIO_SEED', '0'))
GROUPS = 10
FAULTS = [
    (Busy503, 0.05), (Busy500, 0.05), (StaleEtag412, 0.1), (DropBeforeApply, 0.05),
    (DropAfterApply, 0.05), (TruncatedAnswer, 0.05), (RefuseConnection, 0.03), (Restart, 0.02),
    (ExpiredSession, 0.02), (InternalError500, 0.03), (OmitLUA, 0.1), (Slow, 0.05),
    (EtagOnlyIn, 1.0), (MixedCaseUUIDs, 0.5), (LPARLinksWithoutUUID, 0.5),
    (ProcessingInstructions, 0.5)]
MORE = {Slow: {'seconds': 0.05}, EtagOnlyIn: {'place': 'metadata'}}
GREEN = """
import eventlet
eventlet.monkey_patch()
import sys
from tests.contract import histories
histories.run_green(sys.argv[1])
"""


@pytest.fixture(scope='module')
def forks():
    """Processes that have everything imported already: an interpreter takes a second to start."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['tests.contract.histories'])
    return context


@pytest.mark.parametrize('group', range(GROUPS))
def test_the_server_holds_exactly_what_callers_were_told(forks, share, tmp_path, group):
    for seed in range(FIRST + group, FIRST + COUNT, GROUPS):
        History(seed, forks, share, tmp_path / str(seed)).play()


class History:
    """One history, from its seed; every fortieth is of full size, another one under eventlet.

    A process is killed, or else its callers may give up on changes that the server makes later:
    what a killed process has sent, nobody knows.
    """

    def __init__(self, seed, forks, share, directory):
        self.seed, self._forks, self._directory = seed, forks, directory
        self._rng = random.Random(seed)
        is_full = seed % 40 == 0
        self._processes, self._threads = (4, 4) if is_full else (2, 2)
        self._is_green = seed % 20 == 10
        self._is_killed = not self._is_green and self._rng.random() < 0.5
        directory.mkdir()
        self._volumes = []
        for i in range(40 if is_full else 8):
            path = share / f'volume-{i}'
            path.touch()
            os.truncate(path, 1 << 20)
            self._volumes.append(str(path))

    def play(self):
        """Play it, and compare."""
        with NovaLinkSimulator(lpars=6, mappings=self._rng.choice([0, 3, 40]),
                               links_of_files=self._rng.random() < 0.5) as novalink:
            foreign = novalink.mappings()
            for kind, probability in self._rng.sample(FAULTS, k=self._rng.randint(1, 5)):
                novalink.faults.add(kind(times=None, probability=probability,
                                         seed=self._rng.randrange(1 << 30), **MORE.get(kind, {})))
            if not self._is_killed:
                novalink.faults.add(HeldPost(seconds=0.8, times=None, probability=0.1,
                                             seed=self._rng.randrange(1 << 30)))
            self._run_clients(novalink)
            novalink.faults.clear()
            self._await_held_changes(novalink)
            novalink.state.check_invariants()
            now = novalink.mappings()
            assert [m for m in now if m.path not in self._volumes] == foreign, self.seed
            self._compare({path: [m for m in now if m.path == path] for path in self._volumes})

    def _run_clients(self, novalink):
        clients = {number: self._start(novalink, number, 0) for number in range(self._processes)}
        if self._is_killed:
            victim = self._rng.randrange(self._processes)
            clients[victim].join(self._rng.uniform(0.02, 0.3))
            clients[victim].kill()
            clients[victim].join()
            clients[victim] = self._start(novalink, victim, 1)
        for client in clients.values():
            client.join(120)
            assert client.exitcode == 0, f'history {self.seed}: a client did not end'

    def _start(self, novalink, number, life):
        per_thread = len(self._volumes) // (self._processes * self._threads)
        first = number * self._threads
        orders = histories.Orders(
            seed=f'{self.seed}-{number}-{life}', port=novalink.port, vios_uuid=novalink.vios_uuid,
            lpars=tuple(lpar.uuid for lpar in novalink.lpars),
            volumes=tuple(tuple(self._volumes[i * per_thread:(i + 1) * per_thread])
                          for i in range(first, first + self._threads)),
            turns=4, log=str(self._directory / str(number)),
            lock_path=str(self._directory) if self.seed % 2 else None,
            sessions=1 + self.seed % 3 // 2, is_forking=self.seed % 4 == 1 and not self._is_killed,
            deadlines_s=(15.0,) if self._is_killed else (15.0, 15.0, 0.6))
        if self._is_green:
            return GreenProcess(orders)
        process = self._forks.Process(target=histories.run, args=(orders,), daemon=True)
        process.start()
        return process

    def _await_held_changes(self, novalink):
        """Make changes that wait for all that are held."""
        committer = committer_for(novalink.adapter(), novalink.vios_uuid)
        lpar, path = novalink.lpars[0].uuid, pathlib.Path(self._volumes[0]).with_name('last')
        path.touch()
        os.truncate(path, 1 << 20)
        committer.submit(AddMapping(lpar, str(path)), Deadline(30))
        committer.submit(RemoveMapping(lpar, paths=(str(path),)), Deadline(30))

    def _compare(self, held):
        """Replay what callers were told; each volume has to be in a state that this allows."""
        told = {path: Told() for path in self._volumes}
        for log in glob.glob(str(self._directory / '*-*')):
            if os.path.isfile(log) and not os.path.basename(log).startswith('powervm'):
                with open(log) as lines:
                    for line in lines:
                        event = json.loads(line)
                        told[event['path']].hear(event, self.seed)
        for path, mappings in held.items():
            told[path].check(path, mappings, self.seed)


class GreenProcess:
    """A client process that eventlet has patched, with the methods of multiprocessing's."""

    def __init__(self, orders):
        self._process = subprocess.Popen(
            [sys.executable, '-W', 'ignore', '-c', GREEN, json.dumps(dataclasses.asdict(orders))],
            cwd=pathlib.Path(__file__).parents[2])

    def join(self, timeout_s):
        self._process.wait(timeout_s)

    @property
    def exitcode(self):
        return self._process.returncode


class Told:
    """What callers know of one volume: the LPARs it may be mapped to; None: to none."""

    def __init__(self):
        self.states = {None}
        self.shown = None
        self._open = None

    def hear(self, event, seed):
        """Take in one line of a log."""
        if event['state'] == 'intent':
            self._end_as_unknown()
            self._open = event
            return
        self._open = None
        lpar = event['lpar']
        assert event['late_s'] < 2, (seed, event)
        if event['state'] == 'error':
            self._hear_error(event, lpar, seed)
        elif event['kind'] == 'AddMapping':
            assert self.states & {None, lpar}, (seed, event, self.states)
            self.states, self.shown = {lpar}, event['shown']
        else:
            self.states = {None if state == lpar else state for state in self.states}

    def _hear_error(self, event, lpar, seed):
        error = event['error']
        if error == 'VolumeInUse':
            assert self.states - {None, lpar}, (seed, event, self.states)
            self.states -= {None, lpar}
        elif error == 'SlotOrLUAConflict':
            assert lpar in self.states, (seed, event, self.states)
            self.states = {lpar}
        elif error in ('NovaLinkUnavailable', 'MappingFailed'):
            # A refusal would say why; here only a failing server ends like this.
            assert error != 'MappingFailed' or 'unexpected error' in event['text'], (seed, event)
            self._open = event
            self._end_as_unknown()
        else:
            # Says that nothing was carried out.
            assert error == 'NovaLinkBusy', (seed, event)

    def _end_as_unknown(self):
        """An edit has begun, and nobody was told how it ended."""
        if self._open is None:
            return
        lpar = self._open['lpar']
        if self._open['kind'] == 'AddMapping':
            self.states |= {lpar} if None in self.states else set()
        elif lpar in self.states:
            self.states |= {None}
        self.shown = self._open = None

    def check(self, path, mappings, seed):
        """The server's mappings of the volume are what callers were told."""
        self._end_as_unknown()
        assert len(mappings) <= 1, (seed, mappings)
        held = mappings[0].lpar_uuid if mappings else None
        assert held in self.states, (seed, path, mappings, self.states)
        if mappings and self.shown and self.states == {held}:
            assert [mappings[0].slot, mappings[0].lua] == self.shown, (seed, path)
