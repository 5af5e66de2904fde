# SPDX-License-Identifier: Apache-2.0
"""Under eventlet, greenlets and native threads together wait for no longer than their deadline."""

import json
import pathlib
import subprocess
import sys

import pytest

from powervm_fileio_connector.simulator import Latency
from powervm_fileio_connector.simulator import Trickle

VOLUMES = 16


@pytest.fixture
def run(novalink, make_volume):
    pytest.importorskip('eventlet')

    def run(timeout_s):
        settings = {'port': novalink.port, 'timeout_s': timeout_s, 'volumes': [
            (novalink.lpars[number % 2].uuid, make_volume(f'volume-{number}'))
            for number in range(VOLUMES)]}
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', pathlib.Path(__file__).with_name('mixed_threads.py'),
             json.dumps(settings)], capture_output=True, text=True, timeout=150)
        assert done.returncode == 0, done.stderr[-3000:]
        told = json.loads(done.stdout.splitlines()[-1])
        assert told['calls'] == VOLUMES * 3
        return told
    return run


@pytest.mark.slow
def test_greenlets_and_native_threads_attach_and_detach_together(novalink, run):
    before = len(novalink.mappings())
    novalink.faults.add(Latency(post_s=0.05))
    told = run(60)
    assert told['done'] == told['calls'], told
    assert told['longest_s'] < 30, told
    assert len(novalink.mappings()) == before


@pytest.mark.slow
@pytest.mark.parametrize('fault', [Latency(get_s=600), Trickle(times=None)])
def test_greenlets_and_native_threads_end_by_the_deadline_whatever_the_server_does(
        fault, novalink, run):
    novalink.faults.add(fault)
    told = run(4)
    assert told['NovaLinkUnavailable'] == told['calls'], told
    assert told['longest_s'] < 4 + 1, told
