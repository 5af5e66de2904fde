# SPDX-License-Identifier: Apache-2.0
"""tcmu-runner, the daemon that serves ``user:qcow``, from its unpacked package."""

import functools
import os
import pathlib
import subprocess

from tests.kernel.nfs.server import wait_until

PLACE = pathlib.Path('/run/machine/packages')
"""Names the directory that the package was unpacked to."""

_LOG = pathlib.Path('/run/tcmu-runner.log')


@functools.cache
def start():
    """Start the daemon, once; it runs until the machine ends."""
    tree = PLACE.read_text()
    configuration = pathlib.Path('/etc/tcmu/tcmu.conf')
    configuration.parent.mkdir(exist_ok=True)
    configuration.touch()       # without one it does not start
    libraries = f'{tree}/usr/lib/x86_64-linux-gnu'
    with open('/run/machine/tcmu.log', 'w') as printed:
        subprocess.Popen(
            [f'{tree}/usr/bin/tcmu-runner', '--handler-path', f'{libraries}/tcmu-runner',
             '--tcmu-log-dir', _LOG.parent],
            env={**os.environ, 'LD_LIBRARY_PATH': libraries}, stdin=subprocess.DEVNULL,
            stdout=printed, stderr=printed)
    wait_until(lambda: _LOG.exists() and 'qcow' in _LOG.read_text(), 60)
