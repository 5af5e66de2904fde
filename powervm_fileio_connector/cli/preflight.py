# SPDX-License-Identifier: Apache-2.0
"""The checks of a volume and an LPAR, one row each; nothing is changed."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from collections.abc import Iterator

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import mappings
from powervm_fileio_connector import plans
from powervm_fileio_connector.cli import attachment_index
from powervm_fileio_connector.cli import output
from powervm_fileio_connector.cli import shares
from powervm_fileio_connector.cli import volume_arguments
from powervm_fileio_connector.cli import volumes
from powervm_fileio_connector.cli.context import CommandContext
from powervm_fileio_connector.cli.shares import FAILED
from powervm_fileio_connector.cli.shares import OK
from powervm_fileio_connector.cli.shares import SKIPPED
from powervm_fileio_connector.cli.shares import CheckResult
from powervm_fileio_connector.connection_properties import parse
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.host import health
from powervm_fileio_connector.volume import VolumeSpec

_NO_SHARE = (exceptions.ShareNotMounted, exceptions.MountNotResponding, exceptions.StaleMount)


@dataclasses.dataclass(frozen=True)
class _Lookup:
    """A volume's file, or why there is none to attach.

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
    if not (args.volume or args.export or args.name or args.volume_id):
        novalink = _novalink(host)
        return [*novalink, *shares.rows(host, can_ask_novalink=_all_ok(novalink))]
    volume = volume_arguments.one(args)
    lpar = args.lpar or volume.lpar
    novalink = _novalink(host)
    lookup = _find(host, volume)
    rows = [*novalink, *_file(host, volume, lookup)]
    checks = {'LPAR': lambda: _lpar(host, lpar),
              'attached': lambda: _attached(host, volume, lookup, lpar)}
    for what, check in checks.items():
        row = _row(what, check) if _all_ok(novalink) else CheckResult(
            what, SKIPPED, 'NovaLink must answer, and be an I/O server, first')
        if lookup.error is not None and row.detail == _why(lookup.error):
            row = CheckResult(what, SKIPPED, 'what describes the volume must be right first')
        rows.append(row)
    return rows


def _novalink(host: CommandContext) -> list[CheckResult]:
    start = time.monotonic()

    def log_on() -> str:
        host.client.log_on(host.deadline())
        return f'{host.address} answers'

    reached = _row('NovaLink', log_on)
    seconds = time.monotonic() - start
    if reached.verdict == OK:
        reached = dataclasses.replace(reached, seconds=seconds, detail=(
            f'{reached.detail}, logged on in {output.seconds_shown(seconds)}'))
    if not _all_ok([reached]):
        return [reached, CheckResult('management partition', SKIPPED, 'NovaLink must answer first')]
    return [reached, _row('management partition', lambda: (
        f'{host.partition.name} (id {host.partition.id}) is an I/O server'))]


def _all_ok(rows: list[CheckResult]) -> bool:
    return all(row.verdict == OK for row in rows)


def _find(host: CommandContext, volume: volumes.Volume) -> _Lookup:
    """Find a volume's file, once: it tells both its state and to which LPARs it is attached."""
    spec = None
    start = time.monotonic()
    try:
        spec = parse(volume.keys, default_backstore=host.settings.backstore, need_lpar=False)
        return _Lookup(spec, finder.find(spec, host.settings, prober=host.prober))
    except exceptions.FileIOConnectorError as err:
        return _Lookup(spec, error=err, took_s=time.monotonic() - start)


def _file(host: CommandContext, volume: volumes.Volume, lookup: _Lookup) -> Iterator[CheckResult]:
    if volume.is_id_only:
        yield CheckResult('file', SKIPPED, 'an id does not tell where the file is')
    elif lookup.spec is None or lookup.found is None:
        yield from _why_no_file(lookup)
    else:
        [share] = health.of_mounts([lookup.found.mount], host.prober)
        yield _share(f'{share.mount} answered', share.took_s)
        yield CheckResult('file', OK, f'{lookup.found.path} lies on it, '
                  f'{output.size_shown(lookup.found.size)}')
        yield CheckResult('format', OK,
                          f'{lookup.found.format}, served through {lookup.spec.backstore}')


def _why_no_file(lookup: _Lookup) -> Iterator[CheckResult]:
    assert lookup.error is not None
    why, kind = _why(lookup.error), type(lookup.error).__name__
    if lookup.spec is None:
        yield CheckResult('volume', FAILED, why, error_type=kind)
    elif isinstance(lookup.error, _NO_SHARE):
        yield CheckResult('share', FAILED, why, error_type=kind)
        yield CheckResult('file', SKIPPED, 'the share must be mounted and answer first')
    else:
        is_format = isinstance(lookup.error, exceptions.UnsafeVolumeFormat)
        yield _share('answered', lookup.took_s)
        yield CheckResult('format' if is_format else 'file', FAILED, why, error_type=kind)


def _share(answered: str, seconds: float) -> CheckResult:
    return CheckResult('share', OK, f'{answered} in {output.seconds_shown(seconds)}', seconds)


def _lpar(host: CommandContext, lpar: str | None) -> str | None:
    if lpar is None:
        return None
    uuid = host.lpar_uuid(lpar)
    info = next(one for one in host.lpars if one.uuid == uuid)
    info.require_ready()
    return f'{info.name} (id {info.id}) is {info.state} and can change its I/O'


def _attached(host: CommandContext, volume: volumes.Volume, lookup: _Lookup,
              lpar: str | None) -> str:
    criteria = attachment_index.criteria(
        host, volume, lambda: host.attachments.with_mapped_names(lookup.find()))
    found = attachment_index.AttachmentIndex(host).find(volume, criteria)
    lpars = host.lpar_ids
    texts = ' and '.join(_holder(host, record, lpars) for record in found)
    if lpar is not None:
        wanted = host.lpar_uuid(lpar).upper()
        if not volume.is_multiattach and any(
                host.lpar_of(record) != wanted and not _is_left_over(record, lpars)
                for record in found):
            raise exceptions.VolumeInUse(reason=f'it is attached to {texts}')
        if lookup.spec is not None and lookup.found is not None:
            _require_attachable(host, lookup.found,
                                dataclasses.replace(lookup.spec, lpar_uuid=wanted))
    return f'attached to {texts or "no LPAR"}'


def _require_attachable(host: CommandContext, found: finder.VolumeFile, spec: VolumeSpec) -> None:
    """Raise what attaching the file would end in, by the mappings that there are now."""
    file = host.attachments.with_mapped_names(found)
    shown = host.attachments.preview(plans.Plan(
        spec, host.partition, plans.addition(spec, file, host.settings),
        host.attachments.deadlines(), file))
    if shown.error is not None:
        with host.naming_lpars():
            raise shown.error


def _is_left_over(record: mappings.MappingRecord, lpars: dict[str, int]) -> bool:
    """Whether attaching the file removes this mapping of it."""
    state = mappings.orphan_state(record, lpars)
    return state is mappings.OrphanState.GONE or (
        state is mappings.OrphanState.DOUBTFUL and not record.is_vios_client)


def _holder(host: CommandContext, record: mappings.MappingRecord, lpars: dict[str, int]) -> str:
    if _is_left_over(record, lpars):
        return f'an LPAR that is gone (server slot {record.server_slot})'
    if record.is_vios_client:
        return f'the I/O server {record.lpar_uuid}'
    if record.is_orphan:
        return f'{host.lpar_name(record)} (being made: no client adapter yet)'
    return f'{host.lpar_name(record)} (slot {record.slot}, {record.lua})'


def _row(what: str, check: Callable[[], str | None]) -> CheckResult:
    try:
        detail = check()
    except exceptions.FileIOConnectorError as err:
        return CheckResult(what, FAILED, _why(err), error_type=type(err).__name__)
    return CheckResult(what, OK, detail) if detail is not None else CheckResult(
        what, SKIPPED, f'no {what} given (--lpar)')


def _why(err: exceptions.FileIOConnectorError) -> str:
    return '{reason}. {remedy}'.format(**err.kwargs)
