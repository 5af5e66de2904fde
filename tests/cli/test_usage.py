# SPDX-License-Identifier: Apache-2.0
"""Usage errors are one line that says where the help is; help begins with an example."""

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import threading
from importlib import metadata

import pytest

from tests.cli.conftest import posts

COMMANDS = sorted(entry.name for entry in metadata.entry_points(group='powervm_fileio.cli'))

ERRORS = {
    'lst': 'unknown command lst: did you mean list?',
    'nonsense': 'unknown command nonsense.',
    'help nonsense': 'unknown command nonsense.',
    'help atach': 'did you mean attach?',
    '--degub list': 'unknown option --degub: did you mean --debug?',
    'get disks': 'did you mean list?',
    'describe x': 'did you mean show?',
    'list -o json': 'unknown argument -o: did you mean --format?',
    'list --output=json': 'did you mean --format?',
    'list --simulatr x': 'did you mean --simulator?',
    'list extra': 'unknown argument extra.',
    'list --state broken': 'invalid choice',
    'list --timeout soon': 'soon is not a number of seconds',
    'list --timeout -1': '-1 is not a number of seconds',
    'list -f xml': 'invalid choice',
    'list -c colour': 'There is no key colour',
    'attach /x --lpar lpar1 --slot 1': '1 is not a slot from 2 to 65534',
    'attach /x --lpar lpar1 --slot 65535': '65535 is not a slot from 2 to 65534',
    'attach /x --lpar lpar1 --slot x --dry-run': 'x is not a slot',
    'attach /x --lpar lpar1 --lua lun.1': 'lun.1 is not a logical unit address',
    'check /x --lpar lpar1 --slot 60000000': '60000000 is not a slot',
    'check /x --lua lun.1': 'lun.1 is not a logical unit address',
    'attach /x --lpar lpar1 --lua foo --dry-run': 'foo is not a logical unit address',
    'attach /x --lpar lpar1 -c colour': 'There is no key colour. There are type, path',
    'attach /x --lpar lpar1 --sort-column colour': 'There is no key colour',
    'attach /x --lpar lpar1 --dry-run -c udid': 'There is no key udid',
    'detach /x -c colour': 'There is no key colour. There are volume',
    'detach /x --lpar ""': 'it is empty',
    'list --lpar " "': 'it is empty',
    'list --tag ""': 'it is empty',
    'list --path ""': 'it is empty',
    'attach /x --lpar lpar1 --volume-id ""': 'it is empty',
    'cinder attach x --lpar ""': 'it is empty',
    'qualify --directory /x --lpar ""': 'it is empty',
    'list --config-file /dev/shm': '/dev/shm',
    'attach /x': 'Which LPAR?',
    'attach': 'Which volume?',
    'attach x --lpar lpar1': 'x is neither',
    'attach x.json --lpar lpar1': 'x.json cannot be read',
    'attach --export nas1:/vols --lpar lpar1': 'belong together',
    'show --device-info x': 'unknown argument --device-info',
    'config --config-file /no/such': '/no/such',
    'where': 'EXPORT',
    'where ""': 'is no export',
    'where nas1:': 'is no export',
    'where nas1': 'nas1 is no export of NFS, such as nas1:/vols; for another file system, give '
                  '--type.',
    'where //nas1/vols': 'is no export of NFS',
    'where nas1:/vols --type "bad type"': "'bad type' is no file system type",
    'where nas1:/vols --type ""': "'' is no file system type",
    'simulate --port 70000': '70000 is no port',
    'complete tcsh': 'invalid choice',
    'complete': 'required: shell',
    'cinder': 'cinder what? There are cinder attach, cinder audit',
    'cinder atach': 'did you mean cinder attach?',
    'cinder attach': 'required: VOLUME, --lpar',
    'cinder attach x --lpar lpar1 --slot 1': '1 is not a slot',
    'cinder detach': 'required: VOLUME',
    'cinder detach x --timeout 0': '0 is not a number of seconds',
    'cinder extend x': 'required: --size',
    'cinder extend x --size 0': '0 is not a size in whole GiB',
    'cinder extend x --size big': 'big is not a size in whole GiB',
    'cinder audit x': 'unknown argument x.',
    'qualify --lpar lpar1': 'required: --directory',
    'qualify --directory /dev/shm': 'required: --lpar',
    'qualify --lpar lpar1 --directory /no/such': '/no/such is no directory',
    'detach': 'Which volume?',
    'detach /x --device-info /no/such': '/no/such cannot be read',
    'detach /x --slot 5': 'unknown argument --slot',
    'extend': 'Which volume?',
    'extend /x --size 5': 'unknown argument --size',
    'show': 'Which volume?',
    'audit --metrics': 'expected one argument',
    'audit --fixx': 'did you mean --fix?',
    'demo x': 'unknown argument x.',
    'config x': 'unknown argument x.',
    'simulate --lpars many': 'many is not a number',
    'simulate --recording /no/such': '/no/such',
    'simulate --latency-ms soon': 'soon is not a number',
    '--log-file /no/such/file list': '/no/such/file cannot be written',
}


@pytest.mark.parametrize('line', ERRORS)
def test_a_usage_error_is_one_line_and_sends_nothing(run, novalink, line):
    arguments = shlex.split(line)
    if arguments[0] in ('attach', 'audit', 'check', 'detach', 'extend', 'list', 'qualify', 'show'):
        arguments += ['--simulator', novalink.url]
    outcome = run(*arguments)
    assert (outcome.code, outcome.out) == (2, ''), outcome
    assert len(outcome.err.splitlines()) == 1, outcome.err
    assert ERRORS[line] in outcome.err
    assert re.search(r'See "powervm-fileio.* --help"\.\n$', outcome.err), outcome.err
    assert posts(novalink) == 0


def test_every_command_has_a_usage_error_here():
    assert [name for name in COMMANDS
            if not any(line.startswith(name.replace('_', ' ')) for line in ERRORS)] == []


def test_the_list_of_commands_fits_the_terminal_and_says_where_to_begin(run):
    shown = run('--help').out
    lines = shown.splitlines()
    assert lines[0] == 'usage: powervm-fileio [OPTION]... COMMAND [ARGUMENT]...'
    assert '"powervm-fileio demo"' in shown
    assert '"powervm-fileio help COMMAND"' in shown.replace('\n', ' ')
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if line.endswith('(cliff)')]


@pytest.mark.parametrize('line', ['help cinder', 'cinder --help'])
def test_help_of_a_group_lists_its_commands(run, line):
    outcome = run(*line.split())
    assert (outcome.code, outcome.err) == (0, '')
    shown = [entry.split()[:2] for entry in outcome.out.splitlines()[1:]]
    assert shown == [name.split('_') for name in COMMANDS if name.startswith('cinder_')]


@pytest.mark.parametrize('name', [*COMMANDS, 'help', 'complete'])
def test_help_begins_with_an_example_and_ends_with_the_exit_codes(run, name):
    outcome = run(*name.split('_'), '--help')
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0].startswith(f'example: powervm-fileio {name.replace("_", " ")}')
    assert '130 interrupted.' in lines[-1]
    torn = [line for line in lines[1:] if re.search(r'(^| )\d+$|[a-z]-$', line)]
    assert torn == []
    assert max(map(len, lines)) <= 80
    assert '--max-width' not in outcome.out


@pytest.mark.parametrize('line', ['show ./volume', 'qualify --lpar lpar1 --directory shares'])
def test_a_relative_path_needs_the_current_directory(command, novalink, tmp_path, line):
    done = subprocess.run(
        ['sh', '-c', 'rmdir "$PWD" && exec "$@"', 'sh', command, *line.split(), '--simulator',
         novalink.url], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done
    assert 'begins at the current directory, which cannot be told' in done.stderr


def test_a_relative_path_is_resolved(operate, novalink, make_volume, monkeypatch):
    path = make_volume('real/volume-1')
    monkeypatch.chdir(os.path.dirname(path))
    for number, given in enumerate(('volume-1', './volume-1', '../real/volume-1')):
        assert operate('attach', given, '--lpar', 'lpar1').code == 0, number
        assert [mapping.path for mapping in novalink.mappings()] == [path]


@pytest.mark.parametrize(('text', 'said'), [
    ('[powervm_fileio]\nprobe_timeout = 3\n', 'no option probe_timeout in [powervm_fileio]: did '
     'you mean probe_timeout_s?'),
    ('[powervm_filio]\nbackstore = loop\n', 'section [powervm_filio] is ignored: did you mean '
     '[powervm_fileio]?')])
def test_an_option_or_section_that_is_misspelt_is_warned_of(run, tmp_path, text, said):
    path = tmp_path / 'my.conf'
    path.write_text(text)
    outcome = run('config', '--config-file', path)
    assert outcome.code == 0
    assert said in outcome.err


@pytest.mark.parametrize(('mode', 'is_warned'), [(0o644, True), (0o640, False)])
def test_a_password_that_all_may_read_is_warned_of(run, tmp_path, mode, is_warned):
    path = tmp_path / 'my.conf'
    path.write_text('[powervm_fileio]\nnovalink_password = secret\n')
    path.chmod(mode)
    outcome = run('config', '--config-file', path)
    assert outcome.code == 0
    assert ('holds a password, and all users may read it' in outcome.err) == is_warned


@pytest.mark.parametrize('url', ['http://192.0.2.1:12080', 'novalink.example:12080',
                                 'http://127.0.0.1.example:1'])
def test_a_simulator_on_another_host_is_refused(run, url):
    outcome = run('list', '--simulator', url)
    assert outcome.code == 2
    assert 'is not on this host' in outcome.err


def test_a_server_that_does_not_say_that_it_is_a_simulator_gets_nothing_else(run):
    asked = []
    with socket.create_server(('127.0.0.1', 0)) as server:
        def serve():
            with contextlib.suppress(OSError):      # raised when the socket is closed
                while True:
                    connection, _ = server.accept()
                    with connection:
                        asked.append(connection.recv(4096).split(b'\r\n')[0])
                        connection.sendall(
                            b'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n')

        threading.Thread(target=serve, daemon=True).start()
        outcome = run('attach', '/dev/shm/x', '--lpar', 'lpar1', '--simulator',
                      f'127.0.0.1:{server.getsockname()[1]}')
    assert outcome.code == 2
    assert 'does not say that it is a simulator' in outcome.err
    assert asked == [b'GET /simulator HTTP/1.1']


def test_a_timeout_ends_the_wait_for_novalink(run, novalink):
    from powervm_fileio_connector.simulator import Latency

    novalink.faults.add(Latency(get_s=30, post_s=30))
    outcome = run('list', '--simulator', novalink.url, '--timeout', '3')
    assert outcome.code in (6, 10), outcome
    assert 'until' in outcome.err


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP])
def test_a_demo_that_is_ended_leaves_nothing(command, tmp_path, number):
    before = set(os.listdir('/dev/shm'))
    code = ('import signal, sys\n'
            'from powervm_fileio_connector.cli import main\n'
            'from powervm_fileio_connector.cli.commands import demo\n'
            'def grow(path, size):\n'
            '    real(path, size)\n'
            '    print("made", flush=True)\n'
            '    signal.pause()\n'
            'real, demo._grow = demo._grow, grow\n'
            'sys.exit(main.main(["demo"]))')
    import sys

    with subprocess.Popen([sys.executable, '-W', 'ignore', '-c', code], stdout=subprocess.PIPE,
                          text=True, env={**os.environ, 'TMPDIR': str(tmp_path)}) as process:
        assert process.stdout.readline() == 'made\n'
        process.send_signal(number)
        assert process.wait(60) == 128 + number
    assert {name for name in set(os.listdir('/dev/shm')) - before if 'demo' in name} == set()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('name', ['demo', 'attach'])
def test_a_simulator_is_used_on_a_power_lpar_of_any_id(novalink, make_volume, tmp_path, name):
    import sys

    arguments = {'demo': ['demo'], 'attach': [
        'attach', make_volume(), '--lpar', 'lpar1', '--simulator', novalink.url]}[name]
    (tmp_path / 'lparcfg').write_text('partition_id=7\n')
    code = ('import sys\n'
            'from powervm_fileio_connector import conf\n'
            'from powervm_fileio_connector.cli import main\n'
            f'conf.LPARCFG = {str(tmp_path / "lparcfg")!r}\n'
            f'sys.exit(main.main({arguments!r}))')
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True,
                          text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_a_log_file_on_a_full_disk_is_said_once(run):
    outcome = run('--log-file', '/dev/full', '--debug', 'demo')
    assert outcome.code == 0
    assert outcome.err.count('--log-file /dev/full cannot be written') == 1


def test_the_log_file_holds_no_noise_of_libraries(run, tmp_path, make_volume, novalink):
    log = tmp_path / 'log'
    arguments = ['attach', make_volume(), '--lpar', 'lpar1', '--simulator', novalink.url]
    assert run('--log-file', log, *arguments).code == 0
    assert 'is attached to LPAR' in log.read_text()
    assert 'stevedore' not in log.read_text()
    assert run('--log-file', log, '--debug', *arguments).code == 0
    assert 'stevedore' in log.read_text()


@pytest.mark.parametrize(('line', 'expected'), [
    ('powervm-fileio at', {'attach'}), ('powervm-fileio list --al', {'--all-storage'}),
    ('powervm-fileio list -f y', {'yaml'}),
    ('powervm-fileio list --simulator {url} --lpar lp', {'lpar1', 'lpar2'})])
def test_completion_knows_commands_options_formats_and_lpars(run, novalink, tmp_path, line,
                                                             expected):
    line = line.format(url=novalink.url)
    answer = tmp_path / 'answer'
    run(environment={'_ARGCOMPLETE': '1', 'COMP_LINE': line, 'COMP_POINT': str(len(line)),
                     '_ARGCOMPLETE_STDOUT_FILENAME': str(answer)})
    assert {text.strip() for text in answer.read_text().split('\v')} == expected


@pytest.mark.parametrize('shell', ['bash', 'zsh', 'fish'])
def test_completion_is_printed_for_a_shell(run, shell):
    outcome = run('complete', shell)
    assert outcome.code == 0
    assert 'powervm-fileio' in outcome.out
