# SPDX-License-Identifier: Apache-2.0
"""tcmu-runner, the daemon that serves ``user:qcow``, and qemu-img, from unpacked packages."""

import functools
import os
import pathlib
import subprocess

from tests.kernel.nfs.server import wait_until

_PLACE = pathlib.Path('/run/machine/packages')  # names the directory that they were unpacked to
_LOG = pathlib.Path('/run/tcmu-runner.log')


def find_programs():
    """Let this process and its children find the programs of the packages."""
    os.environ.update(PATH=f'{os.environ["PATH"]}:{_tree()}/usr/bin', LD_LIBRARY_PATH=_libraries())


@functools.cache
def start():
    """Start the daemon, once; it runs until the machine ends."""
    configuration = pathlib.Path('/etc/tcmu/tcmu.conf')
    configuration.parent.mkdir(exist_ok=True)
    configuration.touch()       # without one it does not start
    with open('/run/machine/tcmu.log', 'w') as printed:
        subprocess.Popen(
            ['tcmu-runner', '--handler-path', f'{_libraries()}/tcmu-runner', '--tcmu-log-dir',
             _LOG.parent], stdin=subprocess.DEVNULL, stdout=printed, stderr=printed)
    wait_until(lambda: _LOG.exists() and 'qcow' in _LOG.read_text(), 60)


def _tree():
    return _PLACE.read_text()


def _libraries():
    return f'{_tree()}/usr/lib/x86_64-linux-gnu'
