# SPDX-License-Identifier: Apache-2.0
"""Probes of shares with a deadline, each made by a process that can be killed."""

from __future__ import annotations

from powervm_fileio_connector.host.probe.pool import close_idle
from powervm_fileio_connector.host.probe.prober import NO_ACCESS
from powervm_fileio_connector.host.probe.prober import Prober
from powervm_fileio_connector.host.probe.protocol import Answer
from powervm_fileio_connector.host.probe.protocol import FileFacts
from powervm_fileio_connector.host.probe.protocol import FileProbe
from powervm_fileio_connector.host.probe.protocol import HandleFacts
from powervm_fileio_connector.host.probe.protocol import HandleProbe
from powervm_fileio_connector.host.probe.protocol import ListFiles
from powervm_fileio_connector.host.probe.protocol import Listing
from powervm_fileio_connector.host.probe.protocol import PathFacts
from powervm_fileio_connector.host.probe.protocol import PathProbe
from powervm_fileio_connector.host.probe.protocol import Refusal
from powervm_fileio_connector.host.probe.protocol import Request

__all__ = ['NO_ACCESS', 'Answer', 'FileFacts', 'FileProbe', 'HandleFacts', 'HandleProbe',
           'ListFiles', 'Listing', 'PathFacts', 'PathProbe', 'Prober', 'Refusal', 'Request',
           'close_idle']
