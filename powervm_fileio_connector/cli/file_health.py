# SPDX-License-Identifier: Apache-2.0
"""How files and mounts are, by the names that the commands call it."""

from __future__ import annotations

from powervm_fileio_connector.host.health import ON_ROOT
from powervm_fileio_connector.host.health import FileHealth
from powervm_fileio_connector.host.health import is_novalinks_own
from powervm_fileio_connector.host.health import of_files as look
from powervm_fileio_connector.host.health import of_mounts as health

__all__ = ['ON_ROOT', 'FileHealth', 'health', 'is_novalinks_own', 'look']
