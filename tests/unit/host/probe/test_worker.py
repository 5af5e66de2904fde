# SPDX-License-Identifier: Apache-2.0
"""The way along a path, symlink by symlink, as the worker goes it."""

import errno
import json
import marshal
import os
import socket
import subprocess
import sys
import time

import pytest

from powervm_fileio_connector.host import probe
from powervm_fileio_connector.host.probe import path_walk
from powervm_fileio_connector.host.probe import worker


@pytest.fixture
def tree(share):
    (share / 'a/b').mkdir(parents=True)
    (share / 'a/b/file').write_text('x')
    (share / 'outside').write_text('x')
    return share


def follow(start, path):
    """Follow a path from a directory, and return where it leads."""
    with path_walk.PathWalk(str(start)) as passed:
        passed.follow(path)
        assert os.fstat(passed.end).st_ino
        return os.path.relpath(passed.path, start)


@pytest.mark.parametrize(('path', 'end'), [
    ('a/b/file', 'a/b/file'), ('./a//b/./file', 'a/b/file'), ('a/../a/b/file', 'a/b/file'),
    ('a/b/../b/file', 'a/b/file'), ('', '.'), ('a/..', '.'), ('a/b/', 'a/b')])
def test_dots_are_taken_as_they_are_meant(path, end, tree):
    assert follow(tree, path) == end


@pytest.mark.parametrize(('target', 'end'), [
    ('file', 'a/b/file'), ('../b/file', 'a/b/file'), ('../../a/b/./file', 'a/b/file'),
    ('second', 'a/b/file')])
def test_a_symlink_is_followed_as_long_as_it_stays(target, end, tree):
    (tree / 'a/b/second').symlink_to('../b/file')
    (tree / 'a/b/link').symlink_to(target)
    assert follow(tree, 'a/b/link') == end


@pytest.mark.parametrize('target', [
    '/', '../outside', 'b/../../outside', '/dev/shm', '..', '../../..', 'b/../..'])
def test_a_file_that_a_symlink_puts_out_of_its_mount_is_refused(target, tree):
    (tree / 'a/link').symlink_to(target)
    told = worker.answer(probe.FileProbe(str(tree / 'a'), 'link').to_message())
    assert 'leads out of the mount' in told['refusal'][1], told


@pytest.mark.parametrize('target', ['../a/b/file', '{}/a/b/file', 'b/../../a/./b/file'])
def test_a_symlink_that_leads_back_into_the_mount_is_followed(target, tree):
    (tree / 'a/link').symlink_to(target.format(tree))
    told = worker.answer(probe.FileProbe(str(tree / 'a'), 'link').to_message())
    assert told['path'] == 'b/file'


def test_a_symlink_may_lead_anywhere_on_the_way_of_a_path(tree):
    (tree / 'a/link').symlink_to(tree)
    assert follow('/', f'{tree}/a/link/a/../../..') == str(tree.parent.parent)[1:]
    assert follow('/', '../../..') == '.'


def test_a_file_that_is_deleted_while_it_is_found_does_not_exist(tree):
    named = tree / 'file (deleted)'
    named.touch()
    with path_walk.PathWalk(str(tree)) as walk:
        walk.follow(named.name)
        assert walk.path == str(named)
        named.unlink()
        with pytest.raises(FileNotFoundError):
            _ = walk.path
        (tree / 'file (deleted) (deleted)').touch()
        with pytest.raises(FileNotFoundError):
            _ = walk.path


@pytest.mark.parametrize(('path', 'error'), [
    ('gone', FileNotFoundError), ('gone/file', FileNotFoundError),
    ('outside/file', NotADirectoryError), ('outside/../a', NotADirectoryError),
    ('outside/', NotADirectoryError), ('outside/.', NotADirectoryError),
    ('to-file/', NotADirectoryError), ('to-file/x', NotADirectoryError)])
def test_what_does_not_exist_is_said_as_the_kernel_says_it(path, error, tree):
    (tree / 'to-file').symlink_to('outside')
    with pytest.raises(error):
        os.stat(f'{tree}/{path}')
    with pytest.raises(error):
        follow(tree, path)


@pytest.mark.parametrize('path', ['outside', 'to-file'])
def test_a_directory_is_insisted_on_when_asked_for(path, tree):
    (tree / 'to-file').symlink_to('outside')
    for is_directory, number in ((True, errno.ENOTDIR), (False, None)):
        told = worker.answer(probe.PathProbe(
            f'{tree}/{path}', is_directory=is_directory).to_message())
        assert told.get('errno') == number


def test_no_descriptor_is_left_open_whatever_happened(tree):
    (tree / 'loop').symlink_to('loop')
    before = os.listdir('/proc/self/fd')
    for path in ('a/b/file', 'gone', 'loop', '../x', 'a/b/../../..'):
        worker.answer(probe.FileProbe(str(tree), path).to_message())
    assert os.listdir('/proc/self/fd') == before


def test_nul_and_characters_without_an_encoding_name_no_file(tree):
    for path in ('a\0b', '\ud800'):
        assert worker.answer(probe.PathProbe(f'/{path}').to_message())['errno'] == 2


def test_requests_on_the_command_line_are_answered_once(tree):
    requests = [probe.ListFiles(str(tree)), probe.ListFiles(str(tree / 'gone'))]
    message = [[[index, request.to_message()]] for index, request in enumerate(requests)]
    done = subprocess.run(
        [sys.executable, '-I', '-S', worker.__file__, '--once',
         json.dumps([time.monotonic() + 60, message])],
        capture_output=True, check=True)
    assert dict(map(json.loads, done.stdout.splitlines())) == {
        0: {'names': ['outside']}, 1: {'errno': 2}}


def test_requests_whose_time_has_passed_are_not_waited_for(tree):
    """As after a root helper that took long to start it; the answers come before it can read."""
    program = f'''if True:
        import runpy, select
        at_once = select.select
        select.select = lambda *descriptors_and_time: at_once(*descriptors_and_time[:3])
        runpy.run_path({worker.__file__!r}, run_name='__main__')
    '''
    message = [[[0, probe.ListFiles(str(tree)).to_message()]]]
    done = subprocess.run(
        [sys.executable, '-I', '-S', '-c', program, '--once',
         json.dumps([time.monotonic() - 1, message])], capture_output=True, check=True)
    assert done.stdout == b''


def test_ordinary_probes_do_not_import_what_takes_long_to_import():
    program = f'''if True:
        import sys
        with open({worker.__file__!r}) as script:
            exec(script.read(), {{'__name__': '__main__', '__file__': {worker.__file__!r}}})
        print(*sys.modules)
    '''
    loaded = subprocess.run([sys.executable, '-I', '-S', '-c', program], capture_output=True,
                            text=True, check=True, input='').stdout.split()
    assert not {'enum', 'json', 're', 'site', 'subprocess', 'threading', 'typing'} & set(loaded)


def test_two_names_of_a_file_have_one_handle_and_another_file_has_another(tmp_path):
    (tmp_path / 'v').touch()
    os.link(tmp_path / 'v', tmp_path / 'w')
    (tmp_path / 'x').touch()
    handles = [worker.answer(probe.HandleProbe(str(tmp_path), name).to_message())['handle']
               for name in 'vwx']
    if None in handles:
        pytest.skip('the file system of temporary files tells no handles')
    assert handles[0] == handles[1] != handles[2]
    request = probe.HandleProbe(str(tmp_path), 'v', has_handles=False)
    assert worker.answer(request.to_message())['handle'] is None


def test_a_file_of_ceph_is_asked_for_its_cluster(tmp_path, monkeypatch):
    told = {'ceph.cluster_fsid': b'fsid', 'ceph.file.layout.pool': b'data'}
    monkeypatch.setattr(os, 'getxattr', lambda path, name: told[name])
    (tmp_path / 'v').touch()
    ino = os.stat(tmp_path / 'v').st_ino
    request = probe.HandleProbe(str(tmp_path), 'v', has_handles=False, is_ceph=True)
    assert worker.answer(request.to_message()) == {
        'handle': f'fsid:data:{ino:x}', 'ino': ino, 'names_cluster': True}


def test_of_a_file_without_a_handle_the_directory_and_its_last_change_are_told(
        tmp_path, monkeypatch):
    monkeypatch.setattr('powervm_fileio_connector.host.probe.system_calls.file_handle',
                        lambda descriptor: None)
    (tmp_path / 'd').mkdir()
    (tmp_path / 'd/v').touch()
    told = worker.answer(probe.HandleProbe(str(tmp_path), 'd/v').to_message())
    seen = os.stat(tmp_path / 'd')
    assert told == {'handle': None, 'ino': os.stat(tmp_path / 'd/v').st_ino,
                    'directory': [seen.st_ino, seen.st_ctime_ns]}


def test_the_mounts_of_symlinks_that_were_followed_are_told(tmp_path):
    (tmp_path / 'd').mkdir()
    (tmp_path / 'd' / 'v').touch()
    (tmp_path / 'link').symlink_to('d')
    plain = worker.answer(probe.PathProbe(f'{tmp_path}/d').to_message())
    linked = worker.answer(probe.PathProbe(f'{tmp_path}/link').to_message())
    assert (plain['links'], linked['links']) == ([], [(linked['mount_id'],) * 2])
    assert linked['path'] == plain['path']
    file = worker.answer(probe.PathProbe(
        f'{tmp_path}/link/v', is_directory=False).to_message())
    assert file['path'] == f'{plain["path"]}/v'


@pytest.mark.parametrize('size', [0, 511, 1 << 40])
def test_the_size_is_that_of_the_server(tmp_path, size):
    (tmp_path / 'v').touch()
    os.truncate(tmp_path / 'v', size)
    assert worker.answer(probe.FileProbe(str(tmp_path), 'v').to_message())['size'] == size


def test_probes_that_no_thread_can_be_started_for_blame_no_share(monkeypatch):
    """The others are answered; those would wait behind a share that hangs."""
    def start(function, arguments, limit=[2]):     # noqa: B006  counts over all calls
        if not limit[0]:
            raise RuntimeError("can't start new thread")
        limit[0] -= 1
        return start_new_thread(function, arguments)

    start_new_thread = worker._thread.start_new_thread
    monkeypatch.setattr(worker._thread, 'start_new_thread', start)
    told = {}
    request = probe.ListFiles('/dev/shm').to_message()
    worker._answer_all([[(index, request)] for index in range(4)],
                       lambda answer: told.update([answer]))
    assert [sorted(told[index]) for index in range(4)] == [
        ['names'], ['names'], ['failure'], ['failure']]
    assert "can't start new thread. Raise the limit of processes" in told[3]['failure']


def test_a_worker_that_could_not_be_guarded_probes_nothing():
    program = f'''if True:
        import os, sys
        def fork():
            raise BlockingIOError(11, 'Resource temporarily unavailable')
        os.fork = fork
        with open({worker.__file__!r}) as file:
            script = file.read()        # the worker closes what it inherits
        exec(script, {{'__name__': '__main__', '__file__': {worker.__file__!r}}})
    '''
    ours, theirs = socket.socketpair()
    with ours, subprocess.Popen([sys.executable, '-I', '-S', '-c', program], stdin=theirs,
                                stdout=theirs) as process:
        theirs.close()
        message = marshal.dumps([[(7, probe.ListFiles('/').to_message())]])
        ours.sendall(len(message).to_bytes(4, 'little') + message)
        index, told = marshal.loads(ours.recv(65536)[4:])
        ours.shutdown(socket.SHUT_WR)
        assert process.wait(20) == 0
    assert index == 7
    assert 'cannot start a share probe process: Resource temporarily' in told['failure']
