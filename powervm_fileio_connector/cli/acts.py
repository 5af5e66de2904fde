# SPDX-License-Identifier: Apache-2.0
"""Attaching, detaching and extending: what the three have in common, and where they differ."""

from __future__ import annotations

import abc
import argparse
import functools
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import properties
from powervm_fileio_connector import volume_file
from powervm_fileio_connector.cli import crowd
from powervm_fileio_connector.cli import display
from powervm_fileio_connector.cli import many
from powervm_fileio_connector.cli import preview
from powervm_fileio_connector.cli import volumes
from powervm_fileio_connector.cli.errors import ExitCode
from powervm_fileio_connector.cli.errors import UsageError
from powervm_fileio_connector.cli.host import Host
from powervm_fileio_connector.mappings import MappingRecord

Output = tuple[Sequence[str], Iterable[Any]]


class Act(abc.ABC):
    """Something that is done to one volume or to a list of them."""

    title: str
    done: str
    columns: tuple[str, ...] = ('Volume', 'LPAR', 'Result')

    def __init__(self, command: display.Table, args: argparse.Namespace) -> None:
        self.args = args
        self.host = Host(args)
        self._command = command

    @abc.abstractmethod
    def act(self, volume: volumes.Volume) -> Any:
        """Do it to one volume."""

    def _act_in_company(self, volume: volumes.Volume) -> Any:
        with self.connector.company.member():
            return self.act(volume)

    def prepare(self, given: list[volumes.Volume]) -> list[volumes.Volume]:
        """Complete what the user said about the volumes."""
        return given

    def more(self, value: Any) -> tuple[Any, ...]:
        """The values of the columns that this act has beyond the common ones."""
        return (None,) * (len(self.columns) - 3)

    def said(self, volume: volumes.Volume) -> str:
        """What became of a volume if nothing failed."""
        return self.done

    def one(self, volume: volumes.Volume, value: Any) -> Output:
        """What is shown for a single volume."""
        return self.columns, (volume.label, self.host.lpar_shown(volume.lpar_uuid),
                              self.said(volume), *self.more(value))

    def carry_out(self) -> Output:
        """Do it, and return what is to be shown."""
        given, is_list = volumes.given(self.args, self.host)
        # Made once, not by each thread.
        _ = self.host.partition, self.connector
        given = self.prepare(given)
        if self.args.dry_run:
            return self._preview(given)
        results = many.each(given, self._act_in_company, self._command.app.stderr, self.title)
        self._command.exit_code = results.exit_code
        if results.is_interrupted:
            self._say_what_was_and_was_not(results)
        elif not is_list and len(results.each) == 1:
            [result] = results.each
            if result.error is not None:
                raise result.error
            self._command.is_one = True
            return self.one(result.volume, result.value)
        for result in results.each:
            if result.error is not None:
                self._command.say(_naming(result.volume, result.error))
                self._command.app.LOG.debug('Volume %s:', result.volume.label,
                                            exc_info=result.error)
        return self.columns, [self._row(result) for result in results.each]

    @functools.cached_property
    def connector(self) -> crowd.CrowdConnector:
        """One connector for all volumes: edits that wait together travel together."""
        return self.host.connector(crowd.CrowdConnector)

    @functools.cached_property
    def preview_connector(self) -> Any:
        """One that goes no further than the edit."""
        return self.host.connector(preview.PreviewConnector)

    def preview(self, volume: volumes.Volume) -> list[preview.Row]:
        """Return the edit that the act would send for one volume."""
        try:
            self._through(self.preview_connector, volume)
        except preview.NotSent as stopped:
            return stopped.rows
        raise AssertionError('a preview goes no further than the edit')

    def _through(self, connector: Any, volume: volumes.Volume) -> Any:
        raise NotImplementedError

    def _preview(self, given: list[volumes.Volume]) -> Output:
        rows: list[preview.Row] = []
        failed = []
        for volume in given:
            try:
                rows += self.preview(volume)
            except exceptions.FileIOConnectorError as err:
                if len(given) == 1:
                    raise
                failed.append(str(err))
        for text in failed:
            self._command.say(text)
        self._command.exit_code = ExitCode.PARTIAL if failed else ExitCode.OK
        return preview.COLUMNS, rows

    def _row(self, result: many.Result) -> tuple[Any, ...]:
        if result.state is many.State.DONE:
            said, more = self.said(result.volume), self.more(result.value)
        else:
            said = (f'failed: {type(result.error).__name__}' if result.error is not None
                    else result.state.value)
            more = (None,) * (len(self.columns) - 3)
        return (result.volume.label, self.host.lpar_shown(result.volume.lpar_uuid), said, *more)

    def _say_what_was_and_was_not(self, results: many.Results) -> None:
        counts = [(sum(result.state is state for result in results.each), said) for state, said in (
            (many.State.DONE, self.done), (many.State.FAILED, 'failed'),
            (many.State.NOT_TRIED, 'not tried'),
            (many.State.UNKNOWN, 'still under way, so nothing is known of them'))]
        self._command.say('Interrupted: ' + ', '.join(
            f'{count} {said}' for count, said in counts if count)
            + '. Each volume is either attached or not; the same command goes on from here.')


class Attaching(Act):
    """Give volumes to LPARs."""

    title = 'Attaching'
    done = 'attached'
    columns = (*Act.columns, 'Slot', 'LUA', 'Path')

    def prepare(self, given: list[volumes.Volume]) -> list[volumes.Volume]:
        """Refuse what does not say enough, before anything is changed.

        :raises UsageError: only the id of a volume is known
        """
        for volume in given:
            if volume.is_id_only:
                raise UsageError(f'{volume.label} is an id, which does not tell where the file is. '
                                 'Give the connection_info, the path, or export and name.')
        if len(given) > 1 and any(volume.lpar_uuid is None for volume in given):
            missing = next(volume for volume in given if volume.lpar_uuid is None)
            raise UsageError(f'Volume {missing.label} names no LPAR; give --lpar, or "lpar" in its '
                             'entry.')
        if given[0].lpar_uuid is None:
            raise UsageError('Which LPAR? Give --lpar with its name, id or UUID.')
        return given

    def act(self, volume: volumes.Volume) -> dict[str, Any]:
        """Return its device_info."""
        return self._through(self.connector, volume)

    def more(self, value: dict[str, Any]) -> tuple[Any, ...]:
        return value['slot'], value['lua'], value['path']

    def one(self, volume: volumes.Volume, value: dict[str, Any]) -> Output:
        return tuple(value), tuple(value.values())

    def _through(self, connector: Any, volume: volumes.Volume) -> Any:
        return connector.connect_volume(volume.keys)


class _OfWhoHasIt(Act):
    """An act on volumes that some LPAR has: the LPAR need not be named if there is only one."""

    def prepare(self, given: list[volumes.Volume]) -> list[volumes.Volume]:
        """Find out from the mappings which LPAR, and which file, is meant.

        :raises UsageError: several LPARs have a volume, and none was named
        """
        if all(volume.lpar_uuid and not volume.is_id_only for volume in given):
            return given
        records = self.host.records()
        return [self._completed(volume, records) for volume in given]

    def _completed(self, volume: volumes.Volume, records: list[MappingRecord]) -> volumes.Volume:
        found = [record for record in volumes.of(self.host, volume, records)
                 if record.lpar_uuid and not record.is_orphan
                 and volume.lpar_uuid in (None, record.lpar_uuid)]
        lpars = {record.lpar_uuid: self.host.lpar_name(record) for record in found}
        if len(lpars) > 1:
            raise UsageError(f'Volume {volume.label} is attached to LPARs '
                             + ' and '.join(sorted(lpars.values())) + '. Say which with --lpar.')
        if not found:
            return volume
        path = found[0].path if volume.is_id_only else None
        return volume.with_keys(lpar_uuid=found[0].lpar_uuid, path=path)


class Detaching(_OfWhoHasIt):
    """Take volumes off LPARs."""

    title = 'Detaching'
    done = 'detached'

    def act(self, volume: volumes.Volume) -> None:
        """Detach it."""
        self._through(self.connector, volume)

    def said(self, volume: volumes.Volume) -> str:
        return 'was not attached' if volume.lpar_uuid is None else self.done

    def preview(self, volume: volumes.Volume) -> list[preview.Row]:
        if volume.lpar_uuid is None:
            return [('none', None, None, None, volume.spec.path, None, volume.spec.volume_id)]
        return super().preview(volume)

    def _through(self, connector: Any, volume: volumes.Volume) -> Any:
        if volume.lpar_uuid is None:
            return        # no LPAR has it, as a fresh read showed
        connector.disconnect_volume(volume.keys, volume.device_info,
                                    force=self.args.force)


class Extending(_OfWhoHasIt):
    """Show LPARs the new size of volumes."""

    title = 'Extending'
    done = 'extended'
    columns = (*Act.columns, 'Bytes')

    def prepare(self, given: list[volumes.Volume]) -> list[volumes.Volume]:
        """Complete the volumes.

        :raises ExtendFailed: no LPAR has one of them
        """
        given = super().prepare(given)
        for volume in given:
            if volume.lpar_uuid is None:
                raise exceptions.ExtendFailed(
                    doing=f'extend volume {volume.label}', remedy='Attach it first.',
                    reason='it is not attached to any LPAR', volume=volume.label)
        return given

    def act(self, volume: volumes.Volume) -> int:
        """Return its size in bytes."""
        return self.connector.extend_volume(volume.keys)

    def more(self, value: int) -> tuple[Any, ...]:
        return (value,)

    def preview(self, volume: volumes.Volume) -> list[preview.Row]:
        """Return the sizes that the file has and that NovaLink knows of."""
        spec = properties.parse(volume.keys)
        found = volume_file.find(spec, self.host.settings, prober=self.host.prober)
        return [(volume.label, record.lpar_uuid, record.capacity_gb, found.size / 2**30)
                for record in volumes.of(self.host, volume, self.host.records())
                if record.lpar_uuid == (volume.lpar_uuid or '').upper()]

    def _preview(self, given: list[volumes.Volume]) -> Output:
        return (('Volume', 'LPAR', 'LPAR sees GB', 'File has GB'),
                [row for volume in given for row in self.preview(volume)])


def _naming(volume: volumes.Volume, error: BaseException) -> str:
    """The text of an error, with the volume's name; what comes before parsing has none."""
    text = str(error)
    return text if volume.label in text else f'Volume {volume.label}: {text}'
