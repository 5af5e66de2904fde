# SPDX-License-Identifier: Apache-2.0
"""Lines that real kernels had in their mount tables, by kernel and by case.

They are recorded by running the cases with ``POWERVM_FILEIO_RECORD_TABLES=1`` in the environment.
"""

import os
import pathlib
import re

DIRECTORY = pathlib.Path(__file__).with_name('tables')
KERNELS = sorted(path.stem for path in DIRECTORY.glob('linux-*.txt'))
IS_RECORDING = bool(os.environ.get('POWERVM_FILEIO_RECORD_TABLES'))


def recorded(kernel='linux-6.1'):
    """Return the recorded lines of each case, as in ``/proc/self/mountinfo``."""
    return parse((DIRECTORY / f'{kernel}.txt').read_text())


def parse(text):
    """Return the lines of each case; a ``#`` begins the name of one, ``##`` a comment."""
    tables = {}
    for line in text.splitlines(keepends=True):
        if line.startswith('# '):
            lines = tables[line[2:].strip()] = []
        elif not line.startswith('##'):
            lines.append(line)
    return {case: ''.join(lines) for case, lines in tables.items()}


def comparable(table):
    """Return what does not depend on the order in which cases are run, nor on chance."""
    devices = {}
    lines = []
    for line in table.splitlines():
        _, _, device, root, place, _, _, fstype, source, options = line.split()[:10]
        address = re.search(r'\baddr=([^,]*)', options)
        number = devices.setdefault(device, len(devices))
        lines.append((number, root, place, fstype, source, address and address[1]))
    return lines
