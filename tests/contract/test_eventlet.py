# SPDX-License-Identifier: Apache-2.0
"""Under eventlet, a call that has ended leaves neither a green thread nor a connection behind."""

import json
import pathlib
import subprocess
import sys

import pytest

from powervm_fileio_connector.simulator import Trickle

SCRIPT = pathlib.Path(__file__).with_name('eventlet_client.py')


@pytest.fixture
def run(novalink, lpar, make_volume, share):
    """Attach and detach volumes in a process that eventlet has patched."""
    def run(calls, deadline_s):
        for i in range(calls):
            make_volume(str(i))
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', str(SCRIPT), str(novalink.port), lpar, str(share),
             str(deadline_s), str(calls)], stdout=subprocess.PIPE, timeout=120, check=True,
            cwd=SCRIPT.parents[2])
        return json.loads(done.stdout.splitlines()[-1])
    return run


def test_a_server_that_trickles_holds_no_thread_and_no_connection(novalink, run):
    novalink.faults.add(Trickle(times=None, path='VirtualIOServer'))
    outcome = run(4, 1.5)
    assert {one['error'] for one in outcome['calls']} == {'NovaLinkUnavailable'}
    assert max(one['seconds'] for one in outcome['calls']) < 2.5
    assert outcome['left_open'] == 0
