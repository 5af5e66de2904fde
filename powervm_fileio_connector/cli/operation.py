# SPDX-License-Identifier: Apache-2.0
"""What is done to volumes, one or a list of them: what all acts have in common, and attaching."""

from __future__ import annotations

import abc
import argparse
import dataclasses
import functools
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.cli import crowd
from powervm_fileio_connector.cli import output
from powervm_fileio_connector.cli import parallel
from powervm_fileio_connector.cli import preview
from powervm_fileio_connector.cli import volumes
from powervm_fileio_connector.cli.context import CommandContext
from powervm_fileio_connector.cli.errors import ExitCode
from powervm_fileio_connector.cli.errors import NotAttached
from powervm_fileio_connector.cli.errors import UsageError

Output = tuple[Sequence[str], Iterable[Any]]


@dataclasses.dataclass(frozen=True)
class Done:
    """A volume that the act succeeded on, as it was completed, and what the act returned."""

    volume: volumes.Volume
    value: Any


class VolumeOperation(abc.ABC):
    """Something that is done to one volume or to a list of them."""

    title: str
    done: str
    columns: tuple[str, ...] = ('Volume', 'LPAR', 'Result')
    preview_columns: tuple[str, ...] = preview.COLUMNS

    def __init__(self, command: output.Table, args: argparse.Namespace) -> None:
        self.args = args
        self.host = CommandContext(args)
        self._command = command

    @abc.abstractmethod
    def act(self, volume: volumes.Volume) -> Any:
        """Do it to one volume."""

    def prepare(self, given: list[volumes.Volume]) -> None:
        """Refuse a list that cannot be meant as it is, or find out what all of it needs."""
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
        self.prepare(given)
        # Made once, not by each thread.
        _ = self.host.partition, self.connector, self.host.lpars
        if self.args.dry_run:
            return self._preview(given)
        results = parallel.run_all(given, self._each, self._command.app.stderr, self.title)
        self._command.exit_code = results.exit_code
        self._command.was_done = self._counts(results)
        if results.is_interrupted:
            self._say_what_was_and_was_not(results)
        if not is_list:
            [result] = results.each
            if result.state is parallel.State.DONE:
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

    def _result_row(self, result: parallel.Result) -> tuple[Any, ...]:
        if result.state is parallel.State.DONE:
            done = result.value
            return self._row(done.volume, self.said(done.value), self.more(done.value))
        said = (f'failed: {type(result.error).__name__}' if result.error is not None
                else result.state.value)
        return self._row(result.volume, said, (None,) * (len(self.columns) - 3))

    def _row(self, volume: volumes.Volume, said: str, more: tuple[Any, ...]) -> tuple[Any, ...]:
        lpar = volume.lpar_uuid or volume.lpar or self.args.lpar
        return (volume.label, self.host.lpar_shown(lpar), said, *more)

    def _counts(self, results: parallel.Results) -> str:
        """How many volumes came to what, in words."""
        counts = [(sum(result.state is state for result in results.each), said) for state, said in (
            (parallel.State.DONE, self.done), (parallel.State.FAILED, 'failed'),
            (parallel.State.NOT_TRIED, 'not tried'),
            (parallel.State.UNKNOWN, 'still under way, so nothing is known of them'))]
        return ', '.join(f'{count} {said}' for count, said in counts if count)

    def _say_what_was_and_was_not(self, results: parallel.Results) -> None:
        self._command.say(
            f'Interrupted: {self._counts(results)}. Each volume is either attached or not; the '
            'same command goes on from here.')


class Attaching(VolumeOperation):
    """Give volumes to LPARs."""

    title = 'Attaching'
    done = 'attached'
    columns = (*VolumeOperation.columns, 'Slot', 'LUA', 'Path')

    def prepare(self, given: list[volumes.Volume]) -> None:
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


def _naming(volume: volumes.Volume, error: BaseException) -> str:
    """The text of an error, with the volume's name; what comes before parsing has none."""
    text = str(error)
    return text if volume.label in text else f'Volume {volume.label}: {text}'
