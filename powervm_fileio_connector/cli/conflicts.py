# SPDX-License-Identifier: Apache-2.0
"""Lists that contradict themselves: one volume for several LPARs."""

from __future__ import annotations

from collections.abc import Iterator

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import host as host_side
from powervm_fileio_connector.cli import volumes
from powervm_fileio_connector.cli.context import CommandContext
from powervm_fileio_connector.cli.errors import UsageError
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.mappings.record import normalised


def require_one_lpar_each(host: CommandContext, given: list[volumes.Volume]) -> None:
    """Refuse a list that gives one volume to several LPARs; which would get it is left to chance.

    :raises UsageError: it does, and not each entry of the volume has multiattach
    """
    lpars = [_lpar_uuid(host, volume) for volume in given]
    if len(set(lpars)) < 2:
        return
    paths = [host_side.candidate_paths(volume.spec, host.settings) for volume in given]
    ordered = sorted({path for some in paths for path in some})
    answers = host.prober.probe_all([probe.PathProbe(path) for path in ordered])
    # Symlinks followed; those on shares that do not answer are left out.
    leads_to = {path: answer.facts.whole_path
                for path, answer in zip(ordered, answers, strict=True) if answer.facts is not None}
    earlier: dict[str, list[int]] = {}
    for number, volume in enumerate(given):
        for key in _keys(volume, paths[number], leads_to):
            for other in earlier.setdefault(key, []):
                if lpars[other] != lpars[number] and not (
                        volume.is_multiattach and given[other].is_multiattach):
                    raise UsageError(
                        f'Volume {volume.label} is given for two LPARs, {given[other].lpar} and '
                        f'{volume.lpar}. Remove one entry, or set "multiattach": true in both.')
            earlier[key].append(number)


def _lpar_uuid(host: CommandContext, volume: volumes.Volume) -> str | None:
    try:
        return volume.resolved(host, None).lpar_uuid
    except exceptions.LPARNotFound:
        return volume.lpar      # fails by itself later


def _keys(volume: volumes.Volume, paths: tuple[str, ...],
          leads_to: dict[str, str]) -> Iterator[str]:
    """Everything that tells which volume it is."""
    spec = volume.spec
    if spec.volume_id is not None:
        yield volumes.normal_id(spec.volume_id)
    if spec.export is not None and spec.name is not None:
        yield f'{spec.export_hash} {spec.name}'
    for path in paths:
        yield normalised(path)
        if path in leads_to:
            yield normalised(leads_to[path])
