# SPDX-License-Identifier: Apache-2.0
"""A small virtual machine with a kernel of its own, which sees this host's files read-only.

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
_TRIAL_S = 10

# With "fast" string instructions, kernel and libc copy and clear memory by instructions that
# emulation carries out byte by byte.
_EMULATED = 'max,-erms,-fsrm'


class MachineFailed(Exception):
    """The machine did not start, or did not end in time."""


def python(module, *arguments):
    """Return the command that runs a module in the machine as it would run here."""
    return f'cd {shlex.quote(str(_WORKTREE))} && exec ' + shlex.join(
        [sys.executable, '-m', module, *arguments])


def run_each(command, directories, timeout_s):
    """Start machines, run a shell command in each as root, and return when all have ended.

    :param directories: one of this host for each machine, which the command can write to as
        ``/run/machine``; ``console`` in it is what the machine printed
    :raises apt.NotAvailable: no such machine can be made here
    :raises MachineFailed: one did not start, the command failed, or not all ended in time
    """
    made = packages.get()
    _compile_modules()
    accelerator = _accelerator(made)
    started = []
    try:
        for results in directories:
            (results / 'command').write_text(command)
            with open(results / 'errors', 'w') as errors:
                started.append(subprocess.Popen(
                    [*_qemu(made, accelerator, f'file:{results / "console"}'),
                     *_shares(made, results)],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors))
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


def _problem(results):
    """Return what one machine left behind if its command did not succeed."""
    status = results / 'status'
    if status.exists() and status.read_text().strip() == '0':
        return None
    printed = [path.read_text(errors='replace')[-3000:] for path in (
        results / 'errors', results / 'console') if path.exists()]
    return '\n'.join(['the machine failed, or did not end in time', *printed])


def _compile_modules():
    """Compile what the machine imports, which takes it some thirty times as long.

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
    made = packages.get()
    with tempfile.TemporaryDirectory() as results:
        directory = pathlib.Path(results)
        (directory / 'command').write_text(
            f'cd {shlex.quote(str(_WORKTREE))}; alias python={shlex.quote(sys.executable)}\n'
            'setsid -c bash -i <>/dev/ttyS0 >&0 2>&0')
        subprocess.run([*_qemu(made, _accelerator(made), 'mon:stdio'), *_shares(made, directory)],
                       check=False)


def _qemu(made, accelerator, serial, *words):
    # Emulated processors wait for each other at each change of a page table; two machines don't.
    is_emulated = accelerator.startswith('tcg')
    return [
        # It ends with us, however we end.
        'setpriv', '--pdeathsig', 'KILL',
        *made.command('qemu-system-x86_64'), *apt.firmware(made.tools),
        '-accel', accelerator, '-cpu', _EMULATED if is_emulated else 'host',
        '-smp', '1' if is_emulated else '2', '-m', '3072', '-nodefaults', '-no-user-config',
        '-display', 'none', '-nic', 'none', '-no-reboot', '-serial', serial,
        '-kernel', made.kernel_image, '-initrd', made.initramfs,
        # On a busy host the timer may be late for the check that it ticks, which ends in a panic.
        '-append', ' '.join(('console=ttyS0 quiet panic=-1 mitigations=off audit=0 no_timer_check',
                             # To read any other clock is a system call, and to emulate a device.
                             'tsc=reliable', *words))]


def _shares(made, results):
    arguments = []
    for tag, directory, options in (('host', '/', 'readonly=on,multidevs=remap'),
                                    ('packages', made.directory, 'readonly=on'),
                                    ('machine', results, 'readonly=off')):
        arguments += ['-fsdev', f'local,id={tag},path={directory},security_model=none,{options}',
                      '-device', f'virtio-9p-pci,fsdev={tag},mount_tag={tag}']
    return arguments


def _accelerator(made):
    """Return KVM where a machine really starts with it: the device alone says little."""
    if pathlib.Path('/dev/kvm').exists():
        with contextlib.suppress(subprocess.TimeoutExpired):
            trial = subprocess.run(_qemu(made, 'kvm', 'stdio', 'machine=trial'), text=True,
                                   stdin=subprocess.DEVNULL, capture_output=True,
                                   timeout=_TRIAL_S, check=False)
            if 'the trial went well' in trial.stdout:
                return 'kvm'
    return 'tcg,thread=multi'


if __name__ == '__main__':
    shell()
