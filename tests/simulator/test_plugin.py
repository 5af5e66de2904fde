# SPDX-License-Identifier: Apache-2.0
"""The pytest plug-in in another project: no import, no option, no cost when it is unused."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.waiting import wait_until

PAGE = Path(__file__).parents[2] / 'doc' / 'source' / 'simulator.rst'


def shown(language, start):
    """The code block of the page that starts so."""
    blocks = re.findall(rf'.. code-block:: {language}\n\n((?:(?: {{4}}.*)?\n)+)', PAGE.read_text())
    return next(text for block in blocks if (text := textwrap.dedent(block)).startswith(start))


@pytest.fixture
def run_pytest(tmp_path):
    """Run a test file in a project of its own."""
    def run(text, *args, ini='[pytest]\n'):
        (tmp_path / 'pytest.ini').write_text(ini)
        (tmp_path / 'test_it.py').write_text(text)
        return subprocess.run([sys.executable, '-m', 'pytest', '-p', 'no:cacheprovider', *args],
                              cwd=tmp_path, capture_output=True, text=True, timeout=120,
                              check=False)
    return run


@pytest.mark.parametrize('ini', ['[pytest]\n', shown('ini', '[pytest]')],
                         ids=['plain', 'warnings are errors'])
def test_example_of_the_page_needs_no_option(run_pytest, ini):
    before = directories_of_volumes()
    done = run_pytest(shown('python', 'import powervm_fileio_connector as pfc'), ini=ini)
    assert '1 passed' in done.stdout, done.stdout
    # Those of tests that run beside this one go as well.
    wait_until(lambda: directories_of_volumes() <= before)


def directories_of_volumes():
    return set(Path('/dev/shm').glob('novalink-volumes-*'))


def test_run_that_does_not_use_it_imports_nothing_of_it(run_pytest):
    done = run_pytest("""
import sys


def test_nothing():
    ours = {name for name in sys.modules if name.startswith('powervm_fileio_connector')}
    assert ours == {'powervm_fileio_connector', 'powervm_fileio_connector.simulator',
                    'powervm_fileio_connector.simulator.pytest_plugin'}
    assert not {'lxml', 'pypowervm', 'os_brick'} & set(sys.modules)
""")
    assert '1 passed' in done.stdout, done.stdout


def test_simulator_itself_warns_of_nothing(run_pytest):
    done = run_pytest("""
def test_read(novalink):
    assert novalink.adapter().read('LogicalPartition').status == 200
""", '-W', 'error')
    assert '1 passed' in done.stdout, done.stdout
