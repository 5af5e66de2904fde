# SPDX-License-Identifier: Apache-2.0
"""Connectors without adapter: one session of the process, opened at first use, never in the way."""

import concurrent.futures
import gc
import socket
import subprocess
import sys
import time

import pytest

import powervm_fileio_connector as pfc
from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.simulator import Forbidden403
from powervm_fileio_connector.simulator import Latency
from powervm_fileio_connector.simulator import Slow

LOGON = '/rest/api/web/Logon'


@pytest.fixture
def connect(novalink, config, lpar):
    """Attach a volume by a connector of its own, as os-brick's callers do."""
    for name, value in [('port', novalink.port), ('protocol', 'http'), ('username', 'admin'),
                        ('password', 'hunter2')]:
        config.set_override(f'novalink_{name}', value, group=conf.GROUP)

    def connect(path):
        return pfc.FileIOConnector('sudo', lpar_uuid=lpar, conf=config).connect_volume(
            {'path': path})
    return connect


def test_24_connectors_at_once_log_on_once_and_share_their_changes(novalink, connect, make_volume):
    novalink.faults.add(Latency(post_s=0.5))
    paths = [make_volume(f'volume-{i}') for i in range(24)]
    with concurrent.futures.ThreadPoolExecutor(24) as threads:
        infos = list(threads.map(connect, paths))
    assert [info['path'] for info in infos] == paths
    assert novalink.requests.count('PUT') == 1
    assert novalink.requests.count('POST') <= 4
    assert {record.status for record in novalink.requests.records('POST')} == {200}


def test_dropping_a_connector_sends_nothing(novalink, connect, make_volume):
    connect(make_volume())
    requests = novalink.requests.count()
    novalink.faults.add(Slow(path='/rest', seconds=30, times=None))
    start = time.monotonic()
    gc.collect()
    assert time.monotonic() - start < 15        # a request would take 30 s
    assert novalink.requests.count() == requests


SCRIPT = """
import sys
from oslo_config import cfg
import powervm_fileio_connector as pfc
from powervm_fileio_connector import conf
port, lpar, path = sys.argv[1:]
config = cfg.ConfigOpts()
conf.read(config)
for name, value in [('port', int(port)), ('protocol', 'http'), ('username', 'admin'),
                    ('password', 'hunter2')]:
    config.set_override('novalink_' + name, value, group=conf.GROUP)
connector = pfc.FileIOConnector('sudo', lpar_uuid=lpar, conf=config)
connector.connect_volume({'path': path})
print('attached', flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def process(novalink, lpar, make_volume):
    """A process that has attached a volume, and ends when it is told to."""
    with subprocess.Popen([sys.executable, '-W', 'ignore', '-c', SCRIPT, str(novalink.port), lpar,
                           make_volume()], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        assert process.stdout.readline() == 'attached\n'
        yield process
        process.kill()


def end(process):
    start = time.monotonic()
    process.stdin.close()
    assert process.wait(30) == 0
    return time.monotonic() - start


def test_the_end_of_the_process_logs_off(novalink, process):
    end(process)
    assert [(one.method, one.status) for one in novalink.requests.records(path=LOGON)] == [
        ('PUT', 200), ('DELETE', 204)]


def test_the_end_of_the_process_does_not_wait_for_a_server_that_hangs(novalink, process):
    novalink.faults.add(Slow(path=LOGON, seconds=30))
    assert end(process) < 5


def test_a_logon_goes_past_the_proxies_of_the_environment(novalink, connect, make_volume,
                                                          monkeypatch):
    with socket.create_server(('127.0.0.1', 0)) as proxy:
        for name in ('http_proxy', 'https_proxy', 'all_proxy', 'HTTP_PROXY', 'HTTPS_PROXY'):
            monkeypatch.setenv(name, f'http://127.0.0.1:{proxy.getsockname()[1]}')
        for name in ('no_proxy', 'NO_PROXY'):
            monkeypatch.delenv(name, raising=False)
        assert connect(make_volume())['path'] == make_volume()
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()


@pytest.mark.parametrize('host', ['192.0.2.1', 'hmc1', '127.0.0.1.example', '::2'])
def test_a_file_of_this_host_is_shown_to_no_other(config, connect, make_volume, host):
    config.set_override('novalink_host', host, group=conf.GROUP)
    config.set_override('novalink_password', None, group=conf.GROUP)
    with pytest.raises(exceptions.NovaLinkUnavailable, match='for localhost only') as caught:
        connect(make_volume())
    assert host in str(caught.value)


def test_what_the_server_says_of_a_logon_that_it_refuses_is_passed_on(novalink, connect,
                                                                      make_volume):
    novalink.faults.add(Forbidden403(path=LOGON))
    with pytest.raises(exceptions.NovaLinkUnavailable, match='no authority') as caught:
        connect(make_volume())
    assert 'hunter2' not in str(caught.value)


def test_a_thread_that_cannot_be_started_is_our_own_shortage(novalink, connect, make_volume,
                                                             monkeypatch, caplog):
    path = make_volume()

    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr('powervm_fileio_connector.novalink.retry.PATIENCE_S', 0.2)
    monkeypatch.setattr('powervm_fileio_connector.novalink.retry.SILENCE_S', 0.01)
    with monkeypatch.context() as patch:
        patch.setattr('powervm_fileio_connector.novalink.exchange.threading.Thread.start', start)
        with pytest.raises(exceptions.NovaLinkUnavailable,
                           match=r'this process lacks .* new thread\. Raise the limit'):
            connect(path)
    assert 'does not serve requests' not in caplog.text
    assert "cannot be asked (can't start new thread)" in caplog.text
    assert connect(path)['path'] == path


def test_waiting_for_a_connection_is_logged(config, lpar, make_volume, caplog, monkeypatch):
    monkeypatch.setattr('powervm_fileio_connector.novalink.retry.SILENCE_S', 0.2)
    with socket.create_server(('localhost', 0)) as silent:
        for name, value in [('novalink_port', silent.getsockname()[1]), ('rest_timeout_s', 1.0),
                            ('novalink_username', 'admin'), ('novalink_password', 'hunter2')]:
            config.set_override(name, value, group=conf.GROUP)
        config.set_override('novalink_protocol', 'https', group=conf.GROUP)
        start = time.monotonic()
        with pytest.raises(exceptions.NovaLinkUnavailable, match='log on'):
            pfc.FileIOConnector('sudo', lpar_uuid=lpar, conf=config).connect_volume(
                {'path': make_volume()})
        assert time.monotonic() - start < 2
    assert 'has not answered' in caplog.text


def test_waiting_for_a_logon_is_logged(novalink, connect, make_volume, caplog, monkeypatch):
    monkeypatch.setattr('powervm_fileio_connector.novalink.retry.SILENCE_S', 0.2)
    novalink.faults.add(Slow(path=LOGON, seconds=0.6))
    connect(make_volume())
    assert 'has not answered' in caplog.text
