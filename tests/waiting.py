# SPDX-License-Identifier: Apache-2.0
"""Waiting for what another thread or process is about to do."""

import time


def wait_until(is_so, seconds=30):
    """Wait for a condition; fails where it does not hold in time. Others may run meanwhile."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.001)
