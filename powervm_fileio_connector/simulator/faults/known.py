# SPDX-License-Identifier: Apache-2.0
"""All faults by name, and faults as plain data, so that another process can be told of them."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any
from typing import get_args
from typing import get_type_hints

from ..model import is_of
from . import documents
from . import kinds
from .base import Fault

KNOWN: dict[str, type[Fault]] = {
    name: cls for module in (kinds, documents) for name, cls in vars(module).items()
    if isinstance(cls, type) and issubclass(cls, Fault)
    and cls not in (Fault, documents.Rewritten)}

_PLAIN = {str, int, float, bool, type(None)}


def to_json(fault: Fault) -> dict[str, Any]:
    """A fault as plain data."""
    fields = {field.name: getattr(fault, field.name) for field in dataclasses.fields(fault)
              if not field.metadata.get('is_local')}
    return {'fault': type(fault).__name__, **fields}


def from_json(data: dict[str, Any]) -> Fault:
    """The fault that ``to_json`` was given.

    :raises ValueError: there is no such fault, or a field is of another type or makes no sense
    """
    fields = dict(data)
    name = fields.pop('fault', None)
    if name not in KNOWN:
        raise ValueError(f'no fault {name}; known: {", ".join(KNOWN)}')
    fault = KNOWN[name](**fields)
    for field, hint in get_type_hints(type(fault)).items():
        # Latencies may be whole numbers, and some fields are of types of their own.
        allowed, value = {*(get_args(hint) or (hint,))}, getattr(fault, field)
        is_allowed = not allowed <= _PLAIN or is_of(value, hint) or (
            float in allowed and type(value) is int)
        # JSON may hold infinite numbers, which nothing can wait for, and NaN.
        is_count = isinstance(value, int | float) and field != 'seed'
        if not is_allowed or (is_count and not 0 <= value <= threading.TIMEOUT_MAX):
            raise ValueError(f'{field} of {name} is {str(value)[:50]!r}')
    return fault
