# SPDX-License-Identifier: Apache-2.0
"""A new mapping, once NovaLink's answer shows it: confirmed, or removed again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager

from oslo_log import log as logging

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import host
from powervm_fileio_connector import plans
from powervm_fileio_connector.conf import Settings
from powervm_fileio_connector.host.probe import Prober
from powervm_fileio_connector.mappings import REMEDY_CONFLICT
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.novalink import Client
from powervm_fileio_connector.plans import Plan

LOG = logging.getLogger(__name__)

Asking = Callable[[], AbstractContextManager[None]]


class Confirmation:
    """Checks once more what was attached. Safe to use from several threads."""

    def __init__(self, settings: Settings, prober: Prober, client: Client) -> None:
        self._settings = settings
        self._prober = prober
        self._client = client

    def confirm(self, plan: Plan, record: MappingRecord,
                asking: Asking = contextlib.nullcontext) -> None:
        """Check that a mapping that was just made is of the file that was planned, and its alone.

        If it is not, it is removed again. One that was there before is left as it is.

        :param asking: makes a context in which the share is asked
        :raises UnsafeVolumePath: another file, or another mount, is there; nothing is mapped
        :raises VolumeFileNotFound: the file is gone; nothing is mapped
        :raises VolumeInUse: another LPAR got the file by another of its names; nothing is mapped
        """
        if not record.is_new:
            return
        assert plan.file is not None
        try:
            self.recheck(plan, asking)
            if plan.file.may_have_other_names:
                self._require_unshared(plan, plan.file, record, asking)
        except exceptions.FileIOConnectorError as err:
            self.roll_back(plan, err)
            raise

    def recheck(self, plan: Plan, asking: Asking = contextlib.nullcontext) -> None:
        """Check that the path of a plan to attach still leads to the file that was checked.

        NovaLink takes a path, and the edits of others may have taken a while. A share that does
        not answer now says nothing, which is no error.

        :param asking: makes a context in which the share is asked
        :raises UnsafeVolumePath: another file, or another mount, is there
        :raises VolumeFileNotFound: the file is gone
        """
        assert plan.file is not None
        try:
            with asking(), plan.deadlines.probing(is_last=True) as probes:
                host.recheck(plan.file, self._settings, prober=self._prober, deadline=probes)
        except (exceptions.UnsafeVolumePath, exceptions.VolumeFileNotFound):
            raise
        except exceptions.FileIOConnectorError as err:
            LOG.warning('%s could not be checked again: %s', plan.file.path, err)

    def roll_back(self, plan: Plan, error: exceptions.FileIOConnectorError) -> None:
        """Remove what was mapped; where that fails, the error that it is for says so."""
        assert isinstance(plan.edit, AddMapping)
        removal = RemoveMapping(plan.spec.lpar_uuid, paths=plan.edit.paths)
        try:
            self._client.committer(plan.partition.uuid).submit(removal, plan.deadlines.requests)
        except exceptions.FileIOConnectorError as err:
            error.note_left_mapped(plan.edit.path, err)

    def _require_unshared(self, plan: Plan, file: host.VolumeFile, record: MappingRecord,
                          asking: Asking) -> None:
        """Check that no other LPAR got the file, or its data, by another of its names meanwhile.

        Edits of two names know nothing of each other.

        :raises VolumeInUse: one did
        """
        try:
            table = self._client.committer(plan.partition.uuid).read_table(plan.deadlines.requests)
            with asking():
                names = plans.mapped_names(table, file, self._prober, plan.deadlines,
                                           is_last=True)
        except exceptions.FileIOConnectorError as err:
            LOG.warning('Whether others have %s by another name is not known: %s', file.path, err)
            return
        reasons = dict(names.conflicts)
        for other in (entry.record for entry in table.of_paths([
                *([] if plan.spec.multiattach else names.same), *reasons])):
            why = reasons.get(other.path or '')
            if not other.is_orphan and (why is not None or other.lpar_id != record.lpar_id):
                raise exceptions.VolumeInUse(
                    reason=f'{other.path}, which {why or "is the same file"}, was mapped to '
                    f'{other.client} meanwhile', path=file.path, slot=other.slot,
                    lpar=other.lpar_uuid or other.lpar_id,
                    **{} if why is None else {'remedy': REMEDY_CONFLICT})
