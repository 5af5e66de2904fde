# SPDX-License-Identifier: Apache-2.0
"""What calls wait for, how long at most, and that they say so."""

import dataclasses
import os
import re
import subprocess
import sys
import threading
import time

import pytest
from oslo_config import cfg

import powervm_fileio_connector as pfc
from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.novalink import locks
from powervm_fileio_connector.novalink import retry
from powervm_fileio_connector.simulator import Busy503
from powervm_fileio_connector.simulator import HeldPost
from powervm_fileio_connector.simulator import RefuseConnection
from powervm_fileio_connector.simulator import Slow
from tests.contract.conftest import client_of
from tests.contract.conftest import committer_for
from tests.contract.conftest import deadline
from tests.contract.conftest import end_fork
from tests.contract.conftest import make_connector


def test_a_child_forked_while_a_thread_commits_attaches_at_once(novalink, config, make_volume):
    config.set_override('rest_timeout_s', 120.0, group=conf.GROUP)      # for what the parent does
    connector = make_connector(novalink, config)
    connector.connect_volume({'path': make_volume('first')})
    child_adapter = novalink.adapter()
    paths = [make_volume(name) for name in ('parent', 'child', 'child-2')]
    held = HeldPost(in_turn=False)
    novalink.faults.add(held)
    parent = threading.Thread(target=connector.connect_volume, args=({'path': paths[0]},))
    parent.start()
    assert held.reached.wait(20)
    child = os.fork()
    if not child:
        status = 1
        try:
            own = pfc.FileIOConnector('sudo', adapter=child_adapter, conf=config,
                                      lpar_uuid=novalink.lpars[0].uuid)
            start = time.monotonic()
            own.connect_volume({'path': paths[1]})
            connector.connect_volume({'path': paths[2]})
            status = 0 if time.monotonic() - start < 15 else 2
        finally:
            end_fork(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    held.release()
    parent.join(120)
    assert not parent.is_alive()
    assert {one.path for one in novalink.mappings()} == {make_volume('first'), *paths}


HOLDER = """
import os, signal, sys
from oslo_concurrency import lockutils
name, path = sys.argv[1:]
with lockutils.external_lock(name, lock_path=path):
    print('held', flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_stopped_process_that_holds_the_lock_is_waited_for_once_and_shortly(
        novalink, connector, make_volume, tmp_path, monkeypatch):
    assert locks.FILE_LOCK_WAIT_S <= 5
    monkeypatch.setattr(locks, 'FILE_LOCK_WAIT_S', 1.0)
    cfg.CONF.set_override('lock_path', str(tmp_path), group='oslo_concurrency')
    name = f'powervm-fileio-{novalink.vios_uuid.lower()}'
    with subprocess.Popen([sys.executable, '-W', 'ignore', '-c', HOLDER, name, str(tmp_path)],
                          stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == 'held\n'
            took = []
            for i in range(2):
                start = time.monotonic()
                connector.connect_volume({'path': make_volume(f'volume-{i}')})
                took.append(time.monotonic() - start)
        finally:
            process.kill()
            cfg.CONF.clear_override('lock_path', group='oslo_concurrency')
    assert 1.0 <= took[0] < 4.0
    assert took[1] < 0.9
    assert len(novalink.mappings()) == 2


@pytest.fixture
def soon(monkeypatch):
    """Waiting is spoken of after a moment already."""
    assert retry.SILENCE_S == 2.0
    monkeypatch.setattr(retry, 'SILENCE_S', 0.2)


def test_a_server_that_is_silent_is_spoken_of_and_until_when_it_is_waited_for(
        novalink, lpar, make_volume, caplog, soon):
    committer = committer_for(novalink.adapter(), novalink.vios_uuid)
    novalink.faults.add(Slow(seconds=0.6, method='POST'))
    before = time.localtime(time.time() + 20)
    committer.submit(AddMapping(lpar, make_volume()), deadline(20))
    told = [one for one in caplog.messages if 'has not answered' in one]
    assert len(told) == 1
    after = time.localtime(time.time() + 20)
    assert time.strftime('%H:%M:%S', before) <= told[0].split()[-4] <= time.strftime(
        '%H:%M:%S', after)


@pytest.mark.parametrize('is_read', [True, False])
def test_a_server_that_serves_nothing_is_spoken_of(novalink, lpar, make_volume, caplog, soon,
                                                   is_read):
    client = client_of(novalink.adapter())
    novalink.faults.add(Busy503(times=None))
    committer, edit = client.committer(novalink.vios_uuid), AddMapping(lpar, make_volume())
    with pytest.raises(exceptions.NovaLinkBusy):
        client.lpar(lpar, deadline(1.0)) if is_read else committer.submit(edit, deadline(1.0))
    assert 'does not serve requests (Service is unavailable); trying again until' in caplog.text


class Outage:
    """Begins when it is first met, and ends after some seconds."""

    def __init__(self, seconds):
        self._seconds = seconds
        self._began = None

    def is_on(self):
        """Whether it has not ended."""
        self._began = self._began or time.monotonic()
        return time.monotonic() < self._began + self._seconds


@dataclasses.dataclass(frozen=True)
class Away(RefuseConnection):
    """No connection is served during an outage."""

    outage: Outage = None

    def on_connect(self):
        return self.outage.is_on()


@dataclasses.dataclass(frozen=True)
class Starting(Busy503):
    """Every request is answered by 503 during an outage."""

    outage: Outage = None

    def on_request(self, context):
        return super().on_request(context) if self.outage.is_on() else None


def test_an_attach_outlasts_an_outage_of_three_seconds_and_says_that_it_waits(
        novalink, connector, make_volume, caplog, monkeypatch):
    # A loaded machine may take long between two tries.
    monkeypatch.setattr(retry, 'PATIENCE_S', 20.0)
    novalink.faults.add(Away(times=None, outage=Outage(3.0)))
    before = time.localtime()
    connector.connect_volume({'path': make_volume()})
    said = re.search(r'NovaLink at localhost (?:does not serve requests|has not answered) .* until '
                     r'(\d\d:\d\d:\d\d) at the latest\.', caplog.text)
    assert said, caplog.text
    assert said[1] > time.strftime('%H:%M:%S', before) or before.tm_hour == 23


def test_waiting_for_a_quick_answer_is_not_logged(novalink, connector, make_volume, caplog):
    connector.connect_volume({'path': make_volume()})
    assert 'until' not in caplog.text
