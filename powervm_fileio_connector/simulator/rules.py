# SPDX-License-Identifier: Apache-2.0
"""What the server refuses, by name; each rule can be switched off to see what depends on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

RULES: dict[str, str] = {
    'session': 'a request needs a valid session token',
    'etag_given': 'a change needs an If-Match',
    'etag_current': 'a change needs the etag of the latest document',
    'etag_group': 'an etag is valid for the group it was read with only',
    'group_taken': 'a request for quick properties or a job has no ?group=',
    'element_order': 'elements come in the order of the schema',
    'document_type': 'the body is the document that the address names',
    'lpar_known': 'the client LPAR of a new mapping exists',
    'lpar_can_change_io': 'the client LPAR of a new mapping can change its I/O now',
    'slot_free': 'a given client slot is not in use',
    'slot_range': 'a given client slot is one that the LPAR has',
    'server_slot_known': 'a given server adapter exists',
    'bus_of_lpar': 'a given server adapter belongs to the given LPAR',
    'lua_free': 'a given LUA is not in use on its bus',
    'lua_form': 'a given LUA looks like lun1 or 0x8100000000000000',
    'path_absolute': 'the path of a file is absolute',
    'file_exists': 'the file exists',
    'file_regular': 'the file is a regular file or a block device',
    'backstore_known': 'the backstore is loop, fileio or user:qcow',
    'udid_known': 'the disk to rescan is mapped',
    'rescan_kernel_backstore': 'only disks of kernel backstores can be rescanned',
}

# Not in force unless asked for: no recording says whether NovaLink does it.
OPTIONAL: dict[str, str] = {
    'removal_needs_lpar_io': 'the client LPAR of a removed mapping can change its I/O now',
}


class Refused(ValueError):
    """The state refuses a change, or knows nothing of that name; nothing was changed.

    :ivar rule: the name of the rule, as in ``RULES``
    :ivar kind: invalid, stale, unknown or unauthorized
    """

    def __init__(self, rule: str, message: str, kind: str = 'invalid') -> None:
        super().__init__(message)
        self.rule = rule
        self.kind = kind


class Rules:
    """The rules in force."""

    def __init__(self) -> None:
        self._on = set(RULES)

    def __contains__(self, name: str) -> bool:
        return name in self._on

    def check(self, name: str, holds: object, message: str, kind: str = 'invalid') -> None:
        """Refuse if the rule is in force and does not hold.

        :raises Refused: with the rule's name
        """
        if name in self._on and not holds:
            raise Refused(name, message, kind)

    def switch(self, name: str, on: bool) -> None:
        """Put a rule in force, or out of it, until told otherwise."""
        if name not in RULES and name not in OPTIONAL:
            known = ', '.join(sorted([*RULES, *OPTIONAL]))
            raise KeyError(f'no rule {name}; known: {known}')
        (self._on.add if on else self._on.discard)(name)

    @contextmanager
    def without(self, *names: str) -> Iterator[None]:
        """Switch rules off for the time of a ``with`` block."""
        with self._switched(names, on=False):
            yield

    @contextmanager
    def also(self, *names: str) -> Iterator[None]:
        """Switch optional rules on for the time of a ``with`` block."""
        with self._switched(names, on=True):
            yield

    @contextmanager
    def _switched(self, names: tuple[str, ...], on: bool) -> Iterator[None]:
        before = set(self._on)
        for name in names:
            self.switch(name, on)
        try:
            yield
        finally:
            self._on = before
