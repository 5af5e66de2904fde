# SPDX-License-Identifier: Apache-2.0
"""Disks for PowerVM LPARs that are files on a file system mounted on the NovaLink partition.

Importing this package is cheap: neither os-brick nor pypowervm is imported before a name that
needs them is used (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from powervm_fileio_connector import exceptions
    from powervm_fileio_connector.connector import FileIOConnector
    from powervm_fileio_connector.registration import factory
    from powervm_fileio_connector.registration import register
    from powervm_fileio_connector.registration import unregister

__all__ = ['FileIOConnector', 'exceptions', 'factory', 'register', 'unregister']

_HOME = {
    'FileIOConnector': 'connector',
    'factory': 'registration',
    'register': 'registration',
    'unregister': 'registration',
}


def __getattr__(name: str) -> Any:
    if name == 'exceptions':
        return importlib.import_module(f'{__name__}.exceptions')
    if name in _HOME:
        value = getattr(importlib.import_module(f'{__name__}.{_HOME[name]}'), name)
        globals()[name] = value
        return value
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
