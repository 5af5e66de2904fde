# SPDX-License-Identifier: Apache-2.0
"""The simulator in a process of its own."""

import os
import signal
import subprocess
import sys
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from pypowervm import exceptions
from pypowervm.tasks import scsi_mapper
from pypowervm.wrappers import storage
from pypowervm.wrappers import virtual_io_server as vios

from powervm_fileio_connector import simulator as s


@pytest.fixture(scope='module')
def process():
    with s.NovaLinkProcess(lpars=3, mappings=5) as running:
        yield running


def test_faults_given_at_the_start_are_in_force():
    with s.NovaLinkProcess(faults=[s.Busy503(times=1)]) as process:
        with pytest.raises(exceptions.HttpError):
            vios.VIOS.get(process.adapter())
        assert process.faults.pending() == []


def test_mappings_of_the_other_process_are_seen(process, make_file):
    path = make_file()
    adapter = process.adapter()
    scsi_mapper.add_vscsi_mapping(None, process.vios_uuid, process.lpars[0].uuid,
                                  storage.FileIO.bld(adapter, path))
    assert [m.path for m in process.mappings(process.lpars[0].uuid)][-1] == path
    process.check_invariants()


def test_requests_are_logged_with_the_servers_own_cpu(process):
    process.requests.clear()
    vios.VIOS.get(process.adapter())
    record, = process.requests.records('GET')
    assert 0 < record.cpu_seconds <= record.seconds * 1.5
    assert process.info['cpu_seconds'] > 0


def test_lpars_are_added_changed_and_removed(process):
    lpar = process.add_lpar('new')
    assert process.change_lpar(lpar.uuid, rmc_state='inactive').rmc_state == 'inactive'
    process.remove_lpar(lpar.uuid)
    assert 'new' not in [p.name for p in process.lpars]


def test_wrong_request_to_the_administration_says_what_is_known(process):
    with pytest.raises(ValueError, match='unknown GET'):
        process.ask('GET', 'weather')


def test_server_ends_when_its_stdin_closes():
    child = subprocess.Popen([sys.executable, '-m', 'powervm_fileio_connector.simulator'],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    child.stdin.write('{}\n')
    child.stdin.flush()
    assert 'port' in child.stdout.readline()
    child.stdin.close()
    assert child.wait(10) == 0
    child.stdout.close()


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP])
def test_terminated_process_leaves_no_file(monkeypatch, tmp_path, number):
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    with s.NovaLinkProcess() as running:
        kept = running.session()
        assert len(list(tmp_path.iterdir())) == 1
        running._process.send_signal(number)
        running._process.wait(30)
        assert list(tmp_path.iterdir()) == []
        assert kept is not None


@pytest.mark.skipif(os.geteuid() != 0, reason='needs root')
def test_simulator_that_root_runs_is_used_by_another_user(novalink):
    code = f"""
import os
from pypowervm import adapter
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
session = adapter.Session(host='127.0.0.1', port={novalink.port}, protocol='http')
adapter.Adapter(session).read('LogicalPartition')
session._logoff()
"""
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], check=True, timeout=60)


@pytest.mark.parametrize('cls', [s.NovaLinkSimulator, s.NovaLinkProcess])
def test_lpar_that_is_not_there_is_a_value_error(cls):
    with cls() as sim:
        for call in (sim.change_lpar, sim.remove_lpar, sim.recreate_lpar):
            with pytest.raises(ValueError, match='no partition nonsense'):
                call('nonsense')


@pytest.mark.parametrize('cls', [s.NovaLinkSimulator, s.NovaLinkProcess])
@pytest.mark.parametrize('excepted', ['', 'example.com', '*'])
def test_the_simulators_client_goes_past_proxies(cls, excepted, monkeypatch):
    for name in ('http_proxy', 'all_proxy'):
        monkeypatch.setenv(name, 'http://127.0.0.1:9')
        monkeypatch.setenv(name.upper(), 'http://127.0.0.1:9')
    monkeypatch.setenv('no_proxy', excepted)
    monkeypatch.delenv('NO_PROXY', raising=False)
    with cls() as novalink:
        assert len(vios.VIOS.get(novalink.adapter())) == 1


def test_stopped_process_no_longer_listens():
    with s.NovaLinkProcess() as running:
        url = running.url
    with pytest.raises(URLError):
        urlopen(f'{url}/simulator/info', timeout=5)
