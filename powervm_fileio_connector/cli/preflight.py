# SPDX-License-Identifier: Apache-2.0
"""What stands between a volume and an LPAR, one row each; nothing is changed to find out."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import mappings
from powervm_fileio_connector.cli import attachment_index
from powervm_fileio_connector.cli import inventory
from powervm_fileio_connector.cli import shares
from powervm_fileio_connector.cli import volumes
from powervm_fileio_connector.cli.checks import FAILED
from powervm_fileio_connector.cli.checks import OK
from powervm_fileio_connector.cli.checks import SKIPPED
from powervm_fileio_connector.cli.checks import CheckResult
from powervm_fileio_connector.cli.checks import ms
from powervm_fileio_connector.cli.context import CommandContext
from powervm_fileio_connector.connection_properties import parse
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.host import health
from powervm_fileio_connector.volume import VolumeSpec

_NO_SHARE = (exceptions.ShareNotMounted, exceptions.MountNotResponding, exceptions.StaleMount)


@dataclasses.dataclass(frozen=True)
class _Look:
    """What one look at a volume's file brought: the file, or why there is none to attach.

    :ivar spec: None: the volume itself cannot be understood or served
    """

    spec: VolumeSpec | None
    found: finder.VolumeFile | None = None
    error: exceptions.FileIOConnectorError | None = None
    took_s: float = 0.0

    def find(self) -> finder.VolumeFile:
        """Return the file, or raise why there is none."""
        if self.found is None:
            assert self.error is not None
            raise self.error
        return self.found


def rows(args: argparse.Namespace) -> list[CheckResult]:
    """Check everything that can be checked, also past what fails."""
    host = CommandContext(args)
    if not (args.volume or args.export or args.name):
        return [*_novalink(host), *shares.rows(host)]
    volume = volumes.one(args)
    lpar = args.lpar or volume.lpar
    novalink = list(_novalink(host))
    look = _looked(host, volume)
    return [*novalink, *_file(host, volume, look), *_lpar(host, lpar),
            *_users(host, volume, look, lpar, args.multiattach)]


def _novalink(host: CommandContext) -> Iterator[CheckResult]:
    start = time.monotonic()
    yield _row('NovaLink', lambda: host.client and (
        f'{host.address} answers, logged on in {ms(time.monotonic() - start)}'))
    yield _needing_novalink(host, 'management partition', lambda: (
        f'{host.partition.name} (id {host.partition.id}) is an I/O server'))


def _looked(host: CommandContext, volume: volumes.Volume) -> _Look:
    """Look at a volume's file, once: both what it is and who has it are told by that."""
    spec = None
    start = time.monotonic()
    try:
        spec = parse(volume.keys, default_backstore=host.settings.backstore,
                                need_lpar=False)
        return _Look(spec, finder.find(spec, host.settings, prober=host.prober))
    except exceptions.FileIOConnectorError as err:
        return _Look(spec, error=err, took_s=time.monotonic() - start)


def _file(host: CommandContext, volume: volumes.Volume, look: _Look) -> Iterator[CheckResult]:
    if volume.is_id_only:
        yield CheckResult('file', SKIPPED, 'an id does not tell where the file is')
    elif look.spec is None or look.found is None:
        yield from _why_no_file(look)
    else:
        share = health.of_mount(look.found.mount, host.prober)
        yield CheckResult('share', OK, f'{share.mount} answered in {ms(share.took_s)}')
        yield CheckResult('file', OK, f'{look.found.path} lies on it, '
                  f'{inventory.size_shown(look.found.size / 2**30)}')
        yield CheckResult('format', OK,
                          f'{look.found.format}, served through {look.spec.backstore}')


def _why_no_file(look: _Look) -> Iterator[CheckResult]:
    assert look.error is not None
    why = _why(look.error)
    if look.spec is None:
        yield CheckResult('volume', FAILED, why)
    elif isinstance(look.error, _NO_SHARE):
        yield CheckResult('share', FAILED, why)
        yield CheckResult('file', SKIPPED, 'the share must be mounted and answer first')
    else:
        is_format = isinstance(look.error, exceptions.UnsafeVolumeFormat)
        yield CheckResult('share', OK, f'answered in {ms(look.took_s)}')
        yield CheckResult('format' if is_format else 'file', FAILED, why)


def _lpar(host: CommandContext, lpar: str | None) -> Iterator[CheckResult]:
    if lpar is None:
        yield CheckResult('LPAR', SKIPPED, 'none was named; see --lpar')
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


def _users(host: CommandContext, volume: volumes.Volume, look: _Look, lpar: str | None,
           is_multiattach: bool) -> Iterator[CheckResult]:
    def check() -> str:
        wanted = None if lpar is None else host.lpar_uuid(lpar).upper()
        multiattach = is_multiattach or bool(volumes.get(volume.keys, 'multiattach'))
        criteria = attachment_index.criteria(host, volume, look.find)
        found = attachment_index.AttachmentIndex(host).of(volume, criteria)
        texts = [_holder(host, record) for record in found]
        others = [record for record in found if not record.is_orphan
                  and host.lpar_of(record) != wanted]
        if others and wanted is not None and not multiattach:
            raise exceptions.VolumeInUse(reason='it is attached to ' + ' and '.join(texts))
        return 'it is attached to ' + ' and '.join(texts) if texts else 'no LPAR has it'

    yield _needing_novalink(host, 'attached', check)


def _holder(host: CommandContext, record: mappings.MappingRecord) -> str:
    if record.is_orphan:
        return f'an LPAR that is gone (server slot {record.server_slot})'
    return f'{host.lpar_name(record)} (slot {record.slot}, {record.lua})'


def _row(what: str, check: Callable[[], Any]) -> CheckResult:
    try:
        return CheckResult(what, OK, check())
    except exceptions.FileIOConnectorError as err:
        return CheckResult(what, FAILED, _why(err))


def _needing_novalink(host: CommandContext, what: str, check: Callable[[], str]) -> CheckResult:
    if 'adapter' not in vars(host):
        return CheckResult(what, SKIPPED, 'NovaLink must answer first')
    return _row(what, check)


def _why(err: exceptions.FileIOConnectorError) -> str:
    return '{reason}. {remedy}'.format(**err.kwargs)
