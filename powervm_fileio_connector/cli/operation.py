# SPDX-License-Identifier: Apache-2.0
"""What is done to volumes, one or a list: planned, previewed or carried out, and shown."""

from __future__ import annotations

import abc
import argparse
import contextlib
import dataclasses
from typing import Any

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import mappings
from powervm_fileio_connector import plans
from powervm_fileio_connector.cli import conflicts
from powervm_fileio_connector.cli import output
from powervm_fileio_connector.cli import parallel
from powervm_fileio_connector.cli import volume_arguments
from powervm_fileio_connector.cli import volumes
from powervm_fileio_connector.cli.context import CommandContext
from powervm_fileio_connector.cli.context import doing
from powervm_fileio_connector.cli.errors import UsageError
from powervm_fileio_connector.connection_properties import parse
from powervm_fileio_connector.volume import DeviceInfo

Row = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Planned:
    """A volume, completed by what the mappings tell of it, and the plan for it."""

    volume: volumes.Volume
    plan: Any


@dataclasses.dataclass(frozen=True)
class Done:
    """A volume that the operation succeeded on, and the result, or the rows of a preview."""

    volume: volumes.Volume
    value: Any


class VolumeOperation(abc.ABC):
    """Something that is done to one volume or to a list of them."""

    title: str
    done: str
    more_keys: tuple[str, ...] = ('path',)
    in_table: tuple[str, ...] = ('volume', 'lpar', 'result')
    preview_keys: tuple[str, ...] = ('volume', 'edit', 'lpar', 'lpar_uuid', 'slot', 'lua', 'path',
                                     'backstore', 'tag', 'error_type', 'error')
    preview_in_table: tuple[str, ...] = ('edit', 'lpar', 'slot', 'lua', 'backstore', 'path')
    preview_in_list: tuple[str, ...] = ('volume', 'edit', 'lpar', 'slot', 'lua', 'path')

    def __init__(self, command: output.Table, args: argparse.Namespace) -> None:
        self.args = args
        self.host = CommandContext(args)
        self.is_list = False
        self._command = command

    @abc.abstractmethod
    def plan(self, volume: volumes.Volume) -> Any:
        """Decide everything about one completed volume; nothing is changed."""

    def carry_out_all(self, given: list[Planned]) -> list[Any]:
        """Carry plans out together, and return for each its result or its error."""
        return self.host.attachments.carry_out_all([one.plan for one in given])

    def prepare(self, given: list[volumes.Volume]) -> None:
        """Refuse a list that cannot be meant as it is, or find out what all of it needs."""
        return

    def completed(self, volume: volumes.Volume) -> volumes.Volume:
        """Complete what the user said about one volume: with the UUID of its LPAR, first."""
        # In a list, each entry has its own by now.
        return volume.resolved(self.host, None if self.is_list else self.args.lpar)

    def more(self, value: Any) -> tuple[Any, ...]:
        """The values of the keys that this operation has beyond the common ones."""
        return (None,) * len(self.more_keys)

    def said(self, value: Any) -> str:
        """How the result is called if nothing failed."""
        return self.done

    def one(self, done: Done) -> output.Output:
        """What is shown for a single volume."""
        return self.keys, self._row(done.volume, self.said(done.value), self.more(done.value))

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the result for a volume."""
        return ('volume', 'lpar', 'lpar_uuid', 'result', *self.more_keys, 'error_type', 'error')

    @property
    def keys_of_one(self) -> tuple[str, ...]:
        """The keys of the result for a single volume."""
        return self.keys

    def run(self) -> output.Output:
        """Do it, or show what it would do, and return what is to be shown."""
        given, self.is_list = volume_arguments.given(self.args)
        output.require_keys(self.preview_keys if self.args.dry_run else
                            self.keys if self.is_list else self.keys_of_one, self.args)
        self._require_lpars(given)
        self.prepare(given)
        # Asked for once, not by each thread.
        _ = self.host.partition, self.host.lpars
        results = parallel.run_all(given, self._planned, self._carried_out,
                                   self._command.app.stderr, self.title)
        self._command.exit_code = results.exit_code
        if not self.args.dry_run:
            self._command.was_done = self._counts(results)
        if results.is_interrupted:
            self._command.say(f'Interrupted: {self._counts(results)}. Run the same command again '
                              'to continue.')
        if not self.is_list:
            [result] = results.each
            if result.state is parallel.State.DONE and not self.args.dry_run:
                self._command.is_one = True
                return self.one(result.value)
            if result.error is not None and not results.is_interrupted:
                raise result.error
        for result in results.each:
            if result.error is not None:
                self._command.say(_naming(result.volume, result.error))
                self._command.app.LOG.debug('Volume %s:', result.volume.label,
                                            exc_info=result.error)
        if self.args.dry_run:
            return self._previews(results)
        self._command.in_table = self.in_table
        return self.keys, [self._result_row(result) for result in results.each]

    def preview_all(self, given: list[Planned]) -> list[Any]:
        """Return for each plan the edit that carrying it out would send now, or the error.

        :returns: rows without what all previews have: the volume, and an error
        """
        shown = self.host.attachments.preview_all([one.plan for one in given])
        return [self._edit(one.plan, preview) for one, preview in zip(given, shown, strict=True)]

    def _edit(self, plan: plans.Plan, shown: plans.Preview) -> Any:
        if shown.error is not None:
            return shown.error
        lpar_uuid = plan.spec.lpar_uuid
        if not (shown.removed or shown.added):
            return ([self._preview_row('none', lpar_uuid, record) for record in shown.unchanged]
                    or [self._preview_row('none', lpar_uuid, mappings.MappingRecord())])
        try:
            with plans.error_context(plan.doing, plan.spec):
                # Whether it would refuse a removal as well, nothing tells.
                if shown.added:
                    self.host.require_ready(lpar_uuid)
        except exceptions.LPARNotReady as err:
            return err
        return ([self._preview_row('remove', self.host.lpar_of(record), record)
                 for record in shown.removed]
                + [self._preview_row('add', lpar_uuid, record) for record in shown.added])

    def _preview_row(self, edit: str, lpar_uuid: str | None,
                     record: mappings.MappingRecord) -> Row:
        lpar_uuid = record.lpar_uuid or lpar_uuid
        return (edit, self.host.lpar_shown(lpar_uuid), lpar_uuid, record.slot, record.lua,
                record.path, record.backstore, record.tag)

    def _require_lpars(self, given: list[volumes.Volume]) -> None:
        """Find all usage errors before anything is sent.

        :raises UsageError: the LPAR of a volume is ambiguous, or contradicts itself
        """
        for volume in given:
            # An LPAR that there is not fails its own volume only.
            with contextlib.suppress(exceptions.LPARNotFound):
                VolumeOperation.completed(self, volume)

    def _planned(self, volume: volumes.Volume) -> Planned:
        with self.host.naming_lpars():
            volume = self.completed(volume)
            return Planned(volume, self.plan(volume))

    def _carried_out(self, given: list[Planned]) -> list[Any]:
        act = self.preview_all if self.args.dry_run else self.carry_out_all
        return [self.host.name_lpars(value) if isinstance(value, exceptions.FileIOConnectorError)
                else Done(planned.volume, value)
                for planned, value in zip(given, act(given), strict=True)]

    def _previews(self, results: parallel.Results) -> output.Output:
        rows: list[Row] = []
        self._command.in_table = self.preview_in_list if self.is_list else self.preview_in_table
        for result in results.each:
            if result.state is parallel.State.DONE:
                rows += [(result.volume.label, *row, None, None) for row in result.value.value]
                continue
            known = self._known(result.volume, result.error)
            if result.error is not None:
                self._command.in_table = (*self.preview_in_list, 'error_type')
            else:
                known['edit'] = result.state.value
            rows.append(tuple(known.get(key) for key in self.preview_keys))
        return self.preview_keys, rows

    def _result_row(self, result: parallel.Result) -> tuple[Any, ...]:
        if result.state is parallel.State.DONE:
            done = result.value
            return self._row(done.volume, self.said(done.value), self.more(done.value))
        said = 'failed' if result.error is not None else result.state.value
        return self._row(result.volume, said, (None,) * len(self.more_keys), result.error)

    def _row(self, volume: volumes.Volume, said: str, more: tuple[Any, ...],
             error: BaseException | None = None) -> tuple[Any, ...]:
        known = self._known(volume, error)
        known['result'] = output.Outcome(said, known['error_type'])
        known.update(zip(self.more_keys, more, strict=True))
        return tuple(known[key] for key in self.keys)

    def _known(self, volume: volumes.Volume, error: BaseException | None) -> dict[str, Any]:
        """The values of the keys that all results have."""
        lpar = volume.lpar_uuid or volume.lpar or self.args.lpar
        return {'volume': volume.label, 'lpar': self.host.lpar_shown(lpar),
                'lpar_uuid': self.host.uuid_shown(lpar),
                'error_type': None if error is None else type(error).__name__,
                'error': None if error is None else str(error)}

    def _counts(self, results: parallel.Results) -> str:
        """Return how many volumes had which result."""
        done = 'previewed' if self.args.dry_run else self.done
        counts = [(sum(result.state is state for result in results.each), said) for state, said in (
            (parallel.State.DONE, done), (parallel.State.FAILED, 'failed'),
            (parallel.State.NOT_TRIED, 'not tried'),
            (parallel.State.UNKNOWN, 'still under way, so nothing is known of them'))]
        return ', '.join(f'{count} {said}' for count, said in counts if count)


class Attaching(VolumeOperation):
    """Give volumes to LPARs."""

    title = 'Attaching'
    done = 'attached'
    more_keys = ('slot', 'lua', 'path')
    in_table = ('volume', 'lpar', 'result', 'slot', 'lua')

    def prepare(self, given: list[volumes.Volume]) -> None:
        """Refuse a list in which something is missing, or that contradicts itself.

        :raises UsageError: only the id of a volume is known, one names no LPAR, or one is given for
            several LPARs without multiattach
        """
        for volume in given:
            if volume.is_id_only:
                raise UsageError(f'{volume.label} is an id, which does not tell where the file is. '
                                 'Give the connection_info, the path, or export and name.')
            if volume.lpar is None and self.args.lpar is None:
                raise UsageError(
                    'Which LPAR? Give --lpar with its name, id or UUID.' if len(given) == 1
                    else f'Volume {volume.label} names no LPAR; give --lpar, or "lpar" in its '
                    'entry.')
        if self.is_list:
            conflicts.require_one_lpar_each(self.host, given)

    def plan(self, volume: volumes.Volume) -> plans.Plan:
        lpar = volume.lpar_uuid
        with doing(f'attach volume {volume.label} to LPAR {lpar}', volume=volume.label, lpar=lpar):
            spec = parse(volume.keys, default_backstore=self.host.settings.backstore)
        return self.host.attachments.plan_attach(spec)

    def more(self, value: DeviceInfo) -> tuple[Any, ...]:
        return value.slot, value.lua, value.path

    def said(self, value: DeviceInfo) -> str:
        return self.done if value.is_new else 'already attached'

    @property
    def keys_of_one(self) -> tuple[str, ...]:
        """Those of a device_info."""
        return tuple(DeviceInfo().to_dict())

    def one(self, done: Done) -> output.Output:
        """Return the device_info; the table says beside it whether it is new."""
        info = done.value.to_dict()
        self._command.also = (('result', self.said(done.value)),
                              ('lpar', self.host.lpar_shown(done.value.lpar_uuid)))
        return tuple(info), tuple(info.values())


def _naming(volume: volumes.Volume, error: BaseException) -> str:
    """The text of an error, with the volume's name; what comes before parsing has none."""
    text = str(error)
    return text if volume.label in text else f'Volume {volume.label}: {text}'
