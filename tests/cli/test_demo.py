# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio demo`` and ``simulate``, as a new user runs them."""

import glob
import json
import re
import signal
import subprocess

import pytest


def test_demo_shows_each_step_and_leaves_nothing_behind(run):
    outcome = run('demo')
    assert outcome.code == 0
    assert outcome.err == ''
    steps = [line.split('|')[1].strip() for line in outcome.out.splitlines()
             if line.startswith('|')][1:]
    assert steps == ['attach', 'attach again', 'extend', 'detach', 'detach again']
    assert re.search(r'\| attach  .* \| lun1 \| 64 MiB \| volume-1 \|', outcome.out)
    assert re.search(r'\| extend  .* \| lun1 \| 96 MiB \| volume-1 \|', outcome.out)
    assert glob.glob('/dev/shm/powervm-fileio-demo-*') == []


def test_demo_counts_the_requests_of_each_step(run):
    outcome = run('demo', '-f', 'json')
    rows = {row['Step']: row for row in json.loads(outcome.out)}
    assert (rows['attach']['GET'], rows['attach']['POST']) == (2, 1)
    assert rows['attach again']['POST'] == 0
    assert (rows['detach']['GET'], rows['detach']['POST']) == (1, 1)
    assert rows['detach again']['POST'] == 0
    assert rows['detach again']['Disk'] == 'none'


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


@pytest.mark.parametrize('signal_number', [signal.SIGINT])
def test_simulate_serves_until_it_is_interrupted(command, signal_number):
    with subprocess.Popen([command, 'simulate', '--lpars', '3'], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        first = process.stdout.readline()
        url = re.fullmatch(r'NovaLink simulator at (http://localhost:\d+)\n', first)[1]
        assert sum('LPAR' in process.stdout.readline() for _ in range(3)) == 3
        assert _lpar_names(url) == ['lpar1', 'lpar2', 'lpar3']
        process.send_signal(signal_number)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert err == ''


def _lpar_names(url):
    from pypowervm import adapter
    from pypowervm.wrappers import logical_partition

    session = adapter.Session(host='localhost', protocol='http', port=int(url.rpartition(':')[2]))
    names = [lpar.name for lpar in logical_partition.LPAR.get(adapter.Adapter(session))]
    session._logoff()
    return names
