# SPDX-License-Identifier: Apache-2.0
"""What the documentation shows is what the command says; what it lists is all there is."""

import pathlib
import re
import subprocess
import sys
import textwrap

import pytest

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.cli import audit_checks
from powervm_fileio_connector.cli import cinder_audit
from powervm_fileio_connector.cli import errors
from powervm_fileio_connector.cli.commands import list as list_command
from tests.cli import test_output
from tests.examples import story

SOURCE = pathlib.Path(__file__).parents[2] / 'doc' / 'source'
PAGES = sorted(SOURCE.glob('*.rst'))


@pytest.fixture
def told():
    try:
        return story.outputs()
    except RuntimeError as why_not:
        pytest.skip(str(why_not))


@pytest.mark.slow
def test_outputs_are_those_of_the_command(told):
    shown = {path.stem: path.read_text() for path in story.OUTPUT.glob('*.txt')}
    assert shown.keys() == told.keys(), 'run python -m tests.examples.story'
    for name, text in told.items():
        assert story.normalised(shown[name]) == story.normalised(text), (
            f'{name}: run python -m tests.examples.story')


def test_every_output_is_shown_and_every_output_shown_is_there():
    used = set()
    for page in PAGES:
        used.update(re.findall(r'literalinclude:: output/(\S+)\.txt', page.read_text()))
    assert used == {path.stem for path in story.OUTPUT.glob('*.txt')}


def test_every_command_has_its_output():
    from importlib import metadata

    commands = {entry.name for entry in metadata.entry_points(group='powervm_fileio.cli')}
    shown = re.findall(r'^\$ powervm-fileio (.+)', '\n'.join(
        path.read_text() for path in story.OUTPUT.glob('*.txt')), re.MULTILINE)
    missing = {name for name in commands if not any(
        line.startswith(name.replace('_', ' ')) for line in shown)}
    assert not missing


def python_examples():
    for page in PAGES:
        if page.stem == 'nova':
            continue        # needs Nova, and is run with it in tests/consumers
        blocks = re.findall(r'\.\. code-block:: python\n\n((?:    .*\n|\n)+)', page.read_text())
        for number, block in enumerate(blocks, 1):
            yield pytest.param(textwrap.dedent(block), id=f'{page.stem}-{number}')


@pytest.mark.parametrize('code', list(python_examples()))
def test_python_examples_run_as_printed(code, tmp_path):
    if 'def test_' in code:
        (tmp_path / 'test_example.py').write_text(code)
        command = ['-m', 'pytest', '-q', '-p', 'no:cacheprovider', str(tmp_path)]
    else:
        command = ['-W', 'ignore', '-c', code]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=60,
                          check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_exit_code_is_in_the_table():
    listed = dict(re.findall(r'^(\d+) +``(\w+)``', (SOURCE / 'exit_codes.rst').read_text(),
                             re.MULTILINE))
    assert listed == {str(int(code)): code.name for code in errors.ExitCode}


def test_every_error_has_a_section_with_its_exit_code():
    sections = dict(re.findall(r'^(\w+)\n-+\n\nExit code (\d+)',
                               (SOURCE / 'errors.rst').read_text(), re.MULTILINE))
    ours = {name: value for name, value in vars(exceptions).items()
            if isinstance(value, type) and issubclass(value, exceptions.FileIOConnectorError)
            and value is not exceptions.FileIOConnectorError}
    assert sections == {name: str(int(errors.exit_code(error())))
                        for name, error in ours.items()}


def test_every_error_of_the_command_alone_is_in_the_table_with_its_exit_code():
    listed = dict(re.findall(r'^   \* - ``(\w+)``\n     - (\d+)$',
                             (SOURCE / 'errors.rst').read_text(), re.MULTILINE))
    assert listed == {name: str(int(code)) for name, code in errors._BY_ERROR.items()
                      if not hasattr(exceptions, name) and name != 'KeyboardInterrupt'}


def test_every_finding_of_an_audit_is_in_its_table():
    page = (SOURCE / 'operating.rst').read_text()
    table = page.partition('* - Finding\n')[2].partition('\n\n')[0]
    listed = {name for entry in re.findall(r'^   \* - (.+)$', table, re.MULTILINE)
              for name in entry.split(', ')}
    assert listed == set(audit_checks.FINDINGS)
    listed = set(re.findall(r'^``([\w ]+)``  ', (SOURCE / 'without_nova.rst').read_text(),
                            re.MULTILINE))
    assert listed == set(cinder_audit.FINDINGS)


def section(title, until):
    return (SOURCE / 'operating.rst').read_text().partition(f'\n{title}')[2].partition(
        f'\n{until}')[0]


def test_every_state_that_list_can_select_is_explained():
    said = set(re.findall(r'``([\w -]+)``', section('list:', 'show:')))
    assert set(list_command.STATES) <= said


def test_every_key_is_in_the_table():
    said = set(re.findall(r'``(\w+)``', section('Keys', 'config:')))
    assert test_output.TYPES.keys() <= said


def test_retryable_errors_are_called_transient():
    text = (SOURCE / 'errors.rst').read_text()
    said = set(re.findall(r'^(\w+)\n-+\n\nExit code \d+\. Transient; retry', text, re.MULTILINE))
    assert said == {name for name, value in vars(exceptions).items()
                    if isinstance(value, type) and issubclass(value, exceptions.Retryable)
                    and value is not exceptions.Retryable}
