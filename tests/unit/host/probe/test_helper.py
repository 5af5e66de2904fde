# SPDX-License-Identifier: Apache-2.0
"""Helper processes in surroundings that are not those of a shell: each test is a process."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest

REQUEST = 'probe.ListFiles(sys.argv[1])'

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason='needs root')


def run(program, *arguments, prefix=(), **options):
    head = 'import os, sys\nfrom powervm_fileio_connector.host import probe\n'
    return subprocess.run(
        [*prefix, sys.executable, '-W', 'ignore', '-c', head + textwrap.dedent(program),
         *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.fixture
def directory(tmp_path):
    (tmp_path / 'volume-1').touch()
    return tmp_path


def test_probes_work_with_the_standard_streams_closed_under_eventlet(directory):
    done = run(f'''
        for descriptor in (0, 1, 2):
            os.close(descriptor)
        import eventlet
        eventlet.monkey_patch()
        answer = probe.Prober(20).probe({REQUEST})
        os._exit(0 if answer.facts.names == ('volume-1',) else 3)
    ''', directory)
    assert done.returncode == 0, done


def test_no_descriptor_of_ours_is_that_of_a_closed_standard_stream(directory):
    done = run(f'''
        for descriptor in (0, 1, 2):
            os.close(descriptor)
        answer = probe.Prober(20).probe({REQUEST})
        opened = [os.path.exists(f'/proc/self/fd/{{number}}') for number in (0, 1, 2)]
        os._exit(0 if answer.facts.names == ('volume-1',) and not any(opened) else 3)
    ''', directory)
    assert done.returncode == 0, done


@needs_root
def test_probes_of_another_user_are_made_as_that_user(directory):
    directory.chmod(0o700)
    for parent in directory.parents:
        with contextlib.suppress(PermissionError):
            parent.chmod(parent.stat().st_mode | 0o111)
    done = run(f'''
        prober = probe.Prober(20)
        assert prober.probe({REQUEST}).facts
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        answer = prober.probe({REQUEST})
        print(answer.failure or os.strerror(answer.errno))      # this Python may be root's alone
    ''', directory)
    assert 'Permission denied' in done.stdout, done


@needs_root
def test_probes_after_chroot_are_not_made_by_helpers_that_see_the_old_root(directory):
    done = run('''
        prober = probe.Prober(20)
        request = probe.PathProbe('/volume-1', is_directory=False)
        assert prober.probe(request).errno == 2
        os.chroot(sys.argv[1])
        print(prober.probe(request).failure)
    ''', directory)
    assert 'Mount /proc where this process runs' in done.stdout, done


@needs_root
@pytest.mark.skipif(not shutil.which('unshare'), reason='needs unshare')
def test_nothing_is_left_unreaped_where_the_caller_is_init(directory):
    done = run(f'''
        assert os.getpid() == 1
        prober = probe.Prober(20)
        for _ in range(3):
            assert prober.probe({REQUEST}).facts
            probe.close_idle()
        prober.probe({REQUEST})
        states = [open(f'/proc/{{pid}}/stat').read().rsplit(')', 1)[1].split()[0]
                  for pid in os.listdir('/proc') if pid.isdecimal()]
        print(states.count('Z'))
    ''', directory, prefix=['unshare', '--pid', '--fork', '--mount-proc'])
    assert done.stdout == '0\n', done


@needs_root
@pytest.mark.skipif(not shutil.which('unshare'), reason='needs unshare')
@pytest.mark.parametrize('end', [
    'assert probe.Prober(0.1).probe(request).is_hung', 'pool.take(Deadline(9)).close()',
    'pool.take(Deadline(9))'])
def test_a_worker_that_was_killed_is_reaped_at_once_where_the_caller_is_init(directory, end):
    """A time-out, an exception's clean-up, and the end of the last reference to it."""
    done = run(f'''
        import signal
        from powervm_fileio_connector.deadline import Deadline
        from powervm_fileio_connector.host.probe import helper
        from powervm_fileio_connector.host.probe import pool
        helper.REAP_S = 20      # a busy machine may take longer than a caller should wait
        request = {REQUEST}
        assert probe.Prober(20).probe(request).facts
        for pid in os.listdir('/proc'):
            if pid.isdecimal() and open(f'/proc/{{pid}}/stat').read().split()[3] != '1':
                if pid != '1':
                    os.kill(int(pid), signal.SIGSTOP)       # the worker
        {end}
        print([pid for pid in os.listdir('/proc') if pid.isdecimal()])
    ''', directory, prefix=['unshare', '--pid', '--fork', '--mount-proc'])
    assert done.stdout == "['1']\n", done


def test_a_worker_that_is_busy_ends_with_its_caller(directory):
    program = '''
        import os, signal, sys
        from powervm_fileio_connector.deadline import Deadline
        from powervm_fileio_connector.host import probe
        from powervm_fileio_connector.host.probe import pool
        probe.Prober(20).probe(probe.ListFiles('/'))
        helper = pool.take(Deadline(9))
        (worker,) = open(f'/proc/{helper.pid}/task/{helper.pid}/children').read().split()
        os.kill(int(worker), signal.SIGSTOP)
        print(worker, flush=True)
        signal.pause()
    '''
    with subprocess.Popen([sys.executable, '-c', textwrap.dedent(program)], text=True,
                          stdout=subprocess.PIPE) as caller:
        worker = os.pidfd_open(int(caller.stdout.readline()))
        caller.send_signal(signal.SIGKILL)
        caller.wait()
    try:
        assert select.select([worker], [], [], 20)[0]
    finally:
        os.close(worker)


def test_a_lack_of_descriptors_is_told_as_such(directory):
    done = run(f'''
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        kept = []
        try:
            while True:
                kept.append(os.dup(0))
        except OSError:
            pass
        print(probe.Prober(20).probe({REQUEST}).failure)
    ''', directory)
    assert 'Too many open files. Raise the limit' in done.stdout, done


@pytest.mark.parametrize('locale', ['C', 'POSIX', 'en_US.ISO-8859-1'])
def test_a_path_is_utf_8_in_every_locale(directory, locale):
    (directory / 'é').mkdir()
    (directory / 'é' / 'volume-é').touch()
    done = run('''
        answer = probe.Prober(20).probe(probe.ListFiles(sys.argv[1] + chr(47) + chr(0xe9)))
        print(ascii(list(answer.facts.names)))
    ''', directory, env={**os.environ, 'LC_ALL': locale, 'PYTHONCOERCECLOCALE': '0',
                         'PYTHONUTF8': '0'})
    assert done.stdout == "['volume-\\xe9']\n", done


def test_what_the_caller_can_import_the_worker_can(directory):
    """oslo.utils may lie on PYTHONPATH or in the user's site-packages."""
    (directory / 'oslo_utils').mkdir()
    (directory / 'oslo_utils' / '__init__.py').write_text(
        'raise ImportError("found by the worker")')
    (directory / 'image').write_bytes(b'QFI\xfb'.ljust(512, b'\0'))
    done = run('''
        sys.path.insert(0, sys.argv[1])
        print(probe.Prober(20).probe(probe.FileProbe(
            sys.argv[1], 'image', qcow2_backing='refuse')).failure)
    ''', directory)
    assert 'found by the worker' in done.stdout, done
