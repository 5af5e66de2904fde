# SPDX-License-Identifier: Apache-2.0
"""Whether this host uses a block device or a file itself, by sysfs and /proc alone.

Runs in the share probe process. Nothing is opened exclusively, which would disturb others.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import struct

_SYS_DEVICES = '/sys/dev/block'
_JOURNALS = '/proc/fs/jbd2'
# What each has by the name of a device is there while the file system is mounted in any mount
# namespace, and after a lazy unmount until nobody uses it any more.
_MOUNTED = ('/sys/fs/ext4', '/sys/fs/xfs', '/sys/fs/f2fs', '/sys/fs/erofs', '/sys/fs/nilfs2')

_USE_OF_FILE_SYSTEM = (
    'a file system ({}) that is mounted, here or in another mount namespace')

_LOOP_GET_STATUS64 = 0x4C05     # linux/loop.h
_LOOP_INFO64_SIZE = 232         # which begins with the file's device, inode and own device number


def block_device(rdev: int, mounted_loops: list[str]) -> dict[str, object]:
    """Return the state of a block device, its handle, what shares data with it, and who uses it.

    From sysfs, since opening a device may need permissions and can wake it up.

    :param mounted_loops: numbers of the loop devices, or of partitions of such, that are mounted
    """
    number = _number(rdev)
    place = f'{_SYS_DEVICES}/{number}'
    sectors = int(_read(f'{place}/size') or 0)
    same, wholes = _layers(number)
    parts = [place, *(f'{place}/{name}' for name in os.listdir(place)
                      if os.path.exists(f'{place}/{name}/partition')),
             *(f'{_SYS_DEVICES}/{below}' for below in (*same[1:], *wholes) if '/' not in below)]
    numbers = [_read(f'{part}/dev') or number for part in parts]
    # Another number each time that a loop device is bound, or a disk appears; since Linux 5.15.
    handle = _read(f'{place}/diskseq') or _read(f'{os.path.realpath(place)}/../diskseq')
    return {'size': sectors * 512, 'devices': numbers, 'same_as': same, 'part_of': wholes,
            'handles': [handle], 'is_read_only': _read(f'{place}/ro') == '1',
            'used_as': _holders(parts) or _btrfs(numbers) or _swap_devices(numbers)
            or _file_system(numbers) or _journal(numbers)
            or _looped(numbers, same, wholes, mounted_loops)}


def regular_file(seen: os.stat_result, name: str, mounted_loops: list[str]) -> str | None:
    """Return what this host uses a regular file for; None: nothing.

    Root is told by a loop device which file it is behind, under whatever name. For others, files of
    other names are not touched, since they may lie on a share that hangs; where the file has
    several names, all are compared. The file of swap space is only known by the path that it was
    given as: nothing tells it once that path leads elsewhere.

    :param name: the last component of its path
    :param mounted_loops: numbers of the loop devices, or of partitions of such, that are mounted
    """
    for path in _swaps():
        if _is_same(path, seen):
            return f'swap space ({path})'
    for loop, use in _used_loops(mounted_loops).items():
        if _is_behind(loop, seen, name):
            return use
    return None


def loops_over(seen: os.stat_result, name: str) -> list[str]:
    """Return the numbers of the loop devices over a regular file.

    A loop device over a file of another name is not asked, since that may lie on a share that
    hangs; where the file has several names, all are.
    """
    with contextlib.suppress(OSError):
        return [_read(f'/sys/block/{loop}/dev') or '' for loop in os.listdir('/sys/block')
                if (backing := _backing(loop))
                and (seen.st_nlink > 1 or os.path.basename(backing) == name)
                and _is_behind(loop, seen, name)]
    return []


def _used_loops(mounted_loops: list[str]) -> dict[str, str]:
    """Return the loop devices that this host uses, each with what for."""
    loops = {loop: f'a journal of ext4 ({name})' for name in _journals()
             if (loop := _loop_named(name))}
    loops |= {loop: _USE_OF_FILE_SYSTEM.format(name) for name in _file_systems()
              if (loop := _loop_named(name))}
    # One that is mounted may have its journal inside.
    loops |= {loop: f'what is mounted from {loop}' for loop in map(_loop_of, mounted_loops) if loop}
    loops |= {loop: f'what {holder} holds by {loop}' for loop, holder in _held_loops()}
    for path in _swaps():
        number = _block_number(path)
        if number is not None and (loop := _loop_of(number)):
            loops[loop] = f'swap space ({path})'
    for loop, use in [*loops.items()]:
        # One may lie on another.
        while (below := _loop_of(_block_number(_backing(loop)) or '')) and below not in loops:
            loops[below] = use
            loop = below
    return loops


def _backing(loop: str) -> str:
    return _read(f'/sys/block/{loop}/loop/backing_file') or ''


def _block_number(path: str) -> str | None:
    """Return the number of a block device; None: there is none at a path, as of a file."""
    if path.startswith('/dev/'):
        with contextlib.suppress(OSError):
            seen = os.stat(path)
            if stat.S_ISBLK(seen.st_mode):
                return _number(seen.st_rdev)
    return None


def _number(rdev: int) -> str:
    return f'{os.major(rdev)}:{os.minor(rdev)}'


def _layers(number: str) -> tuple[list[str], list[str]]:
    """Return what has the same bytes as a block device, it first, and what has more than them.

    A loop device has the bytes of what is behind it, or of a part of that, and a partition those of
    a part of its disk. Each is named by the number of a device, or as :func:`_behind` names a file.
    """
    same: list[str] = [number]
    wholes: list[str] = []
    found = same
    while '/' not in found[-1]:
        place = os.path.realpath(f'{_SYS_DEVICES}/{found[-1]}')
        if os.path.exists(f'{place}/partition'):
            found = wholes
            below = _read(f'{os.path.dirname(place)}/dev')
        else:
            below = _behind(os.path.basename(place))
            if _read(f'{place}/loop/offset') != '0' or _read(f'{place}/loop/sizelimit') != '0':
                found = wholes
        if below is None or below in (*same, *wholes):
            break
        found.append(below)
    return same, wholes


def _looped(numbers: list[str], same: list[str], wholes: list[str],
            mounted_loops: list[str]) -> str | None:
    """Return what other loop devices that share data with a device are used for."""
    for loop, use in _used_loops(mounted_loops).items():
        number = _read(f'/sys/block/{loop}/dev') or ''
        others, other_wholes = _layers(number)
        if number not in numbers and not (
                set(same).isdisjoint([*others, *other_wholes]) and set(wholes).isdisjoint(others)):
            return use
    return None


def _behind(loop: str) -> str | None:
    """Return what a loop device is over; None: it is none, or over nothing.

    That is the number of a device, the device and inode number of a file as ``1792/12``, or the
    file's path where that is all that this process is told.
    """
    backing = _backing(loop)
    if not backing:
        return None
    try:
        descriptor = os.open(f'/dev/{loop}', os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = fcntl.ioctl(descriptor, _LOOP_GET_STATUS64, bytes(_LOOP_INFO64_SIZE))
        finally:
            os.close(descriptor)
    except OSError:
        return _block_number(backing) or backing
    device, inode, own = struct.unpack_from('=QQQ', status)
    # A file has no number of its own: the kernel tells 0, or that of its file system again.
    return f'{device}/{inode}' if own in (0, device) else _number(own)


def _is_behind(loop: str, seen: os.stat_result, name: str) -> bool:
    behind = _behind(loop) or ''
    if behind.startswith('/'):
        return (seen.st_nlink > 1 or os.path.basename(behind) == name) and _is_same(behind, seen)
    return behind == f'{seen.st_dev}/{seen.st_ino}'


def _is_same(path: str, seen: os.stat_result) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.stat(path), seen)
    return False


def _holders(parts: list[str]) -> str | None:
    """LVM, md, dm and bcache put a link to what they make of a device into its ``holders``."""
    for part in parts:
        with contextlib.suppress(OSError):
            for holder in os.listdir(f'{part}/holders'):
                return f'a part of {holder}'
    return None


def _btrfs(numbers: list[str]) -> str | None:
    # The mount table names one device of a btrfs at most, and another device number.
    for uuid, name in _btrfs_devices():
        if _read(f'/sys/fs/btrfs/{uuid}/devices/{name}/dev') in numbers:
            return f'a part of the mounted btrfs {uuid}'
    return None


def _btrfs_devices() -> list[tuple[str, str]]:
    """Return the devices of each mounted btrfs: its UUID, and the name of one."""
    found = []
    with contextlib.suppress(OSError):
        for uuid in os.listdir('/sys/fs/btrfs'):
            with contextlib.suppress(OSError):
                found += [(uuid, name) for name in os.listdir(f'/sys/fs/btrfs/{uuid}/devices')]
    return found


def _swap_devices(numbers: list[str]) -> str | None:
    return next((f'swap space ({path})' for path in _swaps() if _block_number(path) in numbers),
                None)


def _file_system(numbers: list[str]) -> str | None:
    return next((_USE_OF_FILE_SYSTEM.format(name) for name in _file_systems()
                 if _read(f'/sys/class/block/{name}/dev') in numbers), None)


def _file_systems() -> list[str]:
    """Return the names of the devices of mounted file systems, and some that no device has."""
    found = []
    for directory in _MOUNTED:
        with contextlib.suppress(OSError):
            found += os.listdir(directory)
    return found


def _journal(numbers: list[str]) -> str | None:
    return next((f'a journal of ext4 ({name})' for name in _journals()
                 if _read(f'/sys/class/block/{name}/dev') in numbers), None)


def _journals() -> list[str]:
    """Return the names of the devices that journals of mounted file systems are on.

    The kernel adds the inode of a journal inside of a file system, as in ``sda1-8``.
    """
    with contextlib.suppress(OSError):
        return [name if os.path.exists(f'/sys/class/block/{name}') else name.rpartition('-')[0]
                for name in os.listdir(_JOURNALS)]
    return []


def _swaps() -> list[str]:
    lines = (_read('/proc/swaps') or '').splitlines()[1:]
    # Its blanks, tabs, newlines and backslashes are written in octal.
    return [re.sub(r'\\([0-3][0-7]{2})', lambda match: chr(int(match[1], 8)), line.split()[0])
            for line in lines if line.split()]


def _held_loops() -> list[tuple[str, str]]:
    """Return the loop devices that dm, md, bcache or btrfs hold, each with what holds it."""
    held = []
    with contextlib.suppress(OSError):
        for name in os.listdir('/sys/block'):
            if name.startswith(('dm-', 'md', 'bcache')):
                with contextlib.suppress(OSError):
                    held += [(loop, name) for slave in os.listdir(f'/sys/block/{name}/slaves')
                             if (loop := _loop_named(slave))]
    return held + [(loop, f'the btrfs {uuid}') for uuid, name in _btrfs_devices()
                   if (loop := _loop_named(name))]


def _loop_of(number: str) -> str | None:
    """Return the loop device with a number, or the one whose partition has it."""
    for name in os.path.realpath(f'{_SYS_DEVICES}/{number}').split('/'):
        if loop := _loop_named(name):
            return loop
    return None


def _loop_named(name: str) -> str | None:
    digits = name.removeprefix('loop').partition('p')[0]
    return f'loop{digits}' if name.startswith('loop') and digits.isdecimal() else None


def _read(path: str) -> str | None:
    try:
        with open(path, encoding='utf-8', errors='surrogateescape') as file:
            return file.read().strip()
    except OSError:
        return None
