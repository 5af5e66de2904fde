# SPDX-License-Identifier: Apache-2.0
"""In the machine: run NFS cases and write their results; ``python -m tests.kernel.nfs.run [WORD]``.

Those are run that the host selected, or whose name contains one of the words, or all.
"""

import concurrent.futures
import ctypes
import gc
import os
import pathlib
import sys
import time

from tests.kernel import cases
from tests.kernel.nfs import server

RESULTS = pathlib.Path('/run/machine')

_CLONE_NEWNS = 0x20000


def main(*words):
    (RESULTS / 'kernel').write_text(pathlib.Path('/proc/version').read_text())
    # The server starts while the package, the simulator and os-brick are imported, which takes
    # longer than most cases together.
    gc.disable()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        starting = pool.submit(server.Server)
        from tests.kernel.nfs import suite
    gc.freeze()     # the processes that run cases share what was imported
    gc.enable()
    names = RESULTS / 'selected'
    selected = set(names.read_text().split()) if names.exists() else {
        name for name in suite.names() if not words or any(word in name for word in words)}
    server_ = starting.result()
    status = _run_each(suite.parallel_groups(), server_, selected)
    status = status or _run_each([suite.fault_groups()], server_, selected)
    _recorder().record(cases.AT_THE_END, _no_process_is_left)
    return status


def _run_each(lists_of_groups, server_, selected):
    """Run each list in a process and with mounts of its own; return the status of a failed one."""
    children = []
    for groups in lists_of_groups:
        child = os.fork()
        if child == 0:
            _run(groups, server_, selected)
            sys.exit()
        children.append(child)
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


def _run(groups, server_, selected):
    from tests.kernel.nfs import site
    ctypes.CDLL(None).unshare(_CLONE_NEWNS)
    server.run('mount', '--make-rprivate', '/')
    recorder = _recorder()
    started = time.monotonic()
    with site.Site.started(server_, RESULTS / f'tables-{os.getpid()}') as here:
        for group in groups:
            recorder.run(group, here, selected)
            print(f'{time.monotonic() - started:6.1f} {group.version} {group.name}', flush=True)


def _recorder():
    # One file for each process: the share that they are on knows no common end of a file.
    return cases.Recorder(RESULTS / f'results-{os.getpid()}')


def _no_process_is_left():
    server.wait_until(lambda: not _other_pythons(), 20)


def _other_pythons():
    found = []
    for process in pathlib.Path('/proc').glob('[0-9]*'):
        try:
            program = (process / 'exe').readlink()
        except OSError:     # it has just ended, or is the kernel's
            continue
        if program.name.startswith('python') and process.name != str(os.getpid()):
            found.append(process.name)
    return found


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
