# SPDX-License-Identifier: Apache-2.0
"""Cinder's API, as the commands of an operator without Nova need it."""

from powervm_fileio_connector.cinder.block_storage import BlockStorage
from powervm_fileio_connector.cinder.unfinished import Unfinished
from powervm_fileio_connector.cinder.views import Attachment
from powervm_fileio_connector.cinder.views import Volume

__all__ = ['Attachment', 'BlockStorage', 'Unfinished', 'Volume']
