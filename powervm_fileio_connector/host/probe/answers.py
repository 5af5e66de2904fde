# SPDX-License-Identifier: Apache-2.0
"""Answers to requests; runs in the share probe process.

Nothing is ever written, and no file but a declared qcow2 is opened for reading: what is asked of a
file is asked through ``O_PATH`` descriptors, which need no permission on the file itself, but for
the extended attributes of CephFS.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

from powervm_fileio_connector.host.probe.path_walk import PathWalk
from powervm_fileio_connector.host.probe.path_walk import Refused
from powervm_fileio_connector.host.probe.path_walk import mount_id

TYPE_CHECKING = False       # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Any

    from powervm_fileio_connector.host.probe import qcow2

_ROOT_DEV = os.stat('/').st_dev


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a request; an error is part of the answer."""
    answered = _answer_once(request)
    if answered.get('errno') != errno.ESTALE:
        return answered
    # What was replaced at the server meanwhile, or so soon after the last change of its directory
    # that the directory shows no other time. Where the mount is stale, the answer stays the same.
    from powervm_fileio_connector.host.probe import system_calls
    system_calls.look_up_afresh(os.path.join(request.get('mount_point', '/'), request['path']))
    return _answer_once(request)


def _answer_once(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return _KINDS[request['op']](request)
    except OSError as err:
        return {'errno': err.errno or errno.EIO}
    except Refused as refusal:
        return {'refusal': [refusal.kind, refusal.reason]}
    except ValueError:
        # A NUL, or characters that the file system's encoding lacks: no such file can exist.
        return {'errno': errno.ENOENT}
    except Exception:  # noqa: BLE001  the caller gets it with the text
        import traceback
        return {'failure': 'the share probe process failed:\n' + traceback.format_exc()}


def file(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a ``FileProbe``."""
    from powervm_fileio_connector.host.probe import in_use
    from powervm_fileio_connector.host.probe import system_calls
    with PathWalk(request['mount_point']) as walk:
        # Also whether the server knows the mount's root.
        _, mount, _ = system_calls.status(walk.end, is_fresh=False)
        if mount is None:
            mount = mount_id(walk.end)
        if request['mount_id'] not in (None, mount):
            return {'mount_id': mount}
        below = _follow_inside(walk, request['path'])
        size, lies_on, is_append_only = system_calls.status(walk.end)
        if (mount_id(walk.end) if lies_on is None else lies_on) != mount:
            raise Refused('path', 'another file system is mounted over it')
        seen = os.fstat(walk.end)
        handles = [system_calls.handle_where_told(walk.end)]
        facts = {'mount_id': mount, 'path': below, 'mode': seen.st_mode, 'dev': seen.st_dev,
                 'ino': seen.st_ino, 'hard_links': seen.st_nlink, 'root_dev': _ROOT_DEV,
                 'size': seen.st_size if size is None else size, 'handles': handles,
                 'is_append_only': is_append_only}
        if stat.S_ISBLK(seen.st_mode):
            facts.update(in_use.block_device(seen.st_rdev, request['mounted_loops']))
        elif stat.S_ISREG(seen.st_mode):
            name = os.path.basename(below)
            facts['used_as'] = in_use.regular_file(seen, name, request['mounted_loops'])
            if request['finds_loops']:
                facts['same_as'] = in_use.loops_over(seen, name)
            other = name.swapcase()
            facts['ignores_case'] = other != name and _is_there(other, walk.directory, seen)
        if os.geteuid() == 0:
            facts['access_errno'] = system_calls.access_error(walk.end)
        if request['qcow2_backing'] and stat.S_ISREG(seen.st_mode) and facts['size']:
            facts['size'], facts['chain'], others = _inspect_chain(walk, request['qcow2_backing'])
            handles += others
        return facts


def path(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a ``PathProbe``."""
    from powervm_fileio_connector.host.probe import system_calls
    with PathWalk('/') as walk:
        failed: dict[str, Any] = {}
        try:
            walk.follow(request['path'] + '/' * request['is_directory'],
                        keeps_devices=not request['is_directory'])
            system_calls.status(walk.end)       # does the server answer
        except OSError as err:
            failed = {'errno': err.errno, 'rest': [name for name in walk.rest if name]}
        return failed | {'path': walk.path, 'mount_id': mount_id(walk.end), 'links': walk.links}


def handle(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a ``HandleProbe``."""
    from powervm_fileio_connector.host.probe import system_calls
    with PathWalk(request['mount_point']) as walk:
        _follow_inside(walk, request['path'])
        facts: dict[str, Any] = {
            'handle': system_calls.file_handle(walk.end) if request['has_handles'] else None,
            'ino': os.fstat(walk.end).st_ino}
        told = system_calls.ceph_handle(walk.end, **facts) if request['is_ceph'] else None
        if told is not None:
            facts.update(handle=told, names_cluster=True)
        if facts['handle'] is None:
            system_calls.status(walk.directory)     # has its attributes asked for anew
            seen = os.fstat(walk.directory)
            facts['directory'] = [seen.st_ino, seen.st_ctime_ns]
        return facts


def list_files(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a ``ListFiles``."""
    with os.scandir(request['path']) as entries:
        return {'names': [entry.name for entry in entries
                          if not entry.name.startswith('.')
                          and entry.is_file(follow_symlinks=False)]}


_KINDS = {'file': file, 'path': path, 'list': list_files, 'handle': handle}


def _follow_inside(walk: PathWalk, below: str) -> str:
    """Follow a path from a mount point, and return where it leads, relative to that.

    :raises Refused: that is outside
    """
    inside = walk.path.rstrip('/') + '/'
    walk.follow(below)
    end = walk.path
    if not f'{end}/'.startswith(inside):
        raise Refused('path', f'a symlink leads out of the mount, to {end!r}')
    return end[len(inside):]


def _is_there(name: str, directory: int, seen: os.stat_result) -> bool:
    """Whether a name in a directory is that of a certain file."""
    try:
        return os.path.samestat(os.lstat(name, dir_fd=directory), seen)
    except OSError:
        return False


def _inspect_chain(walk: PathWalk,
                   backing: str) -> tuple[int, list[qcow2.Link], list[str | None]]:
    if sys.argv[1:2] == ['--once'] and 'site' not in sys.modules:
        import site
        site.main()         # oslo.utils is where this Python has it: nothing is the caller's here
    from powervm_fileio_connector.host.probe import qcow2
    return qcow2.inspect_chain(walk.end, walk.directory, backing)
