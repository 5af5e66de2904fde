# SPDX-License-Identifier: Apache-2.0
"""Attaching, detaching and extending: what the three have in common, and where they differ."""

from __future__ import annotations

import abc
import argparse
import dataclasses
import functools
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import properties
from powervm_fileio_connector import volume_file
from powervm_fileio_connector.cli import crowd
from powervm_fileio_connector.cli import display
from powervm_fileio_connector.cli import holders
from powervm_fileio_connector.cli import inventory
from powervm_fileio_connector.cli import many
from powervm_fileio_connector.cli import preview
from powervm_fileio_connector.cli import volumes
from powervm_fileio_connector.cli.errors import ExitCode
from powervm_fileio_connector.cli.errors import NotAttached
from powervm_fileio_connector.cli.errors import UsageError
from powervm_fileio_connector.cli.host import Host
from powervm_fileio_connector.mappings import MappingRecord

Output = tuple[Sequence[str], Iterable[Any]]


@dataclasses.dataclass(frozen=True)
class Done:
    """A volume that the act succeeded on, as it was completed, and what the act returned."""

    volume: volumes.Volume
    value: Any


class Act(abc.ABC):
    """Something that is done to one volume or to a list of them."""

    title: str
    done: str
    columns: tuple[str, ...] = ('Volume', 'LPAR', 'Result')
    preview_columns: tuple[str, ...] = preview.COLUMNS

    def __init__(self, command: display.Table, args: argparse.Namespace) -> None:
        self.args = args
        self.host = Host(args)
        self._command = command

    @abc.abstractmethod
    def act(self, volume: volumes.Volume) -> Any:
        """Do it to one volume."""

    def refuse(self, given: list[volumes.Volume]) -> None:
        """Refuse a list that cannot be meant as it is, before anything is asked or changed."""
        return

    def completed(self, volume: volumes.Volume) -> volumes.Volume:
        """Complete what the user said about one volume: with the UUID of its LPAR, first."""
        return volume.resolved(self.host, self.args.lpar)

    def _each(self, volume: volumes.Volume) -> Done:
        with self.connector.company.member(), self.host.naming_lpars():
            volume = self.completed(volume)
            return Done(volume, self.act(volume))

    def more(self, value: Any) -> tuple[Any, ...]:
        """The values of the columns that this act has beyond the common ones."""
        return (None,) * (len(self.columns) - 3)

    def said(self, value: Any) -> str:
        """What became of a volume if nothing failed."""
        return self.done

    def one(self, done: Done) -> Output:
        """What is shown for a single volume."""
        return self.columns, self._row(done.volume, self.said(done.value), self.more(done.value))

    def carry_out(self) -> Output:
        """Do it, and return what is to be shown."""
        given, is_list = volumes.given(self.args)
        self.refuse(given)
        # Made once, not by each thread.
        _ = self.host.partition, self.connector, self.host.lpars
        if self.args.dry_run:
            return self._preview(given)
        results = many.each(given, self._each, self._command.app.stderr, self.title)
        self._command.exit_code = results.exit_code
        self._command.was_done = self._counts(results)
        if results.is_interrupted:
            self._say_what_was_and_was_not(results)
        if not is_list:
            [result] = results.each
            if result.state is many.State.DONE:
                self._command.is_one = True
                return self.one(result.value)
            if result.error is not None and not results.is_interrupted:
                raise result.error
        for result in results.each:
            if result.error is not None:
                self._command.say(_naming(result.volume, result.error))
                self._command.app.LOG.debug('Volume %s:', result.volume.label,
                                            exc_info=result.error)
        return self.columns, [self._result_row(result) for result in results.each]

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
            self.step(self.preview_connector, volume)
        except preview.NotSent as stopped:
            return stopped.rows
        raise AssertionError('a preview goes no further than the edit')

    def step(self, connector: Any, volume: volumes.Volume) -> Any:
        """Do to one volume what is previewed."""
        raise NotImplementedError

    def _preview(self, given: list[volumes.Volume]) -> Output:
        rows: list[preview.Row] = []
        for volume in given:
            try:
                with self.host.naming_lpars():
                    rows += self.preview(self.completed(volume))
            except (exceptions.FileIOConnectorError, NotAttached, UsageError) as err:
                if len(given) == 1:
                    raise
                self._command.say(_naming(volume, err))
                self._command.exit_code = ExitCode.PARTIAL
        return self.preview_columns, rows

    def _result_row(self, result: many.Result) -> tuple[Any, ...]:
        if result.state is many.State.DONE:
            done = result.value
            return self._row(done.volume, self.said(done.value), self.more(done.value))
        said = (f'failed: {type(result.error).__name__}' if result.error is not None
                else result.state.value)
        return self._row(result.volume, said, (None,) * (len(self.columns) - 3))

    def _row(self, volume: volumes.Volume, said: str, more: tuple[Any, ...]) -> tuple[Any, ...]:
        lpar = volume.lpar_uuid or volume.lpar or self.args.lpar
        return (volume.label, self.host.lpar_shown(lpar), said, *more)

    def _counts(self, results: many.Results) -> str:
        """How many volumes came to what, in words."""
        counts = [(sum(result.state is state for result in results.each), said) for state, said in (
            (many.State.DONE, self.done), (many.State.FAILED, 'failed'),
            (many.State.NOT_TRIED, 'not tried'),
            (many.State.UNKNOWN, 'still under way, so nothing is known of them'))]
        return ', '.join(f'{count} {said}' for count, said in counts if count)

    def _say_what_was_and_was_not(self, results: many.Results) -> None:
        self._command.say(
            f'Interrupted: {self._counts(results)}. Each volume is either attached or not; the '
            'same command goes on from here.')


class Attaching(Act):
    """Give volumes to LPARs."""

    title = 'Attaching'
    done = 'attached'
    columns = (*Act.columns, 'Slot', 'LUA', 'Path')

    def refuse(self, given: list[volumes.Volume]) -> None:
        """Refuse a list in which something is missing.

        :raises UsageError: only the id of a volume is known, or one names no LPAR
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

    def act(self, volume: volumes.Volume) -> dict[str, Any]:
        """Return its device_info."""
        return self.step(self.connector, volume)

    def more(self, value: dict[str, Any]) -> tuple[Any, ...]:
        return value['slot'], value['lua'], value['path']

    def one(self, done: Done) -> Output:
        return tuple(done.value), tuple(done.value.values())

    def step(self, connector: Any, volume: volumes.Volume) -> Any:
        return connector.connect_volume(volume.keys)


class _OfWhoHasIt(Act):
    """An act on volumes that some LPAR has: the LPAR need not be named if there is only one."""

    def completed(self, volume: volumes.Volume) -> volumes.Volume:
        """Find out from the mappings which LPAR, and which file, is meant.

        :raises UsageError: several LPARs have the volume, and none was named
        """
        volume = super().completed(volume)
        return volume if volume.lpar_uuid and not volume.is_id_only else self.found(volume)

    def found(self, volume: volumes.Volume) -> volumes.Volume:
        """The volume with the LPAR that has it; as it is if none has."""
        found = [record for record in self._holders.of(volume, self.connector.criteria(volume))
                 if not record.is_orphan and not record.is_wild_card
                 and volume.lpar_uuid in (None, self.host.lpar_of(record))]
        names = {self.host.lpar_of(record): self.host.lpar_name(record) for record in found}
        if len(names) > 1:
            raise UsageError(f'Volume {volume.label} is attached to LPARs '
                             + ' and '.join(sorted(names.values())) + '. Say which with --lpar.')
        if not found:
            return volume
        if None in names:
            raise exceptions.LPARNotFound(
                doing=f'find the LPAR of volume {volume.label}', lpar=names[None],
                reason=f'{found[0].path} is mapped to LPAR {names[None]}, which NovaLink does not '
                'list')
        path = found[0].path if volume.is_id_only else None
        return volume.with_keys(lpar_uuid=self.host.lpar_of(found[0]), path=path)

    @functools.cached_property
    def _holders(self) -> holders.Holders:
        return holders.Holders(self.host)


class Detaching(_OfWhoHasIt):
    """Take volumes off LPARs."""

    title = 'Detaching'
    done = 'detached'

    def completed(self, volume: volumes.Volume) -> volumes.Volume:
        """Complete it; an LPAR that is gone has nothing any more, if nobody has the volume.

        :raises LPARNotFound: some LPAR has it, so the name may be mistyped
        """
        try:
            return super().completed(volume)
        except exceptions.LPARNotFound:
            found = self.found(volume)
            if found.lpar_uuid is not None:
                raise
            return found

    def act(self, volume: volumes.Volume) -> Sequence[MappingRecord]:
        """Return the mappings that were removed."""
        # Where no LPAR is known by now, none has it, as a fresh read showed.
        return () if volume.lpar_uuid is None else self.connector.detach(volume)

    def said(self, value: Sequence[MappingRecord]) -> str:
        return self.done if value else 'was not attached'

    def preview(self, volume: volumes.Volume) -> list[preview.Row]:
        if volume.lpar_uuid is None:
            return [('none', None, None, None, volume.spec.path, None, volume.spec.volume_id)]
        return super().preview(volume)

    def step(self, connector: Any, volume: volumes.Volume) -> Any:
        return connector.disconnect_volume(volume.keys, volume.device_info)


class Extending(_OfWhoHasIt):
    """Show LPARs the new size of volumes."""

    title = 'Extending'
    done = 'extended'
    columns = (*Act.columns, 'Bytes')
    preview_columns = ('Volume', 'LPAR', 'LPAR sees', 'File has')

    def found(self, volume: volumes.Volume) -> volumes.Volume:
        """The volume with the LPAR that has it.

        :raises NotAttached: no LPAR has it
        """
        volume = super().found(volume)
        if volume.lpar_uuid is None:
            raise NotAttached(f'Volume {volume.label} is not attached to any LPAR. Attach it '
                              'first.')
        return volume

    def act(self, volume: volumes.Volume) -> int:
        """Return its size in bytes."""
        return self.connector.extend_volume(volume.keys)

    def more(self, value: int) -> tuple[Any, ...]:
        return (value,)

    def preview(self, volume: volumes.Volume) -> list[preview.Row]:
        """Return the sizes that the file has and that NovaLink knows of."""
        spec = properties.parse(volume.keys)
        file = volume_file.find(spec, self.host.settings, prober=self.host.prober)
        return [(volume.label, self.host.lpar_shown(volume.lpar_uuid),
                 inventory.size_shown(record.capacity_gb), inventory.size_shown(file.size / 2**30))
                for record in self._holders.of(volume, self.connector.criteria(volume))
                if self.host.lpar_of(record) == volume.lpar_uuid]


def _naming(volume: volumes.Volume, error: BaseException) -> str:
    """The text of an error, with the volume's name; what comes before parsing has none."""
    text = str(error)
    return text if volume.label in text else f'Volume {volume.label}: {text}'
