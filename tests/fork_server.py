# SPDX-License-Identifier: Apache-2.0
"""The command, forked from a process that has imported it already.

Importing takes most of the time that a command runs. The server imports once, and forks for each
command; the child has the caller's descriptors, environment, directory and arguments, runs the
installed script, and ends as every interpreter does. What it cannot show is what happens before
the script runs, or on import: tests of streams, start-up and signals during it begin real
processes.

    python tests/fork_server.py SOCKET SCRIPT             serves, as Server starts it
    python -I -S tests/fork_server.py SOCKET -- ARGUMENT...     runs one command as its client
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys

_MOST_BYTES = 1 << 17       # of one request: arguments and environment
_USE = b'use'               # asks for nothing but that the server goes on


class Child:
    """A command that the server has forked."""

    def __init__(self, path, arguments, descriptors, environment=None):
        """:param descriptors: standard input, output and error of the command"""
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.connect(path)
        request = {'arguments': arguments, 'directory': os.getcwd(),
                   'environment': dict(os.environ if environment is None else environment)}
        socket.send_fds(self._connection, [json.dumps(request).encode()], descriptors)
        self.pid = json.loads(self._connection.recv(64))

    def wait(self, timeout_s=None):
        """Return the exit code, or the negative number of the signal that ended the command.

        :raises TimeoutError: the command was still running, and is killed
        """
        with self._connection:
            if not select.select([self._connection], [], [], timeout_s)[0]:
                os.kill(self.pid, signal.SIGKILL)
                raise TimeoutError(f'process {self.pid} did not end within {timeout_s} s')
            return os.waitstatus_to_exitcode(json.loads(self._connection.recv(64)))


class Server:
    """Uses the server of a directory in a block; starts it, unless another process has.

    It ends when the last process that uses it leaves its block, or ends in any other way.
    """

    def __init__(self, script, directory=None):
        """:param directory: what all that share the server name; None: it is not shared"""
        import tempfile  # here, since clients need to start quickly

        self._own = tempfile.TemporaryDirectory(prefix='powervm-fileio-')
        self.path = f'{directory or self._own.name}/socket'
        self.command = [sys.executable, os.path.abspath(__file__), self.path, script]
        self.client = [sys.executable, '-I', '-S', self.command[1], self.path, '--']
        """What starts a command from a shell; its arguments follow."""

    def start(self, arguments, descriptors, environment=None):
        return Child(self.path, arguments, descriptors, environment)

    def __enter__(self):
        import fcntl

        with open(f'{self.path}.lock', 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._connection = self._join() or self._begin()
        return self

    def _join(self):
        """Return a connection to the server that runs, if one does."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.connect(self.path)
            connection.send(_USE)
            if connection.recv(64):
                return connection
        except OSError:
            pass        # there is none yet, or it was just ending
        connection.close()
        return None

    def _begin(self):
        """Start the server; return the connection that is its standard input."""
        import subprocess

        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(self.command, stdin=theirs,
                                             stdout=subprocess.DEVNULL)
        assert ours.recv(64), 'the fork server has ended'
        return ours

    def __exit__(self, *exc_info):
        with self._connection:
            self._connection.shutdown(socket.SHUT_WR)
            # Closed at once where others use the server, else when it has ended.
            self._connection.settimeout(60)
            self._connection.recv(64)
        self._own.cleanup()


def serve(path, script):
    """Fork a child for each request, until nothing uses the server any more."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)         # of a server that was killed
    listener.bind(path)
    listener.listen(64)
    # Tests lie beside this file, in packages that are named like what they test.
    sys.path[0] = os.path.dirname(script)
    _import_everything()
    users = {socket.socket(fileno=0)}
    _reply(*users, 0)
    running = {}        # a descriptor of the child's process: the connection of its client
    while True:
        readable = select.select([listener, *users, *running], [], [])[0]
        for user in users & set(readable):
            users.remove(user)
            if not users:
                user.detach()       # closed by the end of this process
                return
            user.close()
        for child in set(readable) & running.keys():
            with running.pop(child) as connection:
                status = os.waitid(os.P_PIDFD, child, os.WEXITED | os.WNOWAIT)
                _reply(connection, os.waitpid(status.si_pid, 0)[1])
            os.close(child)
        if listener in readable:
            connection = listener.accept()[0]
            request, descriptors, *_ = socket.recv_fds(connection, _MOST_BYTES, 3)
            if request == _USE:
                users.add(connection)
                _reply(connection, 0)
                continue
            pid = os.fork()
            if pid == 0:
                for other in (listener, connection, *users, *running.values()):
                    other.close()
                _become(json.loads(request), descriptors, script)
                return
            for descriptor in descriptors:
                os.close(descriptor)
            running[os.pidfd_open(pid)] = connection
            _reply(connection, pid)


def _reply(connection, number):
    try:
        connection.send(json.dumps(number).encode())
    except BrokenPipeError:
        return      # the client has given up; there is nothing to tell it


def _import_everything():
    """Import what any command may import, and find out once what is installed."""
    import gc
    import importlib
    import pkgutil

    from stevedore import extension

    from powervm_fileio_connector import cli
    from powervm_fileio_connector import simulator

    for group in ('powervm_fileio.cli', 'cliff.formatter.list', 'cliff.formatter.show'):
        extension.ExtensionManager(group)
    for package in (cli, simulator):
        for module in pkgutil.walk_packages(package.__path__, f'{package.__name__}.'):
            if not module.name.endswith(('__main__', 'pytest_plugin')):
                importlib.import_module(module.name)
    for name in ('powervm_fileio_connector.registration', 'tqdm', 'multiprocessing.synchronize',
                 'concurrent.futures.thread', 'wcwidth', 'argcomplete', 'openstack.connection',
                 'keystoneauth1.loading._plugins.identity.generic', 'pypowervm.wrappers.http_error',
                 'os_brick.initiator.connector'):
        importlib.import_module(name)
    if 'coverage' in sys.modules:       # each child would write it again
        sys.modules['coverage'].Coverage.current().save()
    gc.freeze()


def _become(request, descriptors, script):
    """Be the process that a shell would have started, and run the script."""
    import io
    import runpy

    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request['directory'])
    os.environ.clear()
    os.environ.update(request['environment'])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, name in enumerate(('stdin', 'stdout', 'stderr')):
        binary = open(number, 'rb' if number == 0 else 'wb', closefd=False)  # noqa: SIM115
        stream = io.TextIOWrapper(
            binary, encoding='utf-8', errors='backslashreplace' if number == 2 else None,
            line_buffering=number == 2 or binary.isatty())
        setattr(sys, name, stream)
        setattr(sys, f'__{name}__', stream)
    sys.argv = [script, *request['arguments']]
    try:
        runpy.run_path(script, run_name='__main__')
    except SystemExit as end:
        _end(end)


def _end(end):
    """End as an interpreter does, except that it takes nothing apart: most of that is shared."""
    import atexit
    import threading

    code = 0 if end.code is None else end.code
    if not isinstance(code, int):
        raise end
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main(path, *arguments):
    if arguments[0] != '--':
        serve(path, *arguments)
        return 0
    code = Child(path, arguments[1:], [0, 1, 2]).wait()
    return code if code >= 0 else 128 - code


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
