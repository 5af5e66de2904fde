# SPDX-License-Identifier: Apache-2.0
"""Whether this host uses a block device or a file itself, by sysfs and /proc/swaps alone.

Runs in the share probe process. Nothing is opened exclusively, which would disturb others.
"""

from __future__ import annotations

import contextlib
import os
import stat

_SYS_DEVICES = '/sys/dev/block'


def block_device(rdev: int) -> dict[str, object]:
    """Return the size of a block device, the numbers of it and its partitions, and who uses it.

    From sysfs, since opening a device may need permissions and can wake it up.
    """
    number = f'{os.major(rdev)}:{os.minor(rdev)}'
    place = f'{_SYS_DEVICES}/{number}'
    sectors = int(_read(f'{place}/size') or 0)
    parts = [place, *(f'{place}/{name}' for name in os.listdir(place)
                      if os.path.exists(f'{place}/{name}/partition'))]
    numbers = [_read(f'{part}/dev') or number for part in parts]
    return {'size': sectors * 512, 'devices': numbers,
            'used_as': _holders(parts) or _btrfs(numbers) or _swap_devices(numbers)}


def regular_file(seen: os.stat_result, name: str, mounted_loops: list[str]) -> str | None:
    """Return what this host uses a regular file for; None: nothing.

    Files of other names are not touched, since they may lie on a share that hangs; where the file
    has several names, all are compared.

    :param name: the last component of its path
    :param mounted_loops: numbers of the loop devices, or of partitions of such, that are mounted
    """
    for path in _swaps():
        if _is_same(path, seen, name):
            return f'swap space ({path})'
    loops = {loop: f'what is mounted from {loop}' for loop in map(_loop_of, mounted_loops) if loop}
    loops |= {loop: f'what {holder} holds by {loop}' for loop, holder in _held_loops()}
    for loop, use in loops.items():
        backing = _read(f'/sys/block/{loop}/loop/backing_file')
        if backing and _is_same(backing, seen, name):
            return use
    return None


def _is_same(path: str, seen: os.stat_result, name: str) -> bool:
    if seen.st_nlink == 1 and os.path.basename(path) != name:
        return False
    with contextlib.suppress(OSError):
        file = os.stat(path)
        return (file.st_dev, file.st_ino) == (seen.st_dev, seen.st_ino)
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
    with contextlib.suppress(OSError):
        for uuid in os.listdir('/sys/fs/btrfs'):
            with contextlib.suppress(OSError):
                for name in os.listdir(f'/sys/fs/btrfs/{uuid}/devices'):
                    if _read(f'/sys/fs/btrfs/{uuid}/devices/{name}/dev') in numbers:
                        return f'a part of the mounted btrfs {uuid}'
    return None


def _swap_devices(numbers: list[str]) -> str | None:
    for path in _swaps():
        with contextlib.suppress(OSError):
            seen = os.stat(path)
            if stat.S_ISBLK(seen.st_mode) and (
                    f'{os.major(seen.st_rdev)}:{os.minor(seen.st_rdev)}' in numbers):
                return f'swap space ({path})'
    return None


def _swaps() -> list[str]:
    lines = (_read('/proc/swaps') or '').splitlines()[1:]
    return [line.split()[0].replace('\\040', ' ') for line in lines if line.split()]


def _held_loops() -> list[tuple[str, str]]:
    """Return the loop devices that dm, md or bcache hold, each with what holds it."""
    held = []
    with contextlib.suppress(OSError):
        for name in os.listdir('/sys/block'):
            if name.startswith(('dm-', 'md', 'bcache')):
                with contextlib.suppress(OSError):
                    held += [(loop, name) for slave in os.listdir(f'/sys/block/{name}/slaves')
                             if (loop := _loop_named(slave))]
    return held


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
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, 1 << 16).decode('utf-8', 'surrogateescape').strip()
        finally:
            os.close(descriptor)
    except OSError:
        return None
