# SPDX-License-Identifier: Apache-2.0
"""What the README shows, runs."""

import pathlib
import re
import subprocess
import sys
import textwrap

import pytest

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / 'README.rst').read_text()


def code_blocks(text):
    for block in re.findall(r'\.\. code-block:: python\n\n((?:    .*\n|\n)+)', text):
        yield textwrap.dedent(block)


@pytest.mark.parametrize('code', list(code_blocks(README)))
def test_python_examples_run_as_printed_and_warn_of_nothing(code, tmp_path):
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, '')
    assert 'lun1' in done.stdout


def test_continuous_integration_runs_the_commands_of_the_readme():
    commands = re.findall(r'::\n\n    (.*&&.*)\n', README)
    assert [command.rpartition('/')[2] for command in commands] == [
        'powervm-fileio demo', 'tox -p 2']
    lines = (ROOT / '.ci' / 'run').read_text().splitlines()
    assert [line for line in lines if line in commands] == commands
