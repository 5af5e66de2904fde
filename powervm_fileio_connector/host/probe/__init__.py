# SPDX-License-Identifier: Apache-2.0
"""Probes of shares with a deadline, each made by a process that can be killed."""

from __future__ import annotations

from powervm_fileio_connector.host.probe.prober import NO_ACCESS
from powervm_fileio_connector.host.probe.prober import Answer
from powervm_fileio_connector.host.probe.prober import Prober
from powervm_fileio_connector.host.probe.prober import Request
from powervm_fileio_connector.host.probe.prober import close_idle

__all__ = ['NO_ACCESS', 'Answer', 'Prober', 'Request', 'close_idle']
