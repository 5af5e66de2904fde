# SPDX-License-Identifier: Apache-2.0
"""Why NovaLink refused a change: its words, and one look at the LPAR."""

from __future__ import annotations

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import novalink
from powervm_fileio_connector import rest
from powervm_fileio_connector.batch import Ticket
from powervm_fileio_connector.edit import Change
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import RemoveMapping


def explained(err: rest.RequestFailed, edit: AddMapping | RemoveMapping, change: Change,
              leader: Ticket) -> exceptions.FileIOConnectorError:
    """Return the error that says best why an edit was refused.

    The LPAR is not asked about beforehand: that would cost every attach a request, and prove
    nothing for the moment of the change.
    """
    try:
        lpar = novalink.lpar(leader.adapter, edit.lpar_uuid, leader.deadline)
    except exceptions.LPARNotFound as gone:
        if isinstance(edit, AddMapping):
            return gone
        lpar = None
    except exceptions.FileIOConnectorError:
        lpar = None
    words = f'NovaLink says: {err.words}'
    if lpar is not None and not lpar.can_change_io:
        return exceptions.LPARNotReady(
            reason=f'{lpar.name} is {lpar.state} with RMC {lpar.rmc_state}: {lpar.why_not}; '
            + words, lpar=edit.lpar_uuid)
    if isinstance(edit, AddMapping) and edit.slot is not None and change.makes_adapters:
        # The bus was none of ours in the document, so something else of the LPAR has the slot.
        return exceptions.SlotOrLUAConflict(
            reason=f'slot {edit.slot} cannot be had: {words}', slot=edit.slot, lua=edit.lua)
    return exceptions.MappingFailed(reason=words, lpar=edit.lpar_uuid)
