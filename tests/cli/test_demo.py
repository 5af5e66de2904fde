# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio demo`` and ``simulate``, as a new user runs them."""

import contextlib
import glob
import json
import os
import re
import signal
import subprocess

import pytest

from powervm_fileio_connector.simulator import NovaLinkSimulator
from tests.waiting import wait_until


def test_demo_shows_each_step_and_leaves_nothing_behind(run):
    outcome = run('demo')
    assert outcome.code == 0
    assert 'Next: run "powervm-fileio simulate"' in outcome.err
    assert max(map(len, (outcome.out + outcome.err).splitlines())) <= 80
    steps = [line.split('|')[1].strip() for line in outcome.out.splitlines()
             if line.startswith('|')][1:]
    assert steps == ['attach', 'attach again', 'extend', 'detach', 'detach again']
    assert re.search(r'\| attach  .* \| lun1 \| 64 MiB \| volume-1 \|', outcome.out)
    assert re.search(r'\| extend  .* \| lun1 \| 96 MiB \| volume-1 \|', outcome.out)
    # Those of tests that run beside this one go as well.
    wait_until(lambda: glob.glob('/dev/shm/powervm-fileio-demo-*') == [])


def test_demo_runs_behind_a_proxy(run):
    proxy = 'http://127.0.0.1:9'
    outcome = run('demo', environment={'http_proxy': proxy, 'https_proxy': proxy, 'no_proxy': ''})
    assert (outcome.code, 'Next: run' in outcome.err) == (0, True)


def test_demo_counts_the_requests_of_each_step(run):
    outcome = run('demo', '-f', 'json')
    rows = {row['step']: row for row in json.loads(outcome.out)}
    assert (rows['attach']['get'], rows['attach']['post']) == (2, 1)
    assert rows['attach']['size_bytes'] == 64 << 20
    assert rows['attach again']['post'] == 0
    assert (rows['detach']['get'], rows['detach']['post']) == (2, 1)
    assert rows['detach again']['post'] == 0
    assert rows['detach again']['size_bytes'] is None


def test_library_log_lines_are_shown_when_asked_for(run):
    assert 'is attached to LPAR' in run('-v', 'demo').err
    assert 'Starting new HTTP connection' in run('--debug', 'demo').err


def test_without_arguments_the_help_is_shown(run):
    outcome = run()
    assert outcome.code == 0
    assert 'demo ' in outcome.out
    assert outcome.err == ''


def test_an_unknown_command_is_a_usage_error(run):
    outcome = run('mount')
    assert outcome.code == 2
    assert 'Traceback' not in outcome.err


@pytest.mark.parametrize('signal_number', [signal.SIGINT, signal.SIGTERM])
def test_simulate_serves_until_it_is_ended(command, tmp_path, signal_number):
    with _simulate(command, tmp_path) as process:
        first = process.stdout.readline()
        url = re.fullmatch(r'NovaLink simulator at (http://127\.0\.0\.1:\d+)\n', first)[1]
        assert sum('LPAR' in process.stdout.readline() for _ in range(3)) == 3
        # The last one belongs to another program.
        assert _lpar_names(url) == ['lpar1', 'lpar2', 'lpar3', 'other']
        assert list(tmp_path.iterdir())
        process.send_signal(signal_number)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert err == ''
    assert list(tmp_path.iterdir()) == []


@contextlib.contextmanager
def _simulate(command, tmp_path):
    with subprocess.Popen([command, 'simulate', '--lpars', '3'], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True,
                          env={**os.environ, 'TMPDIR': str(tmp_path)}) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(('option', 'words'), [
    (['--port', '80000'], '80000 is no port'), (['--lpars', '-1'], 'not a number from 0 on'),
    (['--mappings', '-1'], 'not a number from 0 on'),
    (['--latency-ms', '-1'], 'not a number from 0 on'), (['--lpars', '0', '--mappings', '1'],
                                                         'need at least one LPAR'),
    (['--recording', 'no-such'], 'no-such: No such file'),
    (['--state', '/no/such/state'], '/no/such/state'),
])
def test_simulate_says_what_makes_no_sense(run, option, words):
    outcome = run('simulate', *option)
    assert outcome.code == 2
    assert words in outcome.err


def test_simulate_names_a_port_that_is_taken(run, novalink):
    outcome = run('simulate', '--port', novalink.port)
    assert outcome.code == 2
    assert f'port {novalink.port}: Address already in use.' in outcome.err


def test_simulate_takes_nothing_but_a_file_for_its_state(run, tmp_path):
    os.mkfifo(tmp_path / 'state')
    outcome = run('simulate', '--state', tmp_path / 'state')
    assert outcome.code == 2
    assert 'is no regular file' in outcome.err


@pytest.mark.parametrize('content', ['', '{}', '[]', '{"format": 1, "state": {}}'])
def test_simulate_names_a_state_that_is_spoilt(run, tmp_path, content):
    (tmp_path / 'state').write_text(content)
    outcome = run('simulate', '--state', tmp_path / 'state')
    assert outcome.code == 2
    assert f'{tmp_path}/state is no state of this simulator.' in outcome.err


def test_simulate_says_what_is_ignored(command, tmp_path):
    state = ['--state', tmp_path / 'state']
    recording = ['--recording', 'fake_vios_feed.txt']
    assert _said_on_start(command, *state, *recording) == ''
    assert _said_on_start(command, *recording, '--lpars', '3') == (
        '--lpars ignored: the simulator starts from --recording.\n')
    assert _said_on_start(command, *state, *recording, '--lpars', '3') == (
        f'--recording and --lpars ignored: the simulator starts from --state {state[1]}.\n')


@pytest.mark.parametrize('name', ['fake_vios_feed.txt', 'fake_vios_hosting_vios_feed.txt'])
def test_recordings_that_the_documentation_names_serve_our_commands(run, name):
    with NovaLinkSimulator(recording=name) as novalink:
        assert run('list', '--all-storage', '--simulator', novalink.url).code == 0


def _said_on_start(command, *arguments):
    with subprocess.Popen([command, 'simulate', *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith('Ctrl-C'):
                break
        process.send_signal(signal.SIGINT)
        return process.communicate(timeout=20)[1]


def _lpar_names(url):
    from pypowervm import adapter
    from pypowervm.wrappers import logical_partition

    session = adapter.Session(host='localhost', protocol='http', port=int(url.rpartition(':')[2]))
    names = [lpar.name for lpar in logical_partition.LPAR.get(adapter.Adapter(session))]
    session._logoff()
    return names
