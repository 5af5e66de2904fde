# SPDX-License-Identifier: Apache-2.0
"""What ``compute_driver = powervm_fileio.PowerVMDriver`` names.

Nova imports compute drivers from below ``nova.virt`` only, so this directory is installed a second
time, as ``nova.virt.powervm_fileio``.
"""

from __future__ import annotations

from powervm_fileio_connector.nova.compute_driver import PowerVMDriver

__all__ = ['PowerVMDriver']
