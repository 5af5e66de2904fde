# SPDX-License-Identifier: Apache-2.0
"""Attaching and detaching one instance's volumes: at once, or in a FeedTask that others run."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from nova import utils as nova_utils
from os_brick.privileged import rootwrap
from oslo_log import log as logging

from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector import host
from powervm_fileio_connector import novalink
from powervm_fileio_connector import plans
from powervm_fileio_connector.attachments import Attachments
from powervm_fileio_connector.connection_properties import parse
from powervm_fileio_connector.connection_properties import parse_leniently
from powervm_fileio_connector.host.probe import Prober
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import Edit
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.nova import migration
from powervm_fileio_connector.nova import operations
from powervm_fileio_connector.nova import slots
from powervm_fileio_connector.nova.feeds import LPARFeed
from powervm_fileio_connector.novalink.feed_task import add_to_feed_task
from powervm_fileio_connector.plans import Plan
from powervm_fileio_connector.volume import DeviceInfo
from powervm_fileio_connector.volume import VolumeSpec

LOG = logging.getLogger(__name__)

AsNova = Callable[[], AbstractContextManager[None]]
Keep = Callable[[DeviceInfo, str], None]
"""Keeps what was observed of a mapping, and the path that NovaLink was told."""


class InstanceVolumes:
    """Attaches one instance's volumes, in the slots that its slot map names.

    :param lpar_uuid: the instance's LPAR
    :param issued: UDIDs that NovaLink has issued for the volume's disk, as far as Nova keeps them
    """

    def __init__(self, adapter: Any, lpar_uuid: str, issued: Sequence[str]) -> None:
        self.lpar_uuid = lpar_uuid
        self.issued = issued
        self.settings = conf.read()
        self.client = novalink.client_for(self.settings, adapter)
        prober = Prober(self.settings.probe_timeout_s, execute=rootwrap.execute,
                        root_helper=nova_utils.get_root_helper())
        self.attachments = Attachments(self.settings, prober, self.client)

    @property
    def partition(self) -> novalink.ManagementPartition:
        """The management partition.

        :raises NovaLinkNotIOServer: it is an ordinary LPAR, which cannot serve files
        """
        return self.client.management_partition(self._deadlines().requests)

    def attach(self, connection_info: Any, slot_mgr: Any, keep: Keep) -> None:
        """Attach a volume now.

        :param keep: is given what to keep of it, once it is attached
        """
        plan = self._plan(connection_info, slot_mgr)
        info = self.attachments.carry_out(plan)
        self._attached(plan, slot_mgr, keep, info)

    def attach_later(self, connection_info: Any, slot_mgr: Any, keep: Keep, feed_task: Any,
                     as_nova: AsNova) -> None:
        """Have a volume attached by the FeedTask; nothing is sent from here."""
        plan = self._plan(connection_info, slot_mgr)
        # Nobody could explain it afterwards: what the server answers is not ours to see.
        self.client.lpar(self.lpar_uuid, plan.deadlines.requests).require_ready()
        before = slots.standing(slot_mgr, slots.udids_of(plan.edit.paths, *self.issued))
        # nova-powervm saves what Nova keeps of the volume before the task runs, not after it.
        keep(DeviceInfo(path=plan.edit.paths[0], volume_id=plan.spec.volume_id,
                        lpar_uuid=self.lpar_uuid, vios_uuid=plan.partition.uuid,
                        backstore=plan.spec.backstore), plan.edit.paths[0])

        def asking() -> AbstractContextManager[None]:
            return operations.noting_silence(plan.spec, slot_mgr, is_asked_once=True)

        def report(record: MappingRecord) -> None:
            self.attachments.confirmation.confirm(self._from_now(plan), record, asking)
            info = plans.device_info(plan.spec, plan.partition.uuid, record)
            self._prune(slot_mgr, feed_task)
            self._attached(plan, slot_mgr, keep, info)
            slots.save_new_udid(slot_mgr, record, before)

        self._defer(plan, feed_task, as_nova, report,
                    before=lambda: self.attachments.confirmation.recheck(
                        self._from_now(plan), asking))

    def detach(self, connection_info: Any, info: DeviceInfo, slot_mgr: Any) -> None:
        """Detach a volume now; one that is gone is success."""
        plan = self._plan_detach(connection_info, info, slot_mgr)
        if plan is not None:
            self._detached(plan, slot_mgr, self.attachments.carry_out(plan))

    def detach_later(self, connection_info: Any, info: DeviceInfo, slot_mgr: Any, feed_task: Any,
                     as_nova: AsNova) -> None:
        """Have a volume detached by the FeedTask; nothing is sent from here."""
        if info.path is None and info.udid is None:
            info = self._mapped(connection_info, feed_task)
        plan = self._plan_detach(connection_info, info, slot_mgr)
        if plan is not None:
            self._defer(plan, feed_task, as_nova,
                        lambda removed: self._detached(plan, slot_mgr, removed))

    def extend(self, connection_info: Any) -> int:
        """Return the size that the instance sees now, in bytes."""
        return self.attachments.extend(self._parse(connection_info))

    def udid(self, connection_info: Any) -> str:
        """Return the UDID of a volume's disk: as NovaLink issued it, or else as it will.

        :raises FileIOConnectorError: the file is not there, or may not be attached
        """
        _, found = self._found(connection_info)
        return slots.udids_of([found.path], *self.issued)[0]

    def identity(self, connection_info: Any) -> migration.FileIdentity:
        """Say which file an attached volume is, for the host it is going to be on."""
        spec, found = self._found(connection_info)
        record = self.client.committer(self.partition.uuid).find(
            self.lpar_uuid, found.spellings, spec.volume_id, self._deadlines().requests)
        return migration.FileIdentity.of(found, record.udid if record else None)

    def check_receivable(self, connection_info: Any, source: migration.FileIdentity | None) -> None:
        """Check that an LPAR that is going to be here could have its volume; changes nothing.

        :param source: which file it is at the source; None: the source did not say
        :raises UnsafeVolumePath: it is another file here
        :raises VolumeInUse: another LPAR has it here
        :raises FileIOConnectorError: it cannot be found, or may not be attached
        """
        spec, found = self._found(connection_info)
        reason = source and migration.difference(
            source, migration.FileIdentity.of(found), found.spellings)
        if reason:
            raise exceptions.UnsafeVolumePath(
                reason=reason, path=found.path, volume=spec.label,
                remedy='Mount the same share at the same place on both hosts, then retry.')
        plan = Plan(spec, self.partition, plans.addition(spec, found, self.settings),
                    self._deadlines(), found)
        # The LPAR is not here yet, so no mapping that names only an id can be its own.
        error = self.attachments.preview(plan, is_lpar_absent=True).error
        if error is not None:
            raise error

    def _deadlines(self) -> Any:
        return self.attachments.deadlines()

    def _parse(self, connection_info: Any) -> VolumeSpec:
        return parse(connection_info, lpar_uuid=self.lpar_uuid,
                     default_backstore=self.settings.backstore)

    def _found(self, connection_info: Any) -> tuple[VolumeSpec, host.VolumeFile]:
        spec = self._parse(connection_info)
        # Before any probe of a share: this may be the wrong host for it.
        self.partition  # noqa: B018
        return spec, self.attachments.find(spec)

    def _plan(self, connection_info: Any, slot_mgr: Any) -> Plan:
        spec = self._parse(connection_info)
        with operations.noting_silence(spec, slot_mgr):
            plan = self.attachments.plan_attach(spec)
        edit = plan.edit
        assert isinstance(edit, AddMapping)
        if plan.spec.slot is None and plan.spec.lua is None:
            slot, lua = slots.find(
                slot_mgr, plan.partition, slots.udids_of(edit.paths, *self.issued))
            if slot is None and slot_mgr.is_rebuild:
                LOG.warning('The slot map does not know volume %s (%s), so it gets any slot.',
                            plan.spec.label, edit.paths[0])
            edit = dataclasses.replace(edit, slot=slot, lua=lua)
        return dataclasses.replace(plan, edit=edit)

    def _plan_detach(self, connection_info: Any, info: DeviceInfo, slot_mgr: Any) -> Plan | None:
        """Plan a detach; None: nothing can be attached on this host."""
        spec = parse_leniently(connection_info, lpar_uuid=self.lpar_uuid)
        spec = dataclasses.replace(spec, volume_id=info.volume_id or spec.volume_id)
        operations.of(slot_mgr).detaches = True

        def find(spec: VolumeSpec, *args: Any) -> host.VolumeFile:
            with operations.noting_silence(spec, slot_mgr, is_asked_once=True):
                return self.attachments.find(spec, *args)

        try:
            # Before any probe of a share: this may be the wrong host for it.
            self.partition  # noqa: B018
            return self.attachments.plan_detach(
                spec, info, self.attachments.removal(spec, info, find=find))
        except exceptions.NovaLinkNotIOServer as err:
            LOG.info('Volume %s is not attached: %s', spec.label, err)
            slots.drop(slot_mgr, slots.udids_of(
                filter(None, [info.path, *host.candidate_paths(spec, self.settings)]),
                *self.issued))
            return None

    def _mapped(self, connection_info: Any, feed_task: Any) -> DeviceInfo:
        """Return where the feed shows the volume, which a silent share then need not tell."""
        spec = parse_leniently(connection_info, lpar_uuid=self.lpar_uuid)
        with contextlib.suppress(exceptions.FileIOConnectorError):
            record = self._feed(feed_task).find(host.candidate_paths(spec, self.settings),
                                                spec.volume_id, self._deadlines().requests)
            if record is not None:
                return DeviceInfo(path=record.path)
        return DeviceInfo()

    def _prune(self, slot_mgr: Any, feed_task: Any) -> None:
        """Drop files from the slot map that the LPAR does not have, as the answer shows.

        Volumes that were detached while the instance was shelved are still in it.
        """
        operation = operations.of(slot_mgr)
        if operation.is_pruned:
            return
        operation.is_pruned = True
        try:
            attached = self._feed(feed_task).attached(self._deadlines().requests)
        except exceptions.FileIOConnectorError as err:
            LOG.warning('The slot map may hold files that are not attached any more: %s', err)
            return
        if attached is not None:
            slots.drop_absent_files(slot_mgr, attached)

    def _feed(self, feed_task: Any) -> LPARFeed:
        return LPARFeed(feed_task, self.client.committer(self.partition.uuid), self.lpar_uuid)

    def _defer(self, plan: Plan, feed_task: Any, as_nova: AsNova, report: Callable[[Any], None],
               before: Callable[[], None] = lambda: None) -> None:
        add_to_feed_task(
            feed_task, plan.edit, self.client.committer(plan.partition.uuid),
            self.settings.rest_timeout_s, on_result=report, before_apply=before, context=as_nova,
            after_refusal=lambda edit, outcome: self._without_doubt(plan, edit, outcome))

    def _without_doubt(self, plan: Plan, edit: Edit, outcome: Any) -> Edit | None:
        """Return the edit that is to be sent instead; see :func:`plans.without_doubt`."""
        assert isinstance(edit, AddMapping | RemoveMapping)
        cleared = plans.without_doubt(
            dataclasses.replace(self._from_now(plan), edit=edit), outcome, self.settings,
            self.attachments.prober)
        return None if cleared is None else cleared.edit

    def _from_now(self, plan: Plan) -> Plan:
        """A plan whose time is counted from now, since a FeedTask may run much later."""
        return dataclasses.replace(plan, deadlines=self._deadlines())

    def _attached(self, plan: Plan, slot_mgr: Any, keep: Keep, info: DeviceInfo) -> None:
        record = MappingRecord(kind='file', path=info.path, slot=info.slot, lua=info.lua,
                               udid=info.udid)
        slots.register(slot_mgr, record, slots.udids_of(plan.edit.paths, *self.issued))
        keep(info, plan.edit.paths[0])

    def _detached(self, plan: Plan, slot_mgr: Any, removed: tuple[MappingRecord, ...]) -> None:
        assert isinstance(plan.edit, RemoveMapping)
        paths = [*plan.edit.paths, *plan.edit.spellings, *(one.path for one in removed if one.path)]
        udids = slots.udids_of(
            paths, *self.issued, plan.edit.udid, *(record.udid for record in removed))
        slots.drop(slot_mgr, udids)
        slots.note_detached(slot_mgr, [one for one in removed if not one.is_orphan], udids)
