# SPDX-License-Identifier: Apache-2.0
"""What mapped paths have to do with a volume's file: found by probes, none of which writes."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection
from collections.abc import Iterable
from typing import Any
from typing import NamedTuple

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.conf import Settings
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host import checks
from powervm_fileio_connector.host import failures
from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.host import same_file
from powervm_fileio_connector.host import spellings
from powervm_fileio_connector.host.finder import VolumeFile
from powervm_fileio_connector.host.mount import Mount


class MappedNames(NamedTuple):
    """Mapped paths that lead to a file's data.

    :ivar same: those that are the file, whatever their names
    :ivar conflicts: those that no LPAR may have beside it, each with the reason
    """

    same: tuple[str, ...] = ()
    conflicts: tuple[tuple[str, str], ...] = ()


def names_among(file: VolumeFile, paths: Iterable[str], *, prober: probe.Prober,
                deadline: Deadline | None = None) -> MappedNames:
    """Return those of the given paths that are the file, or share data with it.

    Its inode decides, or, on another mount of the same server that has a device of its own, what
    the server knows it by; of a block device its number. A disk shares data with its partitions, a
    loop device with what it is over, and a qcow2 image with its backing files. No other mounts are
    probed.

    :param paths: such as those of all mappings
    :raises MountNotResponding: whether one of them is the file could not be found out
    """
    table = mount_table.table()
    questions = _questions(file, paths, table)
    if not questions:
        return MappedNames()
    own, *answers = prober.probe_all(
        [spellings.handle_probe(file.mount, file.path), *(one.request for one in questions)],
        deadline)
    if any(isinstance(one.request, probe.HandleProbe) for one in questions):
        failures.raise_for(own, failures.ErrorContext(file.path, file.mount, {'path': file.path}))
    comparison = _Comparison(file, own.facts, same_file.index(table))
    same: list[str] = []
    conflicts: list[tuple[str, str]] = []
    for (path, mount, _), answer in zip(questions, answers, strict=True):
        # What hangs below a block device is not told by the mount that its node lies on.
        failures.require_told(answer, path, mount, file.path, is_own_share=(
            mount.device == file.mount.device and not file.is_block_device))
        if comparison.is_same(path, mount, answer.facts):
            same.append(path)
        elif why := comparison.conflict(path, mount, answer.facts):
            conflicts.append((path, why))
    return MappedNames(tuple(same), tuple(conflicts))


class _Question(NamedTuple):
    """A mapped path that may lead to a file's data, and what is asked of its mount."""

    path: str
    mount: Mount
    request: probe.Request[Any]


def _questions(file: VolumeFile, paths: Iterable[str],
               table: mount_table.MountTable) -> list[_Question]:
    """Return what has to be asked about mapped paths; names and the mount table settle the rest."""
    questions: list[_Question] = []
    index = same_file.index(table)
    # A file with one name has it in other cases only.
    names = {os.path.basename(path).casefold() for path in file.spellings}
    names |= {name.casefold() for _, _, name, _ in file.chain}
    has_hard_links = file.has_hard_links or any(links > 1 for *_, links in file.chain)
    file_systems = _file_systems(file, table)
    for path in dict.fromkeys(paths):
        is_device = bool(file.same_as) and path.startswith('/dev/')
        is_named = not file.is_block_device and (
            has_hard_links or os.path.basename(path).casefold() in names)
        if not (is_device or is_named or file_systems):
            continue
        # Behind a symlink, '..' leads elsewhere than its text says.
        start, is_climbing, _ = path.partition('/../')
        plain = path if is_climbing else os.path.normpath(f'/{path.lstrip("/")}')
        mount = table.covering(start if is_climbing else plain)
        below = None if mount is None else mount.below(plain)
        if mount is None or below is None:
            continue
        request: probe.Request[Any]
        if is_device:
            # A loop device over a share that hangs holds no other.
            request = probe.FileProbe(mount.mount_point, below, mount.id, share=path)
        elif (mount.device == file.mount.device if is_named else mount.device in file_systems):
            request = probe.FileProbe(mount.mount_point, below, mount.id, share=mount.share)
        elif is_named and index.may_be_of_one_server(mount, file.mount):
            request = spellings.handle_probe(mount, plain)
        else:
            continue
        questions.append(_Question(path, mount, request))
    return questions


class _Comparison:
    """What probes tell of a mapped path, held against what they tell of a file.

    :param own: what the file's server knows it by
    """

    def __init__(self, file: VolumeFile, own: probe.HandleFacts | None,
                 index: same_file.SameFiles) -> None:
        self._file = file
        self._own = own
        self._index = index

    def is_same(self, path: str, mount: Mount,
                facts: probe.FileFacts | probe.HandleFacts | None) -> bool:
        """Whether the path is the file, by whatever name."""
        file, own = self._file, self._own
        if isinstance(facts, probe.FileFacts):
            return (facts.devices[:1] == (file.device,) if file.is_block_device
                    else (facts.dev, facts.ino) == file.identity)
        if facts is None or own is None or facts.handle != own.handle:
            return False
        if not (facts.names_cluster or self._index.are_of_one_server(mount, file.mount)):
            return False
        return facts.handle is not None or (
            facts.ino == own.ino and self._is_at_one_place(path, mount))

    def conflict(self, path: str, mount: Mount,
                 facts: probe.FileFacts | probe.HandleFacts | None) -> str:
        """Why no LPAR may have the path, which is another one, beside the file; '': it may."""
        file = self._file
        if (mount.makes_up_inodes and facts is not None
                and path not in (*file.spellings, *file.lookalikes)
                and self._is_at_one_place(path, mount)):
            return (f'may be {file.path}: only the case of letters differs, and without the mount '
                    'option serverino nothing tells')
        if not isinstance(facts, probe.FileFacts):
            return ''
        if (facts.dev, facts.ino) in {link[:2] for link in file.chain}:
            return f'is a backing file of {file.path}'
        if _overlaps(file, path, facts):
            return (f'has data of {file.path}: one of the two is a partition of the other, or a '
                    'loop device over it')
        return ''

    def _is_at_one_place(self, path: str, mount: Mount) -> bool:
        return self._index.may_share_inode((mount, path), (self._file.mount, self._file.path))


def images_over(file: VolumeFile, paths: Iterable[str], settings: Settings, *,
                prober: probe.Prober, deadline: Deadline) -> tuple[tuple[str, str], ...]:
    """Return those of the qcow2 images that have a file as a backing file, or may have it.

    One that is gone has none. One that cannot be inspected may have any.

    :param paths: images in the file's own directory, by whatever mount
    :returns: conflicts, as in :class:`MappedNames`
    :raises MountNotResponding: not all of them could be inspected in time
    """
    table = mount_table.table()
    mounts = {path: mount for path in paths if (mount := table.covering(path)) is not None}
    answers = prober.probe_all([
        probe.FileProbe(mount.mount_point, mount.below(path) or '', mount.id, share=mount.share,
                        qcow2_backing=settings.qcow2_backing)
        for path, mount in mounts.items()], deadline)
    found = []
    for (path, mount), answer in zip(mounts.items(), answers, strict=True):
        if answer.errno in (errno.ENOENT, errno.ENOTDIR):
            continue
        why = ''
        try:
            failures.raise_for(answer, failures.ErrorContext(path, mount, {}))
        except exceptions.MountNotResponding:
            raise
        except exceptions.FileIOConnectorError as err:
            why = f', which is not known: {err.kwargs["reason"]}'
        if answer.facts is None:
            found.append((path, f'may have {file.path} as a backing file{why}'))
        # All are in one directory, whose device number differs between mounts of one server.
        elif file.identity[1] in [inode for _, inode, *_ in answer.facts.chain]:
            found.append((path, f'has {file.path} as a backing file'))
    return tuple(found)


def leading_elsewhere(paths: Iterable[str], own: Collection[str], settings: Settings, *,
                      prober: probe.Prober,
                      deadline: Deadline | None = None) -> Collection[str] | None:
    """Return paths that lead to other files now, if all of the given ones do, on mounts of volumes.

    One that leads nowhere, or to the root file system, may have led to any file when it was mapped,
    by a mount that is gone. Where a mount does not answer, the mount table counts.

    :param paths: none of which the mount table shows to be the file in question
    :param own: all paths of that file
    """
    deadline = prober.deadline() if deadline is None else deadline
    paths, before = tuple(paths), mount_table.table()
    shares = [None if mount is None else mount.share for mount in map(before.covering, paths)]
    answers = prober.probe_all(
        [probe.PathProbe(path, is_directory=False, share=share)
         for path, share in zip(paths, shares, strict=True)], deadline.half())
    table = mount_table.table()
    is_trusted = checks.trust(settings, prober, deadline)

    def is_elsewhere(path: str, answer: probe.Answer[probe.PathFacts]) -> bool:
        if answer.facts is not None:
            path, mount = answer.facts.path, table.by_id(answer.mount_id)
        else:
            mount = table.covering(path)
        if mount is None or checks.is_unmounted(table, mount, path, is_trusted):
            return False
        if answer.errno is None and answer.facts is not None:
            return path not in own
        return failures.is_silent(answer, mount) or failures.is_stale(answer.errno, mount)

    if not all(map(is_elsewhere, paths, answers)):
        return None
    return same_file.index(table).probed(*paths)


def _file_systems(file: VolumeFile, table: mount_table.MountTable) -> set[str]:
    """Return ``major:minor`` of the file systems of files that a block device is over."""
    found = set()
    for layer in (*file.same_as, *file.part_of) if file.is_block_device else ():
        device, is_file, _ = layer.partition('/')
        if is_file and device:
            found.add(f'{os.major(int(device))}:{os.minor(int(device))}')
        elif is_file and (mount := table.covering(layer)) is not None:
            found.add(mount.device)
    return found


def _overlaps(file: VolumeFile, path: str, facts: probe.FileFacts) -> bool:
    """Whether a file has data of what is at a path; two partitions of a disk share none."""
    same = {*facts.same_as, facts.identity, path}
    return not (file.same_as.isdisjoint(same.union(facts.part_of))
                and file.part_of.isdisjoint(same))
