# SPDX-License-Identifier: Apache-2.0
"""In the machine: run NFS cases and write their results; ``python -m tests.kernel.nfs.run [WORD]``.

Those are run that the host selected, or whose name contains one of the words, or all.
"""

import concurrent.futures
import os
import pathlib
import sys
import time

from tests.kernel import cases
from tests.kernel.nfs import server


def main(*words):
    (cases.RESULTS / 'kernel').write_text(pathlib.Path('/proc/version').read_text())
    # The server starts while the package, the simulator and os-brick are imported.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        starting = pool.submit(_start_server)
        from tests.kernel.nfs import suite
    _print_time('imported')
    selected = cases.selected(suite.names(), words)
    server_ = starting.result()
    _print_time('the server is up')
    # Those that stop their server mostly wait, and begin before the machine is busy.
    children = [*_started(suite.fault_groups(), None, selected),
                *_started(suite.parallel_groups(), server_, selected)]
    status = max((os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children),
                 default=0)
    _recorder().record(cases.AT_THE_END, _no_process_is_left)
    return status


def _start_server():
    server.prepare()
    return server.Server()


def _started(lists_of_groups, server_, selected):
    """Start a process for each list of which something was selected, and return their ids."""
    for groups in lists_of_groups:
        groups = [group for group in groups if selected.intersection(group.named_checks())]
        if not groups:
            continue
        child = os.fork()
        if child == 0:
            _run(groups, server_, selected)
            sys.exit()
        yield child


def _run(groups, server_, selected):
    """Run groups with mounts of their own, and, unless a server is given, one of their own."""
    from tests.kernel.nfs import site
    if server_:
        server.leave_the_mounts_of_others()
    else:
        server.leave_the_server_of_others(cases.RESULTS)
        server_ = server.Server()
    recorder = _recorder()
    with site.Site.started(server_, cases.RESULTS / f'tables-{os.getpid()}') as here:
        for group in groups:
            recorder.run(group, here, selected)
            _print_time(f'{group.version} {group.name}')


def _print_time(what):
    print(f'{time.monotonic():6.1f} s, {time.process_time():6.1f} s of a processor: {what}',
          flush=True)


def _recorder():
    # One file for each process: the share that they are on knows no common end of a file.
    return cases.Recorder(cases.RESULTS / f'results-{os.getpid()}')


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
