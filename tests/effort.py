# SPDX-License-Identifier: Apache-2.0
"""How much the sweeps try: enough to show each behaviour, or more with POWERVM_FILEIO_EFFORT=full.

A sweep repeats one claim with other random inputs, lines or contenders; all claims are checked
either way.
"""

import os

IS_FULL = os.environ.get('POWERVM_FILEIO_EFFORT') == 'full'


def of(usual, full):
    """Return how many a sweep tries."""
    return full if IS_FULL else usual
