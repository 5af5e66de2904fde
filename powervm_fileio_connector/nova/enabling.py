# SPDX-License-Identifier: Apache-2.0
"""Puts our volume adapter into nova-powervm's table of adapters, and takes it out again."""

from __future__ import annotations

import threading

from nova_powervm.virt.powervm import volume
from oslo_log import log as logging

from powervm_fileio_connector.volume import PROTOCOLS

LOG = logging.getLogger(__name__)

_ADAPTER = 'powervm_fileio_connector.nova.adapter.FileIOVolumeAdapter'
_lock = threading.Lock()
_replaced: dict[str, str | None] = {}


def enable() -> None:
    """Make nova-powervm use our adapter for every volume that is a file.

    Call it once per process before volumes are used, as nova-compute starts. Safe to repeat.
    """
    with _lock:
        adapters = volume._STATIC_VOLUME_MAPPINGS
        for volume_type in PROTOCOLS:
            before = adapters.get(volume_type)
            if before != _ADAPTER:
                if before is not None:
                    is_own = before.startswith('nova_powervm.')
                    LOG.log(logging.INFO if is_own else logging.WARNING,
                            'Volumes of type %s are attached by %s from now on, not by %s.',
                            volume_type, _ADAPTER, before)
                _replaced[volume_type] = before
                adapters[volume_type] = _ADAPTER


def disable() -> None:
    """Undo :func:`enable`: what was there before is there again. Safe to repeat."""
    with _lock:
        adapters = volume._STATIC_VOLUME_MAPPINGS
        for volume_type, before in _replaced.items():
            if adapters.get(volume_type) != _ADAPTER:
                continue        # somebody else's by now
            if before is None:
                LOG.warning('Attached volumes of type %s cannot be detached any more.', volume_type)
                del adapters[volume_type]
            else:
                adapters[volume_type] = before
        _replaced.clear()
