# SPDX-License-Identifier: Apache-2.0
"""NovaLink's REST server: sessions, partitions, and changes of the mappings of a VIOS.

Not handed on is ``feed_task``, which only Nova's volume adapter uses: it imports taskflow.
"""

from powervm_fileio_connector.novalink.client import Client
from powervm_fileio_connector.novalink.client import client_for
from powervm_fileio_connector.novalink.committer import Committer
from powervm_fileio_connector.novalink.partitions import LparInfo
from powervm_fileio_connector.novalink.partitions import ManagementPartition

__all__ = ['Client', 'Committer', 'LparInfo', 'ManagementPartition', 'client_for']
