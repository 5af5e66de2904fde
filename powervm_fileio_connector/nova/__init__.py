# SPDX-License-Identifier: Apache-2.0
"""Volumes that are files, for nova-powervm: its volume adapter, and how to put it in place.

Importing this imports Nova and nova-powervm.
"""

from __future__ import annotations

from powervm_fileio_connector.nova.adapter import FileIOVolumeAdapter
from powervm_fileio_connector.nova.enabling import disable
from powervm_fileio_connector.nova.enabling import enable

__all__ = ['FileIOVolumeAdapter', 'disable', 'enable']
