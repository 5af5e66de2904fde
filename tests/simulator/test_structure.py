# SPDX-License-Identifier: Apache-2.0
"""The simulator needs nothing of the package, and states its assumptions."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from powervm_fileio_connector import simulator
from tests.simulator.assumptions import assumptions

ROOT = pathlib.Path(simulator.__file__).parent


def test_it_runs_as_a_package_of_its_own(tmp_path):
    shutil.copytree(ROOT, tmp_path / 'novalink_simulator',
                    ignore=shutil.ignore_patterns('__pycache__'))
    code = """
import sys
from novalink_simulator import NovaLinkProcess, NovaLinkSimulator
for cls in (NovaLinkSimulator, NovaLinkProcess):
    with cls(lpars=2) as sim:
        assert len(sim.lpars) == 2
        sim.adapter().read('LogicalPartition')
assert 'powervm_fileio_connector' not in sys.modules
"""
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], cwd=tmp_path, check=True,
                   timeout=60)


def test_assumptions_are_listed_with_their_module():
    found = assumptions()
    assert len(found) > 10
    assert {'placement', 'etags', 'changes'} <= {one.module for one in found}
    assert all(one.text and 'ASSUMED' not in one.text for one in found)


@pytest.mark.parametrize('assumption', assumptions(), ids=lambda one: one.text[:30])
def test_an_assumption_reads_as_a_sentence(assumption):
    assert re.fullmatch('[A-Z].*[.]', assumption.text)
    assert '``' not in assumption.text
