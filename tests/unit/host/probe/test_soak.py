# SPDX-License-Identifier: Apache-2.0
"""Nothing is left of probes that are disturbed. More of them, on demand: see ``soak.py``."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests import effort

PROBES = int(os.environ.get('POWERVM_FILEIO_SOAK_PROBES', effort.of(100, 200)))


@pytest.mark.slow
@pytest.mark.parametrize('mode', ['native', 'eventlet', 'mixed'])
def test_nothing_is_left_of_probes_that_are_killed_interrupted_or_forked(mode):
    pytest.importorskip('eventlet')
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', pathlib.Path(__file__).with_name('soak.py'), mode,
         str(PROBES), '1'], capture_output=True, text=True, timeout=60 + PROBES)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told['answered'] > PROBES / 4, told
    assert told['disturbed'], told
