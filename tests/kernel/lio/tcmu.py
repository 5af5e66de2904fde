# SPDX-License-Identifier: Apache-2.0
"""tcmu-runner, the daemon that serves ``user:qcow``."""

import functools
import pathlib
import subprocess

from tests.kernel.nfs.server import wait_until

_LOG = pathlib.Path('/run/tcmu-runner.log')


@functools.cache
def start():
    """Start the daemon, once; it runs until the machine ends."""
    configuration = pathlib.Path('/etc/tcmu/tcmu.conf')
    configuration.parent.mkdir(exist_ok=True)
    configuration.touch()       # without one it does not start
    with open('/run/machine/tcmu.log', 'w') as printed:
        subprocess.Popen(['tcmu-runner', '--tcmu-log-dir', _LOG.parent], stdin=subprocess.DEVNULL,
                         stdout=printed, stderr=printed)
    wait_until(lambda: _LOG.exists() and 'qcow' in _LOG.read_text(), 60)
