# SPDX-License-Identifier: Apache-2.0
"""Adding and removing vSCSI mappings: pure edits of a VIOS document, and what came of them.

An edit is a value: equal edits do equal things. :meth:`apply` changes a document in memory, or
finds that nothing is to be done, or raises having changed nothing; it sends nothing, so it can be
applied again to a fresher document as often as need be. :meth:`result` reads from the server's
answer what became of it.
"""

from __future__ import annotations

from powervm_fileio_connector.mappings.adding import AddMapping
from powervm_fileio_connector.mappings.document import records
from powervm_fileio_connector.mappings.edit import Change
from powervm_fileio_connector.mappings.edit import Edit
from powervm_fileio_connector.mappings.edit import LPARIdNeeded
from powervm_fileio_connector.mappings.edit import NotShown
from powervm_fileio_connector.mappings.edit import Outcome
from powervm_fileio_connector.mappings.edit import file_udid
from powervm_fileio_connector.mappings.record import MappingRecord
from powervm_fileio_connector.mappings.removing import RemoveMapping
from powervm_fileio_connector.mappings.removing import find

__all__ = ['AddMapping', 'Change', 'Edit', 'LPARIdNeeded', 'MappingRecord', 'NotShown', 'Outcome',
           'RemoveMapping', 'file_udid', 'find', 'records']
