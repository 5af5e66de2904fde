# SPDX-License-Identifier: Apache-2.0
"""``file`` -> :class:`FileIOConnector`, in os-brick's factory or in our own.

os-brick has no plug-in hook: its factory looks protocols up in one dictionary per architecture,
which ``get_connector_mapping`` returns. Those dictionaries are what :func:`register` extends.
"""

from __future__ import annotations

import threading
from typing import Any

from os_brick import initiator
from os_brick.initiator import connector as brick
from oslo_utils import importutils

PROTOCOL = 'FILE'
CONNECTOR = 'powervm_fileio_connector.connector.FileIOConnector'

# One architecture for each of os-brick's dictionaries; None is this host's.
_ARCHITECTURES = (None, initiator.S390X, initiator.PPC64LE, 'x86_64')

_lock = threading.Lock()


def register() -> None:
    """Make os-brick's factory build our connector for the protocol ``file``, on every architecture.

    Safe to repeat and to call from several threads. A connector that somebody else registered for
    ``file`` is left in its place.
    """
    with _lock:
        for mapping in map(brick.get_connector_mapping, _ARCHITECTURES):
            mapping.setdefault(PROTOCOL, CONNECTOR)


def unregister() -> None:
    """Undo :func:`register`; safe to repeat, and touches nobody else's connectors."""
    with _lock:
        for mapping in map(brick.get_connector_mapping, _ARCHITECTURES):
            if mapping.get(PROTOCOL) == CONNECTOR:
                del mapping[PROTOCOL]


def factory(protocol: str, root_helper: str, driver: Any = None, use_multipath: bool = False,
            device_scan_attempts: int = initiator.DEVICE_SCAN_ATTEMPTS_DEFAULT,
            arch: str | None = None, *args: Any, **kwargs: Any) -> Any:
    """Build the connector for a protocol, without registration.

    ``file``, in any case, gives ours, on any architecture; other protocols are handed on to
    os-brick's factory. The arguments are those of os-brick's
    ``InitiatorConnector.factory``.

    :raises os_brick.exception.InvalidConnectorProtocol: nobody knows the protocol
    """
    if protocol.upper() != PROTOCOL:
        return brick.InitiatorConnector.factory(
            protocol, root_helper, driver, use_multipath, device_scan_attempts, arch,
            *args, **kwargs)
    connector_class = importutils.import_class(CONNECTOR)
    return connector_class(root_helper, driver=driver, use_multipath=use_multipath,
                           device_scan_attempts=device_scan_attempts, **kwargs)
