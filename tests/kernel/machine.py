# SPDX-License-Identifier: Apache-2.0
"""A virtual machine, User-mode Linux: a kernel of its own, which sees this host's files read-only.

``python -m tests.kernel.machine`` starts one and gives a shell in it.
"""

import compileall
import contextlib
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time

from tests.kernel import apt
from tests.kernel import packages

_WORKTREE = pathlib.Path(__file__).resolve().parents[2]

# A machine and its processes end with us, however we end. Its memory is a file, of a file system of
# its own, since the host's may be small. It keeps open each file of the host that it has opened;
# most distributions allow 1,024. The shell stays: after a panic the machine aborts, which PID 1
# would ignore.
_NAMESPACES = ('setpriv', '--pdeathsig', 'KILL', 'unshare', '--pid', '--fork', '--kill-child',
               '--mount-proc', 'sh', '-c',
               'ulimit -n "$(ulimit -H -n)"; mount -t tmpfs memory /dev/shm || exit; '
               'TMPDIR=/dev/shm "$@"; exit', 'sh')


class MachineFailed(Exception):
    """The machine did not start, or did not end in time."""


def python(module, *arguments):
    """Return the command that runs a module in the machine as it would run here."""
    return f'cd {shlex.quote(str(_WORKTREE))} && exec ' + shlex.join(
        [sys.executable, '-m', module, *arguments])


def run_each(command, directories, timeout_s, more=''):
    """Start machines, run a shell command in each as root, and return when all have ended.

    :param directories: one of this host for each machine, which the command can write to as
        ``/run/machine``; ``console`` in it is what the machine printed
    :param more: a tree to lay over all others
    :raises apt.NotAvailable: no such machine can be made here
    :raises MachineFailed: one did not start, the command failed, or not all ended in time
    """
    made = _packages()
    _compile_modules()
    started = []
    try:
        for results in directories:
            (results / 'command').write_text(command)
            with open(results / 'console', 'w') as console:
                started.append(subprocess.Popen(
                    _linux(made, results, 'con0=null,fd:1', more), stdin=subprocess.DEVNULL,
                    stdout=console, stderr=subprocess.STDOUT))
        until = time.monotonic() + timeout_s
        for machine in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                machine.wait(max(0.0, until - time.monotonic()))
    finally:
        for machine in started:
            machine.kill()
            machine.wait()
    problems = list(filter(None, map(_problem, directories)))
    if problems:
        raise MachineFailed('\n'.join(problems))


def _packages():
    made = packages.get()
    trial = subprocess.run([*_NAMESPACES, 'true'], capture_output=True, text=True, check=False)
    if trial.returncode:
        raise apt.NotAvailable(f'no namespaces here: {trial.stderr.strip()}')
    return made


def _problem(results):
    """Return what one machine left behind if its command did not succeed."""
    status = results / 'status'
    if status.exists() and status.read_text().strip() == '0':
        return None
    printed = (results / 'console').read_text(errors='replace')[-3000:]
    return f'the machine failed, or did not end in time\n{printed}'


def _compile_modules():
    """Compile what the machine imports, since it cannot keep what it compiles.

    Nothing else does it for the modules of the share probe process, nor for any where Python is
    told to write no bytecode.
    """
    compileall.compile_dir(_WORKTREE / 'powervm_fileio_connector', quiet=2)
    for module in list(sys.modules.values()):
        path = getattr(module, '__file__', None)
        if path is not None and path.endswith('.py'):
            compileall.compile_file(path, quiet=2)


def shell():
    """Give a shell in the machine, at this terminal; the machine ends with it."""
    made = _packages()
    with tempfile.TemporaryDirectory() as results:
        directory = pathlib.Path(results)
        (directory / 'command').write_text(
            f'cd {shlex.quote(str(_WORKTREE))}\n'
            f'PATH={shlex.quote(str(pathlib.Path(sys.executable).parent))}:$PATH\n'
            'setsid -c bash -i <>/dev/tty0 >&0 2>&0')
        subprocess.run(_linux(made, directory, 'con0=fd:0,fd:1'), check=False)


def _linux(made, results, console, more=''):
    return [*_NAMESPACES, *made.command('linux.uml'), 'mem=2G', 'uml_dir=/dev/shm', 'quiet',
            'con=null', console, f'initrd={made.initramfs}', f'packages="{made.tree}"',
            f'results="{results}"', f'more="{more}"']


if __name__ == '__main__':
    shell()
