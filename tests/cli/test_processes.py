# SPDX-License-Identifier: Apache-2.0
"""Each command as a process of its own; and what makes a forked one the same."""

import contextlib
import os
import pty
import signal
import subprocess
from importlib import metadata

import pytest

from tests import fork_server
from tests.cli.conftest import Held

COMMANDS = sorted(entry.name for entry in metadata.entry_points(group='powervm_fileio.cli'))


@pytest.fixture
def arguments(novalink, make_volume, write_json, add_mapping):
    """What each command is called with, so that it succeeds."""
    add_mapping(make_volume('volume-1'))
    simulator = ['--simulator', novalink.url]
    return {
        'attach': [make_volume('volume-2'), '--lpar', 'lpar1', *simulator],
        'config': [],
        'demo': [],
        **{name: [make_volume('volume-1'), *simulator] for name in ('detach', 'extend', 'show')},
        **dict.fromkeys(('audit', 'check', 'list'), simulator)}


@pytest.mark.parametrize('name', COMMANDS)
def test_every_command_succeeds_in_a_process_that_starts_anew(command, arguments, name):
    # Those that need a cloud, an LPAR to try things on or a mounted export show their help here.
    done = subprocess.run([command, *name.split('_'), *arguments.get(name, ['--help'])],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done
    assert done.stdout or name == 'audit', done
    assert done.stderr == {'audit': 'No problems found.\n'}.get(name, done.stderr), done
    assert not done.stderr or name in ('audit', 'demo'), done


def test_a_forked_command_reads_the_environment_and_directory_of_its_caller(
        run, tmp_path, monkeypatch):
    (tmp_path / 'my.conf').write_text('[powervm_fileio]\nqcow2_backing = same-directory\n')
    monkeypatch.chdir(tmp_path)
    outcome = run('config', '--config-file', 'my.conf', '-f', 'json',
                  environment={'OS_POWERVM_FILEIO__BACKSTORE': 'fileio'})
    values = {row['option']: row['value'] for row in outcome.json}
    assert (values['qcow2_backing'], values['backstore']) == ('same-directory', 'fileio')


def test_a_forked_command_sees_a_terminal_as_one(forks, novalink, make_volume):
    ours, theirs = pty.openpty()
    with open(ours, 'rb', buffering=0) as terminal, open(os.devnull) as nothing:
        with open(theirs, 'wb', buffering=0) as slave:
            child = forks.start(
                ['attach', make_volume(), '--lpar', 'lpar1', '--simulator', novalink.url],
                [nothing.fileno(), slave.fileno(), slave.fileno()])
            assert child.wait(60) == 0
        assert b'\r\n' in terminal.read(4096)


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGINT, 130),
                                              (signal.SIGTERM, -signal.SIGTERM)])
def test_a_forked_command_is_ended_by_signals(forks, novalink, number, code):
    with open(os.devnull, 'r+') as nothing, Held(novalink, 'GET') as gate:
        child = forks.start(['list', '--simulator', novalink.url], [nothing.fileno()] * 3)
        assert gate.reached.wait(60)
        os.kill(child.pid, number)
        assert child.wait(60) == code


def test_a_fork_server_is_shared_and_ends_with_the_last_process_that_uses_it(tmp_path):
    script = tmp_path / 'script'
    script.write_text('import sys; sys.exit(int(sys.argv[1]))')
    first, second = (fork_server.Server(str(script), tmp_path) for _ in range(2))
    first.command[1:2] = ['-c', 'import sys\nfrom tests import fork_server\n'
                          'fork_server._import_everything = lambda: None\n'
                          'fork_server.serve(*sys.argv[1:])']
    second.command[:] = ['false']       # there is nothing to start
    with first, contextlib.ExitStack() as stack, open(os.devnull, 'r+') as nothing:
        stack.enter_context(second)
        assert second.start(['3'], [nothing.fileno()] * 3).wait(60) == 3
        stack.close()
        assert first.start(['4'], [nothing.fileno()] * 3).wait(60) == 4
    assert first.process.wait(60) == 0
