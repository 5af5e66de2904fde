# SPDX-License-Identifier: Apache-2.0
"""Attaching and detaching: planned first, then carried out. The order of the steps is here alone.

A plan holds all that was decided about a volume. To attach one, the management partition is asked
for, the file is found and checked, and the edit that adds its mapping is made; carrying that out
sends the edit, and checks once more that the path still leads to the same file. To detach one, all
that may tell its mapping is gathered, which needs neither the share nor the file.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import operator
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from oslo_log import log as logging

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import host
from powervm_fileio_connector import plans
from powervm_fileio_connector.conf import Settings
from powervm_fileio_connector.confirmation import Confirmation
from powervm_fileio_connector.deadline import CallDeadlines
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host.probe import Prober
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.mappings import MappingTable
from powervm_fileio_connector.mappings import Outcome
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.mappings import in_order
from powervm_fileio_connector.novalink import Client
from powervm_fileio_connector.plans import Plan
from powervm_fileio_connector.plans import Preview
from powervm_fileio_connector.volume import DeviceInfo
from powervm_fileio_connector.volume import VolumeSpec

LOG = logging.getLogger(__name__)

_MOST_PROBES = 16       # of files that were attached together

Result = DeviceInfo | tuple[MappingRecord, ...]
Find = Callable[[VolumeSpec, CallDeadlines, int], host.VolumeFile]


class Attachments:
    """Attaches volumes to LPARs and detaches them. Safe to use from several threads.

    :param prober: for probes of shares
    :param client: the session with NovaLink
    :param attempts: how often a file that may yet appear is looked for
    """

    def __init__(self, settings: Settings, prober: Prober, client: Client,
                 attempts: int = 1) -> None:
        self.settings = settings
        self.prober = prober
        self.client = client
        self.confirmation = Confirmation(settings, prober, client)
        self._attempts = attempts

    def deadlines(self) -> CallDeadlines:
        """Return the time that one call may take, counted from now."""
        return CallDeadlines(self.settings.rest_timeout_s, self.settings.probe_timeout_s)

    def find(self, spec: VolumeSpec, deadlines: CallDeadlines | None = None,
             attempts: int | None = None) -> host.VolumeFile:
        """Find a volume's file and check it; NovaLink is asked where it may have other names."""
        deadlines = deadlines or self.deadlines()
        with deadlines.probing() as probes:
            file = host.find(spec, self.settings, prober=self.prober, deadline=probes,
                             attempts=self._attempts if attempts is None else attempts)
        return self.with_mapped_names(file, deadlines)

    def with_mapped_names(self, file: host.VolumeFile,
                          deadlines: CallDeadlines | None = None) -> host.VolumeFile:
        """Add the names of a file by which it is mapped, and that the mount table does not tell."""
        if not file.may_have_other_names:
            return file
        deadlines = deadlines or self.deadlines()
        partition = self.client.management_partition(deadlines.requests)
        table = self.client.committer(partition.uuid).read_table(deadlines.requests)
        names = plans.mapped_names(table, file, self.prober, deadlines)
        return dataclasses.replace(
            file, conflicts=file.conflicts + names.conflicts,
            spellings=tuple(dict.fromkeys((*file.spellings, *names.same))))

    def plan_attach(self, spec: VolumeSpec) -> Plan:
        """Decide how a volume is to be attached; nothing is sent that changes anything.

        :raises FileIOConnectorError: it cannot be attached, whatever NovaLink says
        """
        deadlines = self.deadlines()
        with plans.error_context(plans.ATTACH, spec):
            # Before any probe of a share: this may be the wrong host for it.
            partition = self.client.management_partition(deadlines.requests)
            file = self.find(spec, deadlines)
            if self.client.checks_host:
                with deadlines.probing() as probes:
                    host.require_same_namespace(file, prober=self.prober, deadline=probes)
        return Plan(spec, partition, plans.addition(spec, file, self.settings), deadlines, file)

    def plan_detach(self, spec: VolumeSpec, info: DeviceInfo | None = None,
                    removal: RemoveMapping | None = None) -> Plan:
        """Decide which mappings are a volume's; nothing is sent that changes anything.

        :param info: what was observed when it was attached, which counts more than ``spec``
        :param removal: what :meth:`removal` returned before, for any LPAR
        :raises InvalidConnectionProperties: nothing tells which volume is meant
        """
        info = DeviceInfo() if info is None else info
        spec = dataclasses.replace(spec, lpar_uuid=info.lpar_uuid or spec.lpar_uuid,
                                   volume_id=info.volume_id or spec.volume_id)
        deadlines = self.deadlines()
        with plans.error_context(plans.DETACH, spec):
            partition = self.client.management_partition(deadlines.requests)
            edit = removal or self.removal(spec, info, deadlines)
        # By a path or UDID that was observed, the mapping is found or gone.
        is_known = info.path is not None or info.udid is not None or not edit.paths
        edit = dataclasses.replace(edit, lpar_uuid=spec.lpar_uuid,
                                   elsewhere=None if is_known else host.probed_paths())
        return Plan(spec, partition, edit, deadlines)

    def preview(self, plan: Plan, is_lpar_absent: bool = False) -> Preview:
        """Tell what carrying out a plan would change now; sends and raises nothing.

        :param is_lpar_absent: the LPAR is not on this host yet, and is not asked for
        """
        [shown] = self.preview_all([plan], is_lpar_absent)
        return shown

    def preview_all(self, given: Sequence[Plan], is_lpar_absent: bool = False) -> list[Preview]:
        """Tell of each of several plans what :meth:`carry_out_all` would change now."""
        previews: dict[int, Preview] = {}
        table, touched = None, frozenset[str]()
        for plan in in_order(given):
            try:
                with plans.error_context(plan.doing, plan.spec):
                    # An edit of the same volume would wait for the answer to the one before it.
                    if table is None or not touched.isdisjoint(plan.edit.keys):
                        table, touched = self.client.committer(plan.partition.uuid).read_table(
                            plan.deadlines.requests), frozenset()
                    touched |= plan.edit.keys
                    if is_lpar_absent:
                        table.lpar_ids[plan.spec.lpar_uuid.upper()] = None
                    previews[id(plan)] = self._try_out(plan, table)
            except exceptions.FileIOConnectorError as err:
                previews[id(plan)] = Preview(error=err)
        return [previews[id(plan)] for plan in given]

    def carry_out(self, plan: Plan) -> Any:
        """Send a plan's edit, and return once NovaLink's answer shows it.

        Safe to repeat. A mapping that was made otherwise than asked, or of a file that was
        replaced meanwhile, is removed again.

        :returns: for attaching a ``DeviceInfo``; for detaching the mappings that were removed, none
            where there was none
        """
        [result] = self.carry_out_all([plan])
        if isinstance(result, exceptions.FileIOConnectorError):
            raise result
        return result

    def carry_out_all(
            self, given: Sequence[Plan]) -> list[Result | exceptions.FileIOConnectorError]:
        """Carry out several plans in as few requests as there can be.

        :returns: for each plan what :meth:`carry_out` returns, or the error that it raises
        """
        if not given:
            return []
        latest = max((plan.deadlines.requests for plan in given), key=operator.attrgetter('end'))
        pairs = self._submit(given, latest)
        if len(pairs) == 1:
            return [self._finish(*pairs[0])]
        with concurrent.futures.ThreadPoolExecutor(min(len(pairs), _MOST_PROBES)) as pool:
            return list(pool.map(lambda pair: self._finish(*pair), pairs))

    def extend(self, spec: VolumeSpec) -> int:
        """Have NovaLink find out the size of a volume's file. Safe to repeat.

        :returns: the size in bytes that the file has now
        :raises ExtendFailed: the volume is not attached, has become smaller, or is served in a way
            (``user:qcow``) that NovaLink cannot rescan
        """
        deadlines = self.deadlines()
        with plans.error_context(plans.EXTEND, spec):
            partition = self.client.management_partition(deadlines.requests)
            file = self.find(host.unbound(spec), deadlines)
            committer = self.client.committer(partition.uuid)
            record = committer.find(spec.lpar_uuid, file.spellings, spec.volume_id,
                                    deadlines.requests)
            udid = plans.extensible_udid(spec, file, record)
            self.client.rescan(partition.uuid, udid, deadlines.requests)
            # The rescan has changed the document.
            committer.forget()
        LOG.info('Volume %(volume)s of LPAR %(lpar)s now has %(size)d bytes.',
                 {'volume': spec.label, 'lpar': spec.lpar_uuid, 'size': file.size})
        return file.size

    def removal(self, spec: VolumeSpec, info: DeviceInfo, deadlines: CallDeadlines | None = None,
                find: Find | None = None) -> RemoveMapping:
        """Return the edit that detaches a volume; see :func:`plans.removal`.

        :param find: finds the file, in place of :meth:`find`, where it has to be looked for
        """
        deadlines = deadlines or self.deadlines()

        def resolve(paths: tuple[str, ...]) -> tuple[str, ...]:
            with deadlines.probing(is_last=True) as probes:
                return host.resolved_paths(paths, prober=self.prober, deadline=probes)

        return plans.removal(spec, info, self.settings, resolve=resolve,
                             find=lambda: (find or self.find)(spec, deadlines, 1))

    def _submit(self, given: Sequence[Plan], deadline: Deadline) -> list[tuple[Plan, Any]]:
        """Send the edits of plans; return each plan, as it was sent last, with the answer."""
        answers = self.client.committer(given[0].partition.uuid).submit_all(
            [plan.edit for plan in given], deadline)
        pairs, cleared = [], {}
        for place, (plan, answer) in enumerate(zip(given, answers, strict=True)):
            other, answer = self._cleared(plan, answer)
            pairs.append((plan, answer))
            if other is not None:
                cleared[place] = other
        if cleared:
            again = self._submit(list(cleared.values()), deadline)
            for place, pair in zip(cleared, again, strict=True):
                pairs[place] = pair
        return pairs

    def _cleared(self, plan: Plan, answer: Any) -> tuple[Plan | None, Any]:
        """Return :func:`plans.without_doubt`, and the answer, or why that cannot be told."""
        try:
            with plans.error_context(plan.doing, plan.spec):
                return plans.without_doubt(plan, answer, self.settings, self.prober), answer
        except exceptions.FileIOConnectorError as err:
            return None, err

    def _try_out(self, plan: Plan, table: MappingTable) -> Preview:
        """Apply a plan to a table that is not sent."""
        before = dict.fromkeys(table.entries())
        try:
            change = self.client.committer(plan.partition.uuid).apply(
                plan.edit, table, plan.deadlines.requests)
        except exceptions.FileIOConnectorError as err:
            cleared = plans.without_doubt(plan, err, self.settings, self.prober)
            if cleared is None:
                raise
            return self._try_out(cleared, table)
        if change.outcome is Outcome.UNCHANGED:
            return Preview(unchanged=change.records)
        after = dict.fromkeys(table.entries())
        return Preview(added=tuple(entry.record for entry in after if entry not in before),
                       removed=tuple(entry.record for entry in before if entry not in after))

    def _finish(self, plan: Plan, answer: Any) -> Any:
        """Return the result of a plan whose edit was sent, or the error."""
        try:
            with plans.error_context(plan.doing, plan.spec):
                if isinstance(answer, exceptions.FileIOConnectorError):
                    # NovaLink made it otherwise than was asked for.
                    if answer.kwargs.get('is_left_mapped'):
                        self.confirmation.roll_back(plan, answer)
                    raise answer
                if plan.file is None:
                    return self._detached(plan, answer)
                return self._attached(plan, answer)
        except exceptions.FileIOConnectorError as err:
            return err

    def _attached(self, plan: Plan, record: MappingRecord) -> DeviceInfo:
        self.confirmation.confirm(plan, record)
        spec = plan.spec
        LOG.info('Volume %(volume)s (%(path)s) is attached to LPAR %(lpar)s in slot %(slot)s as '
                 '%(lua)s.', {'volume': spec.label, 'path': record.path, 'lpar': spec.lpar_uuid,
                              'slot': record.slot, 'lua': record.lua})
        return plans.device_info(spec, plan.partition.uuid, record)

    def _detached(self, plan: Plan,
                  removed: tuple[MappingRecord, ...]) -> tuple[MappingRecord, ...]:
        LOG.info('Volume %(volume)s is detached from LPAR %(lpar)s (%(what)s).',
                 {'volume': plan.spec.label, 'lpar': plan.spec.lpar_uuid,
                  'what': ', '.join(record.path or '' for record in removed)
                  or 'it was not attached'})
        return removed
