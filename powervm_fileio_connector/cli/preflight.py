# SPDX-License-Identifier: Apache-2.0
"""What stands between a volume and an LPAR, one row each; nothing is changed to find out."""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import mappings
from powervm_fileio_connector import mounts
from powervm_fileio_connector import properties
from powervm_fileio_connector import volume_file
from powervm_fileio_connector.cli import inventory
from powervm_fileio_connector.cli import sights
from powervm_fileio_connector.cli import volumes
from powervm_fileio_connector.cli.host import Host

OK = 'ok'
FAILED = 'FAILED'
SKIPPED = 'not checked'


@dataclasses.dataclass(frozen=True)
class Row:
    """One thing that was checked."""

    what: str
    verdict: str
    detail: str


def rows(args: argparse.Namespace) -> list[Row]:
    """Check everything that can be checked, also past what fails."""
    host = Host(args)
    if not (args.volume or args.export or args.name):
        return [*_novalink(host), *_shares(host)]
    novalink = list(_novalink(host))
    # An LPAR is named by its name in a command line, so it takes a NovaLink that answers.
    lpar, args.lpar = args.lpar, None
    volume = volumes.one(args, host)
    return [*novalink, *_file(host, volume), *_lpar(host, lpar or volume.lpar_uuid),
            *_users(host, volume, lpar or volume.lpar_uuid, args.multiattach)]


def _novalink(host: Host) -> Iterator[Row]:
    start = time.monotonic()
    yield _row('NovaLink', lambda: host.adapter and (
        f'{host.address} answers, logged on in {_ms(time.monotonic() - start)}'))
    yield _needing_novalink(host, 'management partition', lambda: (
        f'{host.partition.name} (id {host.partition.id}) is an I/O server'))


def _shares(host: Host) -> Iterator[Row]:
    """Every share that is mounted below the bases, or that a mapping needs."""
    table = mounts.table()
    bases = {os.path.normpath(base) for base in host.settings.mount_point_base}
    wanted = [mount for mount in table if os.path.dirname(mount.mount_point) in bases
              and mount.fstype != 'autofs']
    if _has_novalink(host):
        for record in host.records():
            mount = mounts.covering(table, record.path) if record.path else None
            if mount is not None and mount.mount_point != '/' and mount not in wanted:
                wanted.append(mount)
    for health in sights.health(wanted, host.prober):
        fine = health.state in (mounts.MountState.HEALTHY, mounts.MountState.READ_ONLY)
        yield Row('share', OK if fine else FAILED,
                  f'{health.mount} is {health.state.value} ({_ms(health.took_s)})')
    if not wanted:
        yield Row('share', OK, 'none is mounted below ' + ' or '.join(
            host.settings.mount_point_base))


def _file(host: Host, volume: volumes.Volume) -> Iterator[Row]:
    if volume.is_id_only:
        yield Row('file', SKIPPED, 'an id does not tell where the file is')
        return
    try:
        spec = properties.parse(volume.keys, default_backstore=host.settings.backstore,
                                need_lpar=False)
    except exceptions.FileIOConnectorError as err:
        yield Row('volume', FAILED, _why(err))
        return
    start = time.monotonic()
    try:
        found = volume_file.find(spec, host.settings, prober=host.prober)
    except (exceptions.ShareNotMounted, exceptions.MountNotResponding,
            exceptions.StaleMount) as err:
        yield Row('share', FAILED, _why(err))
        yield Row('file', SKIPPED, 'the share must be mounted and answer first')
        return
    except exceptions.FileIOConnectorError as err:
        yield Row('share', OK, f'answered in {_ms(time.monotonic() - start)}')
        is_format = isinstance(err, exceptions.UnsafeVolumeFormat)
        yield Row('format' if is_format else 'file', FAILED, _why(err))
        return
    health = mounts.state(host.prober, found.mount)
    yield Row('share', OK, f'{found.mount} answered in {_ms(health.took_s)}')
    yield Row('file', OK, f'{found.path} lies on it, {inventory.size_shown(found.size / 2**30)}')
    yield Row('format', OK, f'{found.format}, served through {spec.backstore}')


def _lpar(host: Host, lpar: str | None) -> Iterator[Row]:
    if lpar is None:
        yield Row('LPAR', SKIPPED, 'none was named; see --lpar')
        return

    def check() -> str:
        uuid = host.lpar_uuid(lpar).upper()
        info = next((one for one in host.lpars if one.uuid.upper() == uuid), None)
        if info is None:
            raise exceptions.LPARNotFound(reason=f'NovaLink knows no LPAR {lpar}')
        if not info.can_change_io:
            raise exceptions.LPARNotReady(
                reason=f'{info.name} (id {info.id}) cannot change its I/O now: '
                f'{info.why_not or info.state}')
        return f'{info.name} (id {info.id}) is {info.state} and can change its I/O'

    yield _needing_novalink(host, 'LPAR', check)


def _users(host: Host, volume: volumes.Volume, lpar: str | None,
           is_multiattach: bool) -> Iterator[Row]:
    def check() -> str:
        wanted = None if lpar is None else host.lpar_uuid(lpar).upper()
        multiattach = is_multiattach or bool(volumes.get(volume.keys, 'multiattach'))
        found = volumes.of(host, volume, host.records())
        holders = [_holder(host, record) for record in found]
        others = [record for record in found if not record.is_orphan
                  and not (wanted and inventory.is_of(host, record, wanted))]
        if others and wanted is not None and not multiattach:
            raise exceptions.VolumeInUse(reason='it is attached to ' + ' and '.join(holders))
        return ('it is attached to ' + ' and '.join(holders) if holders
                else 'no LPAR has it')

    yield _needing_novalink(host, 'attached', check)


def _holder(host: Host, record: mappings.MappingRecord) -> str:
    if record.is_orphan:
        return f'an LPAR that is gone (server slot {record.server_slot})'
    return f'{host.lpar_name(record)} (slot {record.slot}, {record.lua})'


def _row(what: str, check: Callable[[], Any]) -> Row:
    try:
        return Row(what, OK, check())
    except exceptions.FileIOConnectorError as err:
        return Row(what, FAILED, _why(err))


def _needing_novalink(host: Host, what: str, check: Callable[[], str]) -> Row:
    if 'adapter' not in vars(host):
        return Row(what, SKIPPED, 'NovaLink must answer first')
    return _row(what, check)


def _has_novalink(host: Host) -> bool:
    try:
        return 'adapter' in vars(host) and host.partition is not None
    except exceptions.FileIOConnectorError:
        return False


def _why(err: exceptions.FileIOConnectorError) -> str:
    return '{reason}. {remedy}'.format(**err.kwargs)


def _ms(seconds: float) -> str:
    return f'{seconds * 1000:.3g} ms' if seconds < 1 else f'{seconds:.1f} s'
