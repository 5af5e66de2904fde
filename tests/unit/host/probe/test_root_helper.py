# SPDX-License-Identifier: Apache-2.0
"""The root helper: few threads, one deadline, and nothing of the caller's but the requests."""

import concurrent.futures
import contextlib
import os
import struct
import subprocess
import sys
import threading
import time

import pytest
import retrying
from oslo_concurrency import processutils

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.host.probe import root_helper

MOST = 4


def ask(execute, seconds=20, request=None, helper='sudo'):
    request = request or probe.ListFiles('/')
    return root_helper.ask(execute, helper, [[[0, request.to_message()]]], Deadline(seconds))


def execute_by(*command, run_as_root, root_helper):
    """As processutils does for a user who is not root."""
    return processutils.execute(root_helper, *command)


def answering(*command, **options):
    return '[0, {"names": []}]\n', ''


@pytest.fixture
def hung():
    """An ``execute`` that does not return before the test's end; counts its threads."""
    ends, threads = threading.Event(), []

    def execute(*command, **options):
        threads.append(threading.current_thread())
        ends.wait(60)
        return answering()

    execute.threads, execute.ends = threads, ends
    yield execute
    ends.set()
    for thread in threads:
        thread.join(20)


def test_a_root_helper_that_does_not_end_costs_one_deadline(hung):
    started = time.monotonic()
    assert ask(hung, 0.2) == []
    assert 0.2 <= time.monotonic() - started < 2
    assert [thread.daemon for thread in hung.threads] == [True]


def test_beyond_four_that_do_not_end_the_next_fails_at_once(hung):
    for _ in range(MOST):
        assert ask(hung, 0.2) == []
    started = time.monotonic()
    with pytest.raises(root_helper.TooManyHang, match='do not answer already'):
        ask(hung, 60)
    assert time.monotonic() - started < 2
    assert len(hung.threads) == MOST
    hung.ends.set()
    for thread in hung.threads:
        thread.join(20)
    assert ask(answering) == [(0, {'names': []})]


@pytest.fixture
def waiting(hung):
    """Calls that take all places, and may yet be answered by their deadline."""
    with concurrent.futures.ThreadPoolExecutor(MOST) as threads:
        calls = [threads.submit(ask, hung, 60) for _ in range(MOST)]
        patience = retrying.Retrying(
            retry_on_result=lambda _: len(hung.threads) < MOST, stop_max_delay=20_000,
            wait_fixed=10)
        patience.call(lambda: None)
        yield calls
        hung.ends.set()


def test_a_call_waits_half_of_its_time_for_one_that_may_yet_be_answered(waiting):
    started = time.monotonic()
    with pytest.raises(root_helper.TooManyHang):
        ask(answering, 1)
    assert 0.5 <= time.monotonic() - started < 5


def test_a_call_is_answered_when_one_before_it_has_been(hung, waiting):
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        fifth = thread.submit(ask, answering, 120)
        # A root helper may take longer than this to start.
        assert concurrent.futures.wait([fifth], 1).not_done
        hung.ends.set()
        assert fifth.result(30) == [(0, {'names': []})]
    assert [each.result(20) for each in waiting] == [[(0, {'names': []})]] * MOST


def test_many_that_end_soon_are_all_answered():
    def execute(*command, **options):
        time.sleep(0.1)
        return answering()

    with concurrent.futures.ThreadPoolExecutor(30) as threads:
        for answers in threads.map(lambda _: ask(execute), range(30)):
            assert answers == [(0, {'names': []})]


@pytest.mark.parametrize(('error', 'expected'), [
    (RuntimeError("can't start new thread"), root_helper.TooManyHang),
    (KeyboardInterrupt(), KeyboardInterrupt)])
def test_a_thread_that_does_not_start_takes_no_place(error, expected, monkeypatch):
    def fail(self):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, 'start', fail)
        for _ in range(MOST + 1):
            with pytest.raises(expected):
                ask(answering)
    assert ask(answering)


def test_a_fork_may_use_the_root_helper_whatever_its_parent_waits_for(hung):
    for _ in range(MOST):
        ask(hung, 0.1)
    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException):
            os._exit(0 if ask(answering) else 3)
        os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize('output', [
    '', 'We trust you have received the usual lecture.', '5', '[1]', '{}', '[0, 5]', 'null',
    '[null, {}]', '9' * 5000, b'\xff', None, 5])
def test_output_that_is_no_answer_is_a_failure_of_the_root_helper(output):
    with pytest.raises(root_helper.RootHelperFailed):
        ask(lambda *command, **options: (output, ''))


@pytest.mark.parametrize('error', [OSError('no sudo here'), SystemExit('no sudo here')])
def test_whatever_execute_raises_is_told(error):
    def execute(*command, **options):
        raise error

    with pytest.raises(root_helper.RootHelperFailed, match='no sudo here'):
        ask(execute)


def test_the_own_text_of_a_root_helper_that_fails_is_told(tmp_path):
    sudo = tmp_path / 'sudo'
    sudo.write_text('#!/bin/sh\necho "sudo: a password is required" >&2\nexit 1\n')
    sudo.chmod(0o755)
    request = probe.ListFiles('/' + 'long/' * 200)
    with pytest.raises(root_helper.RootHelperFailed, match=r'^sudo: a password is required$'):
        ask(execute_by, request=request, helper=str(sudo))


def test_a_slow_root_helper_is_told_by_the_deadline(tmp_path):
    sudo = tmp_path / 'sudo'
    sudo.write_text('#!/bin/sh\nsleep 3\nexec "$@"\n')
    sudo.chmod(0o755)
    started = time.monotonic()
    assert ask(execute_by, 0.5, helper=str(sudo)) == []
    assert time.monotonic() - started < 2
    assert ask(execute_by, 60, probe.ListFiles(str(tmp_path)), str(sudo)) == [
        (0, {'names': ['sudo']})]


@pytest.mark.parametrize('way', ['PYTHONPATH', 'PYTHONUSERBASE', 'PYTHONSTARTUP', 'directory'])
def test_the_root_helper_imports_nothing_of_its_caller(way, tmp_path):
    """What is imported as root has to be root's: not the caller's path, site or directory."""
    version = f'python{sys.version_info[0]}.{sys.version_info[1]}'
    where = tmp_path / 'lib' / version / 'site-packages' if way == 'PYTHONUSERBASE' else tmp_path
    where.mkdir(parents=True, exist_ok=True)
    for name in ('oslo_utils', 'sitecustomize', 'usercustomize', 'json', 'os', 'site'):
        (where / f'{name}.py').write_text('raise SystemExit(9)')
    (tmp_path / 'image').write_bytes(
        struct.pack('>4sI12xI', b'QFI\xfb', 9, 16).ljust(512, b'\0'))
    value = tmp_path / 'os.py' if way == 'PYTHONSTARTUP' else tmp_path
    environment = os.environ | ({} if way == 'directory' else {way: str(value)})

    def execute(*command, **options):
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path,
                              env=environment)
        return done.stdout, done.stderr

    request = probe.FileProbe(str(tmp_path), 'image', qcow2_backing='refuse')
    [(_, told)] = ask(execute, request=request)
    assert 'qcow2 version' in told['refusal'][1], told
