# SPDX-License-Identifier: Apache-2.0
"""Etags: one for each document and group of it, as pypowervm expects."""

from __future__ import annotations

import zlib

from .rules import Rules

SCSI = 'ViosSCSIMapping'
FC = 'ViosFCMapping'
ALL_GROUPS = ('Advanced', 'EnergyManagement', 'Hypervisor', 'NVRAM', 'SystemNetwork',
              'TierThreshold', FC, 'ViosNetwork', SCSI, 'ViosStorage', 'VNIC')


def groups_in(group: str | None) -> frozenset[str]:
    """The attribute groups that a ``?group=`` names.

    ASSUMED: A request without a group means all groups; pypowervm sends the group None wherever
    it wants little, which makes sense only if nothing would mean more.
    """
    if group is None or group == '' or group == 'All':
        return frozenset(ALL_GROUPS)
    return frozenset(group.split(',')) - {'None'}


class Etags:
    """The etags of all documents; the caller takes care that one thread uses them at a time."""

    def __init__(self, nonce: int) -> None:
        """:param nonce: makes the etags of one start of the server differ from those of another"""
        self.nonce = nonce
        self._versions: dict[tuple[str, str], int] = {}
        self._groups_seen: set[str] = set()

    def current(self, uuid: str, group: str | None) -> str:
        """The etag of a document as read with a group.

        ASSUMED: A document that is posted unchanged keeps its etag: the recorded etags of processor
        pools numbered in a row are 1875530 apart each, as hash codes of their contents would be.

        ASSUMED: A change of the mappings leaves the etags of groups without them as they are.
        """
        normal = ','.join(sorted(groups_in(group))) if group != 'None' else 'None'
        self._groups_seen.add(normal)
        return self._etag(uuid, normal)

    def _group_of(self, uuid: str, etag: str) -> str | None:
        """The group that an etag is current for, though it may be asked about another."""
        return next((seen for seen in self._groups_seen if self._etag(uuid, seen) == etag), None)

    def check(self, rules: Rules, uuid: str, group: str | None, etag: str | None) -> None:
        """:raises Refused: kind stale"""
        rules.check('etag_given', etag is not None,
                    f'If-Match is missing: expected the etag of {uuid}.', 'stale')
        if etag is None or etag == self.current(uuid, group):
            return
        other = self._group_of(uuid, etag)
        if other is not None:
            rules.check('etag_group', False, f'The etag {etag} is that of the group {other}, not '
                        f'of {group}.', 'stale')
        else:
            rules.check('etag_current', False, f'The etag {etag} is not current: {uuid} has '
                        'changed.', 'stale')

    def change(self, uuid: str, part: str) -> None:
        """Make the etags of a document's group new; '' stands for what is in every group."""
        self._versions[uuid, part] = self._versions.get((uuid, part), 0) + 1

    def _etag(self, uuid: str, normal: str) -> str:
        parts = [self._versions.get((uuid, part), 0) for part in ('', *normal.split(','))]
        number = zlib.crc32(repr((self.nonce, uuid, normal, parts)).encode())
        return str(number - 2**31)
