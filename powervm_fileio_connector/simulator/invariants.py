# SPDX-License-Identifier: Apache-2.0
"""What must hold of the mappings of a host at every moment."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator

from powervm_fileio_connector.simulator.model import Mapping
from powervm_fileio_connector.simulator.placement import file_udid


def violations(mappings: Iterable[Mapping]) -> Iterator[str]:
    """What is wrong, in words.

    No LUA twice on a server adapter, no client slot behind two server adapters, and every
    file under the UDID of its path.
    """
    places: set[tuple[str, int, str]] = set()
    clients: dict[tuple[int, int], tuple[str, int]] = {}
    for mapping in mappings:
        place = (mapping.vios_uuid, mapping.server_slot, mapping.lua or '')
        if mapping.lua and place in places:
            yield (f'LUA {mapping.lua} twice on server slot {mapping.server_slot} of VIOS '
                   f'{mapping.vios_uuid}')
        places.add(place)
        if mapping.has_client:
            bus = (mapping.vios_uuid, mapping.server_slot)
            if clients.setdefault((mapping.lpar_id, mapping.slot), bus) != bus:
                yield f'client slot {mapping.slot} of partition {mapping.lpar_id} twice'
        if (mapping.kind == 'file' and mapping.source is None
                and mapping.udid != file_udid(mapping.path or '')):
            yield f'wrong UDID of {mapping.path}'
