# SPDX-License-Identifier: Apache-2.0
"""The command, forked from a process that has imported it already.

Importing takes most of the time that a command runs. The server imports once, and forks for each
command; the child has the caller's descriptors, environment, directory and arguments, runs the
installed script, and ends as every interpreter does. What it cannot show is what happens before
the script runs, or on import: tests of streams, signals and start-up begin real processes.

    python tests/fork_server.py SOCKET SCRIPT             serves until its standard input ends
    python -I -S tests/fork_server.py SOCKET -- ARGUMENT...     runs one command as its client
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys

_MOST_BYTES = 1 << 17       # of one request: arguments and environment


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
    """Starts the server, and ends it with the block."""

    def __init__(self, script):
        import tempfile  # here, since clients need to start quickly

        self._directory = tempfile.TemporaryDirectory(prefix='powervm-fileio-')
        self._command = [sys.executable, os.path.abspath(__file__),
                         f'{self._directory.name}/socket', script]
        self.path = self._command[2]
        self.client = [sys.executable, '-I', '-S', self._command[1], self.path, '--']
        """What starts a command from a shell; its arguments follow."""

    def start(self, arguments, descriptors, environment=None):
        return Child(self.path, arguments, descriptors, environment)

    def __enter__(self):
        import subprocess

        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True)
        assert self._process.stdout.readline() == 'ready\n'
        return self

    def __exit__(self, *exc_info):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)
        self._directory.cleanup()


def serve(path, script):
    """Fork a child for each request, until standard input ends."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen(64)
    # Tests lie beside this file, in packages that are named like what they test.
    sys.path[0] = os.path.dirname(script)
    _import_everything()
    print('ready', flush=True)
    running = {}        # a descriptor of the child's process: the connection of its client
    while True:
        readable = select.select([sys.stdin, listener, *running], [], [])[0]
        if sys.stdin in readable:
            return
        for child in set(readable) & running.keys():
            with running.pop(child) as connection:
                status = os.waitid(os.P_PIDFD, child, os.WEXITED | os.WNOWAIT)
                _reply(connection, os.waitpid(status.si_pid, 0)[1])
            os.close(child)
        if listener in readable:
            connection = listener.accept()[0]
            request, descriptors, *_ = socket.recv_fds(connection, _MOST_BYTES, 3)
            pid = os.fork()
            if pid == 0:
                for other in (listener, connection, *running.values()):
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

    from cliff import command
    from stevedore import extension

    from powervm_fileio_connector import cli
    from powervm_fileio_connector import simulator

    for group in ('powervm_fileio.cli', 'cliff.formatter.list', 'cliff.formatter.show'):
        extension.ExtensionManager(group)
    command._get_distributions_by_modules()
    for package in (cli, simulator):
        for module in pkgutil.walk_packages(package.__path__, f'{package.__name__}.'):
            if not module.name.endswith(('__main__', 'pytest_plugin')):
                importlib.import_module(module.name)
    for name in ('powervm_fileio_connector.connector', 'tqdm', 'pypowervm.adapter', 'wcwidth',
                 'openstack.connection', 'os_brick.initiator.connector'):
        importlib.import_module(name)
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
