# SPDX-License-Identifier: Apache-2.0
"""Streams that cannot take what is said: what was done is done, and is not called an error."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.cli.conftest import Held

HELP = ['--help', '--version', 'help list', 'list --help', 'help cinder']


@pytest.fixture
def shell(command, novalink):
    """Run a line of shell, in which ``$RUN`` and ``$SIM`` stand for the command and its end."""
    def shell(line, **environment):
        return subprocess.run(
            ['bash', '-c', f'set -o pipefail; {line}'], capture_output=True, text=True, timeout=60,
            check=False, env={**os.environ, 'PYTHONUNBUFFERED': '', **environment, 'RUN': command,
                              'SIM': f'--simulator={novalink.url}'})
    return shell


def test_a_name_that_the_locale_cannot_show_stops_nothing(shell, as_json, novalink, make_volume,
                                                          write_json):
    info = write_json(as_json('attach', make_volume('w\u00f6lume'), '--lpar', 'lpar1'))
    plain = {'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0', 'PYTHONIOENCODING': ''}
    listed = shell('$RUN list $SIM', **plain)
    assert (listed.returncode, listed.stderr) == (0, '')
    assert 'w\\xf6lume' in listed.stdout
    detached = shell(f'$RUN detach {info} $SIM', **plain)
    assert (detached.returncode, detached.stderr) == (0, '')
    assert novalink.mappings() == []


def test_attach_to_a_full_disk_says_that_it_was_done(shell, novalink, make_volume):
    done = shell(f'$RUN attach {make_volume()} --lpar lpar1 $SIM > /dev/full')
    assert done.returncode == 1
    assert done.stderr == ('The result cannot be written: No space left on device. But the command '
                           'was carried out: 1 attached.\n')
    assert len(novalink.mappings()) == 1


def test_a_log_file_that_a_full_disk_takes_hides_no_error(shell):
    done = shell('$RUN --log-file /dev/full where /vols')
    assert done.returncode == 2
    assert '--log-file /dev/full cannot be written' in done.stderr
    assert '/vols is no export of NFS' in done.stderr


@pytest.mark.parametrize('line', HELP)
def test_help_that_a_full_disk_takes_is_an_error(shell, line):
    done = shell(f'$RUN {line} > /dev/full')
    assert done.returncode == 1
    assert done.stderr == 'The result cannot be written: No space left on device.\n'


@pytest.mark.parametrize('line', HELP)
def test_a_reader_of_help_who_goes_away_is_told_nothing(shell, line):
    done = shell(f'$RUN {line} | true')
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, '')


def test_a_reader_who_goes_away_is_told_nothing_of_a_list(shell, make_volume, add_mapping):
    add_mapping(make_volume())
    done = shell('$RUN list $SIM | true')
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, '')


def test_a_reader_who_goes_away_is_told_what_was_done(shell, make_volume):
    done = shell(f'$RUN attach {make_volume()} --lpar lpar1 $SIM | true')
    assert done.returncode == 1
    assert done.stderr.endswith('But the command was carried out: 1 attached.\n')


@pytest.mark.parametrize('closed', ['<&-', '>&-', '2>&-'])
def test_a_closed_stream_is_no_error(shell, novalink, make_volume, closed):
    done = shell(f'$RUN attach {make_volume()} --lpar lpar1 $SIM {closed}')
    assert (done.returncode, done.stderr) == (0, '')
    assert len(novalink.mappings()) == 1


def test_a_closed_stdin_holds_no_json(shell):
    done = shell('$RUN show - $SIM <&-')
    assert done.returncode == 2
    assert done.stderr.startswith('stdin is not JSON')


def test_a_log_file_that_cannot_be_written_is_a_usage_error(run):
    outcome = run('--log-file', '/nonexist/x', 'config')
    assert outcome.code == 2
    assert '--log-file /nonexist/x cannot be written: No such file or directory.' in outcome.err


@pytest.mark.parametrize(('name', 'words'), [
    ('audit', 'No problems found.\n'), ('list', 'No LPAR has a disk that is a file.\n')])
def test_an_empty_table_is_said_to_be_empty(operate, as_json, name, words):
    outcome = operate(name)
    assert (outcome.code, outcome.out, outcome.err) == (0, '', words)
    assert as_json(name) == []


def test_an_interrupt_while_the_command_is_imported_leaves_no_traceback():
    code = ('import builtins, sys\n'
            'from powervm_fileio_connector.cli import main\n'
            'real = builtins.__import__\n'
            'def interrupted(*args, **kwargs):\n'
            '    builtins.__import__ = real\n'
            '    raise KeyboardInterrupt\n'
            'builtins.__import__ = interrupted\n'
            'sys.exit(main.main(["list"]))')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60,
                          check=False)
    assert (done.returncode, done.stderr) == (130, 'Interrupted.\n')


def test_an_interrupted_attach_that_succeeds_prints_its_device_info(command, novalink,
                                                                    make_volume):
    arguments = [make_volume(), '--lpar', 'lpar1', '-f', 'json', '--simulator', novalink.url]
    with subprocess.Popen([command, 'attach', *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        with Held(novalink, 'POST') as gate:
            assert gate.reached.wait(60)
            process.send_signal(signal.SIGINT)
            process.stderr.readline()
            assert 'Interrupted: waiting for' in process.stderr.readline()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)['path'] == novalink.mappings()[0].path
    assert 'Interrupted: 1 attached.' in err
