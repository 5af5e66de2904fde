# SPDX-License-Identifier: Apache-2.0
"""Disks for PowerVM LPARs that are files on a file system mounted on the NovaLink partition.

Importing this package is cheap: neither os-brick nor pypowervm is imported before a name that
needs them is used (PEP 562).
"""

from __future__ import annotations

import importlib
import queue
import sys
import threading
import time
import types
import warnings
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
        return _imported('exceptions')
    if name in _HOME:
        value = getattr(_imported(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def _imported(module: str) -> types.ModuleType:
    """Import a module of ours; the first time from the main thread, or else from one of its own.

    os-brick imports eventlet, and that a second copy of ``threading``, which takes the importing
    thread for the main one: to join that thread afterwards takes for ever. So it has to be a
    thread that nothing joins. That eventlet is deprecated, it says by a warning, which is for
    os-brick's maintainers.
    """
    name = f'{__name__}.{module}'
    if name in sys.modules:
        return _import_whole(name)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return _imported_safely(name)


def _imported_safely(name: str) -> types.ModuleType:
    if threading.current_thread() is threading.main_thread():
        return _import_whole(name)
    outcome: queue.SimpleQueue[types.ModuleType | BaseException] = queue.SimpleQueue()

    def import_it() -> None:
        try:
            outcome.put(_import_whole(name))
        except BaseException as err:  # noqa: BLE001 - raised again by who asked for it
            outcome.put(err)

    threading.Thread(target=import_it, daemon=True).start()
    imported = outcome.get()
    if isinstance(imported, BaseException):
        raise imported
    return imported


def _import_whole(name: str) -> types.ModuleType:
    module = importlib.import_module(name)
    # The import lock holds up other threads, but not other greenlets of the same one.
    while getattr(module.__spec__, '_initializing', False):
        time.sleep(0.01)
    return module


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
