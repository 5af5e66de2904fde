# SPDX-License-Identifier: Apache-2.0
"""Adding and removing vSCSI mappings: pure edits of a VIOS document, and their results.

An edit is a value: equal edits do equal things. :meth:`apply` changes a document in memory, or
finds that nothing is to be done, or raises having changed nothing; it sends nothing, so it can be
applied again to a fresher document as often as need be. :meth:`result` reads from the server's
answer whether it was carried out.
"""

from __future__ import annotations

from powervm_fileio_connector.mappings.adding import REMEDY_CONFLICT
from powervm_fileio_connector.mappings.adding import AddMapping
from powervm_fileio_connector.mappings.edit import Change
from powervm_fileio_connector.mappings.edit import Edit
from powervm_fileio_connector.mappings.edit import NotConfirmed
from powervm_fileio_connector.mappings.edit import Outcome
from powervm_fileio_connector.mappings.edit import attached_to
from powervm_fileio_connector.mappings.edit import file_udid
from powervm_fileio_connector.mappings.edit import in_order
from powervm_fileio_connector.mappings.orphans import OrphanState
from powervm_fileio_connector.mappings.orphans import RemoveOrphans
from powervm_fileio_connector.mappings.orphans import incomplete_list
from powervm_fileio_connector.mappings.orphans import orphan_state
from powervm_fileio_connector.mappings.record import MappingRecord
from powervm_fileio_connector.mappings.record import normalised
from powervm_fileio_connector.mappings.removing import RemoveMapping
from powervm_fileio_connector.mappings.removing import find
from powervm_fileio_connector.mappings.splitting import MappingSplitter
from powervm_fileio_connector.mappings.table import LPARIdNeeded
from powervm_fileio_connector.mappings.table import LPARsNeeded
from powervm_fileio_connector.mappings.table import MappingEntry
from powervm_fileio_connector.mappings.table import MappingTable

__all__ = ['REMEDY_CONFLICT', 'AddMapping', 'Change', 'Edit', 'LPARIdNeeded', 'LPARsNeeded',
           'MappingEntry', 'MappingRecord', 'MappingSplitter', 'MappingTable', 'NotConfirmed',
           'OrphanState', 'Outcome', 'RemoveMapping', 'RemoveOrphans', 'attached_to', 'file_udid',
           'find', 'in_order', 'incomplete_list', 'normalised', 'orphan_state']
