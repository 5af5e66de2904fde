# SPDX-License-Identifier: Apache-2.0
"""Virtual fibre channel mappings of a recorded VIOS: shown, and removed; never made here."""

from __future__ import annotations

from lxml import etree

from powervm_fileio_connector.simulator.changes import canonical
from powervm_fileio_connector.simulator.rules import Refused
from powervm_fileio_connector.simulator.schema import UOM

_PATH = f'{{{UOM}}}VirtualFibreChannelMappings/{{{UOM}}}VirtualFibreChannelMapping'


def without_removed(document: str | None, posted: list[str]) -> str | None:
    """The document without the mappings that were not posted; None if nothing is removed.

    :param posted: the posted mappings in canonical form
    :raises Refused: one was posted that is not there
    """
    root = etree.fromstring(document.encode()) if document else None
    there = root.findall(_PATH) if root is not None else []
    left = list(posted)
    gone = []
    for part in there:
        # A copy: canonical form takes the indentation away.
        name = canonical(etree.fromstring(etree.tostring(part, with_tail=False)))
        if name in left:
            left.remove(name)
        else:
            gone.append(part)
    if left:
        raise Refused('fc_mappings', 'This simulator does not make virtual fibre channel mappings: '
                      'expected those that are there, or fewer.')
    if not gone or root is None:
        return None
    for part in gone:
        part.getparent().remove(part)
    return etree.tostring(root, encoding='unicode')
