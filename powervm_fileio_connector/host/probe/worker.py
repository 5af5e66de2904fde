# SPDX-License-Identifier: Apache-2.0
"""Probes of shares, in a process of its own that is killed when a share does not answer.

Run as a script by :mod:`powervm_fileio_connector.host.probe`, with the standard library alone and
without site-packages, so that it starts quickly: either kept, below a guard, with one JSON line in
and one out for each look, or once (``--once REQUEST``) through the caller's root helper.

Nothing is ever written, and no file but a declared qcow2 is opened for reading: what is asked of a
file is asked through ``O_PATH`` descriptors, which need no permission on the file itself.
"""

from __future__ import annotations

import _thread
import errno
import json
import os
import select
import signal
import stat
import sys

if __name__ == '__main__':
    # Our package, but without what its __init__ imports: a script is no part of it.
    package = type(sys)('powervm_fileio_connector.host.probe')
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
    for name in ('powervm_fileio_connector', 'powervm_fileio_connector.host', package.__name__):
        sys.modules[name] = package if name == package.__name__ else type(sys)(name)

from powervm_fileio_connector.host.probe.path_walk import PathWalk
from powervm_fileio_connector.host.probe.path_walk import Refused

TYPE_CHECKING = False       # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Any

# How often a worker checks, between two probes, that its guard lives. The end of its input says so
# too, unless a fork of the caller holds the socket open.
_PARENT_CHECK_S = 30

# How often a guard checks that the caller lives, on a kernel before 5.3, which has no pidfd.
_CALLER_CHECK_MS = 1000


def look(request: dict[str, Any]) -> dict[str, Any]:
    """Say everything about one file of a mount.

    :param request: ``mount_point``, ``mount_id`` (expected there, or None), ``path`` below it,
        ``inspect``: None, or how to treat the backing file of a qcow2, and ``mounted_loops``, for
        which see :func:`in_use.regular_file`
    """
    from powervm_fileio_connector.host.probe import in_use
    from powervm_fileio_connector.host.probe import system_calls
    with PathWalk(request['mount_point'], is_confined=True) as trail:
        mount_id = _mount_id(trail.end)
        if request['mount_id'] not in (None, mount_id):
            return {'mount_id': mount_id}
        os.fstat(trail.end)         # is the server there, and does it know the mount's root
        trail.follow(request['path'])
        if _mount_id(trail.end) != mount_id:
            raise Refused('path', 'another file system is mounted over it')
        seen = os.fstat(trail.end)
        facts = {'mount_id': mount_id, 'path': '/'.join(trail.names), 'mode': seen.st_mode,
                 'dev': seen.st_dev, 'ino': seen.st_ino, 'size': seen.st_size,
                 'root_dev': os.stat('/').st_dev}
        if stat.S_ISBLK(seen.st_mode):
            facts.update(in_use.block_device(seen.st_rdev))
        elif stat.S_ISREG(seen.st_mode):
            size = system_calls.synchronised_size(trail.end)
            facts['size'] = seen.st_size if size is None else size
            facts['used_as'] = in_use.regular_file(seen, request.get('mounted_loops') or [])
        if os.geteuid() == 0:
            facts['access_errno'] = system_calls.access_error(trail.end)
        if request.get('inspect') and stat.S_ISREG(seen.st_mode) and facts['size']:
            facts['size'], facts['chain'] = _inspect_chain(trail, request['inspect'])
        return facts


def where(request: dict[str, Any]) -> dict[str, Any]:
    """Say where a directory really is, and on which mount; autofs mounts it at this.

    Where it does not exist: how far the path does, with the error and the rest of it beside.

    :param request: ``path``, absolute, and ``is_file``: it need not be a directory
    :returns: with ``link_mounts``, the mounts on which the symlinks lie that were followed
    """
    with PathWalk('/', is_confined=False) as trail:
        failed: dict[str, Any] = {}
        try:
            trail.follow(request['path'], to_directory=not request.get('is_file'))
            os.fstat(trail.end)
        except OSError as err:
            failed = {'errno': err.errno, 'rest': trail.rest}
        return failed | {'path': '/' + '/'.join(trail.names), 'mount_id': _mount_id(trail.end),
                         'link_mounts': sorted({_mount_id(link) for link in trail.links})}


def handle(request: dict[str, Any]) -> dict[str, Any]:
    """Say by which handle the file system knows a file of a mount; see :func:`look`.

    :returns: ``handle``, None where it tells none
    """
    from powervm_fileio_connector.host.probe import system_calls
    with PathWalk(request['mount_point'], is_confined=True) as trail:
        trail.follow(request['path'])
        return {'mount_id': _mount_id(trail.end), 'handle': system_calls.file_handle(trail.end)}


def files(request: dict[str, Any]) -> dict[str, Any]:
    """Name the regular files directly in a directory, but for those that begin with a dot.

    :param request: ``path``, absolute
    """
    with os.scandir(request['path']) as entries:
        return {'names': [entry.name for entry in entries
                          if not entry.name.startswith('.')
                          and entry.is_file(follow_symlinks=False)]}


_LOOKS = {'look': look, 'where': where, 'files': files, 'handle': handle}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Take one look; whatever goes wrong is part of the answer."""
    try:
        return _LOOKS[request['op']](request)
    except OSError as err:
        return {'errno': err.errno or errno.EIO}
    except Refused as refusal:
        return {'refused': refusal.kind, 'reason': refusal.reason}
    except ValueError:
        # A NUL, or characters that the file system's encoding lacks: no such file can exist.
        return {'errno': errno.ENOENT}
    except Exception:  # noqa: BLE001  the parent raises it again, with the text
        import traceback
        return {'broken': traceback.format_exc()}


def guard() -> None:
    """Return in a child of ours; here, outlive neither it nor the caller."""
    caller = os.getppid()
    child = os.fork()
    if not child:
        return
    for descriptor in (0, 1):       # the worker's end of the socket is the worker's alone
        os.dup2(2, descriptor)
    ends = select.poll()
    for process in (child, caller):
        try:
            ends.register(os.pidfd_open(process), select.POLLIN)
        except OSError:
            ends.register(2, 0)     # it has ended, or the kernel is old: what follows tells
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if os.getppid() != caller:
            os.kill(child, signal.SIGKILL)
            break
        ends.poll(_CALLER_CHECK_MS)
    os._exit(0)


def serve() -> None:
    """Answer one request after another until the parent closes our input, or is gone."""
    parent = os.getppid()
    received = b''
    while os.getppid() == parent:
        if not select.select([0], [], [], _PARENT_CHECK_S)[0]:
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            return
        received += chunk
        if received.endswith(b'\n'):
            request, received = json.loads(received), b''
            if request['op'] == 'many':
                _answer_many(request['requests'])
            else:
                _write(json.dumps(answer(request)).encode() + b'\n')


def _answer_many(requests: list[tuple[int, dict[str, Any]]]) -> None:
    """Answer several requests, each in a thread, since any of them may hang."""
    lock = _thread.allocate_lock()

    def run(index: int, request: dict[str, Any]) -> None:
        line = json.dumps(answer(request) | {'index': index}).encode() + b'\n'
        with lock:
            _write(line)

    for index, request in requests:
        try:
            _thread.start_new_thread(run, (index, request))
        except RuntimeError:        # no more threads: the others come when these are done
            run(index, request)


def serve_once(request: dict[str, Any]) -> None:
    """Answer one request, within its ``timeout_s`` even if the kernel holds whoever looks.

    The root helper's daemon and its caller wait for this process without a limit of their own, so
    the look is made by a child, which is left to init where it cannot be killed.
    """
    source, sink = os.pipe()
    child = os.fork()
    if not child:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):        # else whoever reads our output would wait for the child's end
            os.dup2(null, fd)
        os.close(source)
        _write(json.dumps(answer(request)).encode(), sink)
        os._exit(0)
    os.close(sink)
    received = b''
    while select.select([source], [], [], request['timeout_s'])[0]:
        chunk = os.read(source, 65536)
        if not chunk:
            _write(received)
            return
        received += chunk
    os.kill(child, signal.SIGKILL)
    _write(b'{"is_hung": true}')


def _mount_id(fd: int) -> int:
    """Return the id that the mount table gives the mount that a descriptor lies on."""
    info = os.open(f'/proc/self/fdinfo/{fd}', os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(info, 4096)
    finally:
        os.close(info)
    return int(text.partition(b'mnt_id:')[2].split(None, 1)[0])


def _inspect_chain(trail: PathWalk, backing: str) -> tuple[int, list[tuple[int, int]]]:
    if sys.argv[1:2] == ['--once'] and 'site' not in sys.modules:
        import site
        site.main()         # oslo.utils is where this Python has it: nothing is the caller's here
    from powervm_fileio_connector.host.probe import qcow2
    return qcow2.inspect_chain(trail.end, trail.directory, backing)


def _write(data: bytes, fd: int = 1) -> None:
    while data:
        data = data[os.write(fd, data):]


if __name__ == '__main__':
    os.chdir('/')
    if sys.argv[1:2] == ['--once']:
        serve_once(json.loads(sys.argv[2]))
    else:
        os.closerange(3, 1 << 20)       # what the caller left open is the caller's
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)       # ignored, it would reap our child
        guard()
        sys.path += [path for path in json.loads(sys.argv[1])
                     if path.startswith('/') and path not in sys.path]
        serve()
