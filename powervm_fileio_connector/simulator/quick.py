# SPDX-License-Identifier: Apache-2.0
"""Quick properties and searches of partitions and of the machine."""

from __future__ import annotations

import json
import re
from typing import Any

from .http_messages import Answer
from .model import Host
from .model import Partition
from .rules import Refused

_SEARCH = re.compile(r"\((\w+)(==|!=)'?(.*?)'?\)")


def properties(of: Partition | Host) -> dict[str, Any]:
    """The quick properties.

    ASSUMED: The quick properties have the names and JSON types with which pypowervm and
    nova-powervm read them (PartitionID a number, states strings); the real set is larger.
    """
    if isinstance(of, Host):
        return {'UUID': of.uuid, 'SystemName': of.name, 'State': 'operating',
                'MTMS': '{}-{}*{}'.format(*of.mtms.split('.'))}
    return {
        'UUID': of.uuid,
        'PartitionID': of.id,
        'PartitionName': of.name,
        'PartitionState': of.state,
        'PartitionType': of.type,
        'IsVirtualIOServer': of.is_io_server,
        'IsManagementPartition': of.is_management,
        'RMCState': of.rmc_state,
        'ResourceMonitoringControlState': of.rmc_state,
        'OperatingSystemVersion': 'Linux/simulated',
        'ReferenceCode': 'Linux ppc64le',
        'MigrationState': 'Not_Migrating',
    }


def quick(of: Partition | Host | list[Partition], name: str) -> Answer:
    """All quick properties, or one, as JSON.

    :raises Refused: kind unknown: no such property
    """
    value: Any
    if isinstance(of, list):
        value = [properties(partition) for partition in of]
    else:
        value = properties(of)
        if name not in ('', 'All', 'all'):
            if name not in value:
                raise Refused('quick_known', f'There is no quick property {name}: expected All '
                              f'or one of {", ".join(value)}.', 'unknown')
            value = value[name]
    return Answer(200, json.dumps(value).encode(), {'Content-Type': 'application/json'})


def search(partitions: list[Partition], kind: str, wanted: str) -> list[Partition]:
    """The partitions with (or without) a property's value.

    :raises Refused: the search is not understood
    """
    found = _SEARCH.fullmatch(wanted)
    if found is None:
        raise Refused('search', f"The search {wanted!r} of {kind} is not understood: expected "
                      "(Property=='value').")
    name, operator, value = found.groups()
    known = properties(partitions[0]) if partitions else {name: None}
    if name not in known:
        raise Refused('search', f'{kind} cannot be searched by {name}: expected one of '
                      f'{", ".join(known)}.')
    return [p for p in partitions
            if (_shown(properties(p)[name]) == value) == (operator == '==')]


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
