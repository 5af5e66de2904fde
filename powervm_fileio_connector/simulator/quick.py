# SPDX-License-Identifier: Apache-2.0
"""Quick properties and searches of partitions and of the machine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from .http_messages import Answer
from .model import Host
from .model import Partition
from .rules import Refused

# ASSUMED: Partitions can be searched by these properties; pypowervm searches by name and id.
_SEARCHABLE: dict[str, Callable[[Partition], str]] = {
    'PartitionName': lambda partition: partition.name,
    'PartitionID': lambda partition: str(partition.id),
    'PartitionState': lambda partition: partition.state,
    'PartitionType': lambda partition: partition.type,
    'PartitionUUID': lambda partition: partition.uuid,
    'IsManagementPartition': lambda partition: str(partition.is_management).lower(),
}
_SEARCH = re.compile(r"\((\w+)(==|!=)'?(.*?)'?\)")


def properties(of: Partition | Host) -> dict[str, Any]:
    """The quick properties: names and JSON types as nova-powervm 9.0.0 recorded those of an LPAR
    (in its tests of get_vm_qp): numbers are numbers, truth values are strings.

    ASSUMED: The quick properties of a VIOS, and those of the machine, are like those of an LPAR;
    each has its UUID besides.
    """
    if isinstance(of, Host):
        return {'UUID': of.uuid, 'SystemName': of.name, 'State': 'operating',
                'MTMS': '{}-{}*{}'.format(*of.mtms.split('.'))}
    return {
        'IsVirtualServiceAttentionLEDOn': 'false',
        'MigrationState': 'Not_Migrating',
        'CurrentProcessingUnits': 0.5,
        'ProgressState': None,
        'PartitionType': of.type,
        'PartitionID': of.id,
        'AllocatedVirtualProcessors': 1,
        'PartitionState': of.state,
        'RemoteRestartState': 'Invalid',
        'OperatingSystemVersion': 'Linux/simulated',
        'RMCState': of.rmc_state,
        'PowerManagementMode': None,
        'PartitionName': of.name,
        'HasDedicatedProcessors': 'false',
        'ResourceMonitoringIPAddress': None,
        'ReferenceCode': 'Linux ppc64le',
        'CurrentProcessors': None,
        'CurrentMemory': 4096,
        'SharingMode': 'uncapped',
        'UUID': of.uuid,
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
    if name not in _SEARCHABLE:
        raise Refused('search', f'{kind} cannot be searched by {name}: expected one of '
                      f'{", ".join(_SEARCHABLE)}.')
    return [p for p in partitions if (_SEARCHABLE[name](p) == value) == (operator == '==')]
