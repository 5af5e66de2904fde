# SPDX-License-Identifier: Apache-2.0
"""All shares at once: those that are mounted, and those that a disk needs and that are not."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from concurrent import futures

from powervm_fileio_connector.cli import output
from powervm_fileio_connector.cli.context import CommandContext
from powervm_fileio_connector.host import checks
from powervm_fileio_connector.host import health
from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host.mount import Mount

OK = 'ok'
FAILED = 'FAILED'
SKIPPED = 'not checked'

KEYS = ('check', 'verdict', 'detail', 'seconds', 'error_type')


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """The result of one check.

    :ivar seconds: how long it took, where that tells something
    :ivar error_type: the class of the error with which attaching would fail
    """

    what: str
    verdict: str
    detail: str
    seconds: float | None = None
    error_type: str | None = None


def rows(host: CommandContext, can_ask_novalink: bool) -> Iterator[CheckResult]:
    """Probe every share that is mounted below the bases, or that a disk needs."""
    table = mount_table.table()
    bases = {os.path.normpath(base) for base in host.settings.mount_point_base}
    wanted = {mount for mount in table if os.path.dirname(mount.mount_point) in bases
              and mount.fstype != 'autofs'}
    unmounted = []
    # Why NovaLink cannot be asked has a row of its own.
    for path in {one.path for one in host.records() if one.path} if can_ask_novalink else ():
        mount = table.covering(os.path.normpath(path))
        if mount is None or checks.is_on_root(table, mount, path):
            unmounted.append(path)
        else:
            wanted.add(mount)
    # At the same time, so that all that hangs costs one deadline.
    with futures.ThreadPoolExecutor(1) as pool:
        healths = pool.submit(health.of_mounts, wanted, host.prober)
        files = health.of_files(unmounted, host.settings, host.prober)
    found = [row(one.mount, one.state.value, one.took_s, one.note) for one in healths.result()]
    found += [row(file.mount, file.mount_state, file.took_s,
                  file.note if file.mount_state == health.MountState.UNKNOWN.value else None)
              for file in files.values() if not file.is_unmounted]
    found += _unmounted(files)
    yield from sorted(set(found), key=lambda one: one.detail)
    if not found:
        yield CheckResult('share', OK, 'none is mounted below ' + ' or '.join(
            host.settings.mount_point_base))


def row(mount: Mount | None, state: str, took_s: float,
        note: str | None = None) -> CheckResult:
    """Return the result for a share; a disk on one that is read-only cannot be written to."""
    is_fine = state == health.MountState.HEALTHY.value
    detail = f'{mount} is {state} ({output.seconds_shown(took_s)})'
    return CheckResult('share', OK if is_fine else FAILED,
                       f'{detail}: {note}' if note else detail, took_s)


def _unmounted(files: dict[str, health.FileHealth]) -> Iterator[CheckResult]:
    """The directories of disks that lie on the root file system, where a share should be."""
    for directory in {os.path.dirname(path) for path, file in files.items()
                      if file.is_unmounted and not (
                          file.file == 'present' and health.is_novalinks_own(path))}:
        yield CheckResult('share', FAILED, f'{directory} is on the root file system: nothing is '
                          'mounted for the disks there')
