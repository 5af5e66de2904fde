# SPDX-License-Identifier: Apache-2.0
"""The file of a volume: found on its mount, confined to it, identified and checked; never written.

Everything here goes by two sources: the mount table, and the answers to probes. A path is only
believed as far as it leads, without a symlink out, from the root of a mount that the table names.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Collection
from collections.abc import Iterable

import retrying
from oslo_log import log as logging

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.conf import Settings
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host import checks
from powervm_fileio_connector.host import failures
from powervm_fileio_connector.host import lookup
from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.host import same_file
from powervm_fileio_connector.host import spellings
from powervm_fileio_connector.host.mount import Mount
from powervm_fileio_connector.volume import VolumeSpec

LOG = logging.getLogger(__name__)

# A device_path of these may be a block device, where the options allow it.
_DEVICE_PROTOCOLS = ('local', 'gpfs', 'file')

_MOST_CHANGES = 5           # of the mount table while we probe; each makes us begin again
_MOST_PAUSE_S = 1.0         # between two probes for a file that may yet appear


@dataclasses.dataclass(frozen=True)
class VolumeFile:
    """A file that is fit to be handed to an LPAR.

    :ivar path: with all symlinks resolved; what NovaLink is told
    :ivar spellings: every path that reaches this same file for certain, ``path`` first
    :ivar lookalikes: paths of what may be the same file, under another name of its server
    :ivar size: in bytes, as the guest will see it: for qcow2 the virtual size
    :ivar identity: device and inode number
    :ivar chain: the backing files of a qcow2 image, as in :class:`probe.FileFacts`
    :ivar handles: the file's handle, and those of its backing files, likewise
    :ivar resolved: ``path``, or what a stable name of a block device leads to
    :ivar probed: paths of all files that were probed since the mount table changed
    :ivar has_hard_links: whether it has several names on its file system
    :ivar ignores_case: whether its name in another case leads to it too
    :ivar may_be_on_other_mounts: whether one that the mount table does not tell may show it
    :ivar device: ``major:minor`` of a block device
    :ivar same_as: of a block device, or of a file that a loop device is over: all that has the same
        bytes, as in :class:`probe.FileFacts`, and files by all their paths
    :ivar part_of: likewise, what has more than its bytes
    :ivar directories: the paths of its directory, where qcow2 images in it may have it as backing
        file; none where the options allow no backing files
    :ivar conflicts: mapped paths that no LPAR may have beside it, each with the reason
    """

    path: str
    spellings: tuple[str, ...]
    size: int
    format: str
    identity: tuple[int, int]
    is_block_device: bool
    mount: Mount
    lookalikes: tuple[str, ...] = ()
    chain: tuple[tuple[int, int, str, int], ...] = ()
    handles: tuple[str | None, ...] = dataclasses.field(default=(), repr=False)
    resolved: str = ''
    probed: Collection[str] = dataclasses.field(default=(), repr=False, compare=False)
    has_hard_links: bool = False
    ignores_case: bool = False
    may_be_on_other_mounts: bool = False
    device: str = ''
    same_as: frozenset[str] = frozenset()
    part_of: frozenset[str] = frozenset()
    directories: tuple[str, ...] = ()
    conflicts: tuple[tuple[str, str], ...] = ()

    @property
    def may_have_other_names(self) -> bool:
        """Whether names that ``spellings`` lacks may lead to its data; see :func:`names_among`."""
        return (bool(self.same_as) or self.has_hard_links or self.ignores_case
                or self.mount.makes_up_inodes or self.may_be_on_other_mounts
                or any(hard_links > 1 for *_, hard_links in self.chain))


def find(spec: VolumeSpec, settings: Settings, *, prober: probe.Prober,
         deadline: Deadline | None = None, attempts: int = 1) -> VolumeFile:
    """Find the file of a volume, and check it and its mount.

    Ends by the deadline, all attempts together, and 0.5 s more where the kernel holds a helper.
    Changes nothing; a probe below autofs makes autofs mount.

    :param deadline: of all probes; by default the prober's
    :param attempts: probes to make where a file, or a mount that autofs makes, may yet appear
    :raises ShareNotMounted: the export, or what should hold the path, is not mounted here
    :raises MountNotResponding: no mount of it answers
    :raises StaleMount: it is cut off from its server
    :raises VolumeFileNotFound: it is mounted, and the file is not there
    :raises UnsafeVolumePath: the file is none that may be handed to an LPAR
    :raises UnsafeVolumeFormat: a qcow2 image that is not safe
    :raises UnsupportedVolume: the mount or block device is read-only, or the image encrypted
    """
    deadline = prober.deadline() if deadline is None else deadline
    # Half of the time stays for the last probe, so that it is not taken for a hung one.
    patience = deadline.half()
    # Of its own, retrying would go by the time of day, which may be set meanwhile.
    return retrying.Retrying(
        stop_func=lambda made, _: made >= attempts or patience.has_passed,
        wait_fixed=1000 * min(_MOST_PAUSE_S, patience.seconds / max(1, attempts)),
        retry_on_exception=_may_yet_appear).call(_find_once, spec, settings, prober, deadline)


def recheck(file: VolumeFile, settings: Settings, *, prober: probe.Prober,
            deadline: Deadline | None = None) -> None:
    """Probe a file once more, and raise unless its path still leads to it, on the same mount.

    A block device has to have the same data as before, and not to have come into use by this host.

    :raises UnsafeVolumePath: another file, backing file, device or mount is there now
    :raises VolumeFileNotFound: it is gone
    :raises MountNotResponding: the mount does not answer any more
    :raises StaleMount: it is cut off from its server
    """
    before = file.mount
    answer = prober.probe(probe.FileProbe(
        before.mount_point, before.below(file.path) or '',
        qcow2_backing=settings.qcow2_backing if file.format == 'qcow2' else None,
        mounted_loops=lookup.mounted_loops(mount_table.table()) if file.is_block_device else ()),
        deadline)
    context = failures.ErrorContext(file.path, before, {
        'path': file.path, 'mount_point': before.mount_point})
    if answer.refusal is not None:
        context.refuse(f'was replaced while it was being attached: {answer.refusal.reason}')
    failures.raise_for(answer, context)
    facts = answer.facts
    assert facts is not None
    table = mount_table.table()
    mount = table.by_id(answer.mount_id)
    if mount is None or not mount.is_same_as(before):
        context.refuse(f'lies on another mount ({mount}) than when it was checked ({before})')
    # One that autofs made anew may have another device number, also under the id of the one before,
    # but shows the same inodes.
    first = 1 if table.is_automounted(mount) else 0
    if (os.path.join(mount.mount_point, facts.path) != file.resolved
            or [one[first:2] for one in ((facts.dev, facts.ino), *facts.chain)] != [
                one[first:2] for one in (file.identity, *file.chain)]
            or (not mount.may_change_handles and _are_others(file.handles, facts.handles))
            or stat.S_ISBLK(facts.mode) != file.is_block_device
            or not (stat.S_ISREG(facts.mode) or file.is_block_device)):
        context.refuse('was replaced by another file while it was being attached')
    if file.is_block_device:
        # A loop device may have been bound anew, to what others had before.
        if (facts.devices[:1] != (file.device,) or not file.same_as.issuperset(facts.same_as)
                or not file.part_of.issuperset(facts.part_of) or facts.size < file.size):
            context.refuse('was given other data, or became smaller, while it was being attached')
        checks.require_unused_device(facts, table, context)


def _find_once(spec: VolumeSpec, settings: Settings, prober: probe.Prober,
               deadline: Deadline) -> VolumeFile:
    find_file = lookup.by_export if spec.path is None else lookup.by_path
    for _ in range(_MOST_CHANGES):
        try:
            found = find_file(spec, settings, prober, deadline)
        except lookup.TableChanged:
            continue
        facts = found.answer.facts
        resolved = os.path.join(found.mount.mount_point,
                                found.below if facts is None else facts.path)
        # Of a block device, NovaLink is told the stable name that was given.
        is_block_device = facts is not None and stat.S_ISBLK(facts.mode)
        path = (os.path.join(found.mount.mount_point, found.below) if is_block_device
                else resolved)
        context = lookup.context(spec, path, found.mount)
        failures.raise_for(found.answer, context)
        if facts is not None:
            subject = checks.Subject(
                table=found.table, mount=found.mount, context=context, settings=settings,
                kind=spec.kind, backstore=spec.backstore,
                may_be_block_device=spec.path is not None and spec.protocol in _DEVICE_PROTOCOLS,
                is_trusted=checks.trust(settings, prober, deadline))
            checks.require_attachable(found.answer, subject)
            checks.require_own_mount(spec, path, subject, prober, deadline)
            return _volume_file(spec, settings, found, facts, path, resolved, prober, deadline)
    raise exceptions.MountNotResponding(
        reason='what is mounted changed each time it was probed', volume=spec.label,
        export=spec.export_shown, path=spec.path)


def _volume_file(spec: VolumeSpec, settings: Settings, found: lookup.Lookup,
                 facts: probe.FileFacts, path: str, resolved: str, prober: probe.Prober,
                 deadline: Deadline) -> VolumeFile:
    is_block_device = stat.S_ISBLK(facts.mode)
    if is_block_device and spec.format != 'raw':
        raise exceptions.UnsupportedVolume(
            reason=f'{path} is a block device, which can only be served as raw, not as '
                   f'{spec.format}', path=path, volume=spec.label)
    certain, lookalikes = spellings.of_other_servers(
        found.table, found.mount, resolved, prober, deadline)
    known = same_file.index(found.table).spellings(found.mount, resolved)
    given = spellings.given(spec, settings, found.table)
    # Of a mount of a single file, the directory is another one.
    directories = tuple(dict.fromkeys(
        os.path.dirname(one) for one in (path, *known, *certain, *lookalikes)
        if settings.allows_backing_files and not is_block_device and found.table.at(one) is None))
    own = (facts.identity, path, *known) if facts.same_as and not is_block_device else ()
    return VolumeFile(
        path=path, spellings=tuple(dict.fromkeys((path, *known, *certain, *given))),
        lookalikes=lookalikes, size=facts.size, format=spec.format,
        identity=(facts.dev, facts.ino), is_block_device=is_block_device, mount=found.mount,
        chain=facts.chain, handles=facts.handles, resolved=resolved,
        probed=same_file.index(found.table).probed(path),
        has_hard_links=facts.hard_links > 1, ignores_case=facts.ignores_case,
        may_be_on_other_mounts=same_file.index(found.table).may_be_on_others(found.mount),
        device=next(iter(facts.devices), ''),
        same_as=_with_spellings((*facts.same_as, *own)), part_of=_with_spellings(facts.part_of),
        directories=directories, conflicts=tuple(
            (os.path.join(directory, name), f'is a backing file of {path}')
            for directory in directories for _, _, name, _ in facts.chain))


def _are_others(before: Iterable[str | None], now: Iterable[str | None]) -> bool:
    """Whether any of these handles is another now; one that was not told both times is not."""
    return any(None not in pair and pair[0] != pair[1] for pair in zip(before, now, strict=False))


def _with_spellings(layers: Iterable[str]) -> frozenset[str]:
    """Return layers of data, as in :class:`probe.FileFacts`, and all paths of those told by one."""
    return frozenset(one for layer in layers for one in (
        spellings.spellings_of(layer) if layer.startswith('/') else (layer,)))


def _may_yet_appear(error: Exception) -> bool:
    return isinstance(error, exceptions.VolumeFileNotFound) or (
        isinstance(error, exceptions.ShareNotMounted) and bool(error.kwargs.get('is_automounted')))
