# SPDX-License-Identifier: Apache-2.0
"""Probes of shares, in a process of its own that is killed when a share does not answer.

Run as a script by :mod:`powervm_fileio_connector.host.probe`, with the standard library alone and
without site-packages, so that it starts quickly: either kept, below a guard, with frames of marshal
in and out, or once (``--once JSON``, with a line of JSON for each answer) through the caller's root
helper. (Both ends of marshal are the same Python.)

Nothing is ever written, and no file but a declared qcow2 is opened for reading: what is asked of a
file is asked through ``O_PATH`` descriptors, which need no permission on the file itself.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal imports enum: a third of the start
import _thread
import errno
import marshal
import os
import select
import stat
import sys
import time

if __name__ == '__main__':
    # Our package, but without what its __init__ imports: a script is no part of it.
    package = type(sys)('powervm_fileio_connector.host.probe')
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
    for name in ('powervm_fileio_connector', 'powervm_fileio_connector.host', package.__name__):
        sys.modules[name] = package if name == package.__name__ else type(sys)(name)

from powervm_fileio_connector.host.probe.path_walk import PathWalk
from powervm_fileio_connector.host.probe.path_walk import Refused
from powervm_fileio_connector.host.probe.path_walk import mount_id

TYPE_CHECKING = False       # typing itself takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Message = list[list[tuple[int, dict[str, Any]]]]    # requests of a share, for each share

# How often a worker checks, between two messages, that its guard lives. The end of its input says
# so too, unless a fork of the caller holds the socket open.
_PARENT_CHECK_MS = 30_000

# How often a guard checks that the caller lives, on a kernel before 5.3, which has no pidfd.
_CALLER_CHECK_MS = 1000

_MOST_WAIT_S = 3600.0       # that select() can be asked for at once

_WRITING = _thread.allocate_lock()
_ROOT_DEV = os.stat('/').st_dev


def file(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a ``FileProbe``."""
    from powervm_fileio_connector.host.probe import in_use
    from powervm_fileio_connector.host.probe import system_calls
    with PathWalk(request['mount_point'], is_confined=True) as walk:
        # Also whether the server knows the mount's root.
        _, mount = system_calls.size_and_mount_id(walk.end, is_fresh=False)
        if mount is None:
            mount = mount_id(walk.end)
        if request['mount_id'] not in (None, mount):
            return {'mount_id': mount}
        walk.follow(request['path'])
        size, lies_on = system_calls.size_and_mount_id(walk.end)
        if (mount_id(walk.end) if lies_on is None else lies_on) != mount:
            raise Refused('path', 'another file system is mounted over it')
        seen = os.fstat(walk.end)
        facts = {'mount_id': mount, 'path': '/'.join(walk.names), 'mode': seen.st_mode,
                 'dev': seen.st_dev, 'ino': seen.st_ino, 'hard_links': seen.st_nlink,
                 'root_dev': _ROOT_DEV, 'size': seen.st_size if size is None else size}
        if stat.S_ISBLK(seen.st_mode):
            facts.update(in_use.block_device(seen.st_rdev))
        elif stat.S_ISREG(seen.st_mode):
            facts['used_as'] = in_use.regular_file(
                seen, walk.names[-1], request['mounted_loops'])
        if os.geteuid() == 0:
            facts['access_errno'] = system_calls.access_error(walk.end)
        if request['qcow2_backing'] and stat.S_ISREG(seen.st_mode) and facts['size']:
            facts['size'], facts['chain'] = _inspect_chain(walk, request['qcow2_backing'])
        return facts


def path(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a ``PathProbe``."""
    from powervm_fileio_connector.host.probe import system_calls
    with PathWalk('/', is_confined=False) as walk:
        failed: dict[str, Any] = {}
        try:
            walk.follow(request['path'], to_directory=request['is_directory'])
            system_calls.size_and_mount_id(walk.end)        # does the server answer
        except OSError as err:
            failed = {'errno': err.errno, 'rest': walk.rest}
        return failed | {'path': '/' + '/'.join(walk.names), 'mount_id': mount_id(walk.end),
                         'links': walk.links}


def handle(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a ``HandleProbe``."""
    from powervm_fileio_connector.host.probe import system_calls
    with PathWalk(request['mount_point'], is_confined=True) as walk:
        walk.follow(request['path'])
        return {'handle': system_calls.file_handle(walk.end), 'ino': os.fstat(walk.end).st_ino}


def list_files(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a ``ListFiles``."""
    with os.scandir(request['path']) as entries:
        return {'names': [entry.name for entry in entries
                          if not entry.name.startswith('.')
                          and entry.is_file(follow_symlinks=False)]}


_KINDS = {'file': file, 'path': path, 'list': list_files, 'handle': handle}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a request; an error is part of the answer."""
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


def guard() -> None:
    """Return in a child of ours; here, outlive neither it nor the caller.

    :raises OSError: there is no process to be had
    """
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
            os.kill(child, _signal.SIGKILL)
            break
        ends.poll(_CALLER_CHECK_MS)
    os._exit(0)


def serve(failure: str | None = None) -> None:
    """Answer one message after another until the caller closes our input, or is gone.

    :param failure: why no share may be probed
    """
    parent = os.getppid()
    caller = select.poll()
    caller.register(0, select.POLLIN)
    received = b''
    while os.getppid() == parent:
        events = caller.poll(_PARENT_CHECK_MS)
        if not events:
            continue
        chunk = os.read(0, 65536)
        if not chunk or events[0][1] & select.POLLHUP:
            return              # nobody waits for the answer
        received += chunk
        if len(received) < 4 or len(received) < 4 + int.from_bytes(received[:4], 'little'):
            continue
        message, received = marshal.loads(received[4:]), b''    # noqa: S302  of our caller
        if failure is None:
            _answer_all(message, _write_frame)
        else:
            for index in [index for share in message for index, _ in share]:
                _write_frame([index, {'failure': failure}])


def serve_once(timeout_s: float, message: Message) -> None:
    """Answer one message; ends after ``timeout_s`` even if the kernel holds the one who probes.

    The root helper's daemon and its caller wait for this process without a limit of their own, so
    the probes are made by a child, which is left to init where it cannot be killed.
    """
    import json
    until = time.monotonic() + timeout_s
    source, sink = os.pipe()
    child = os.fork()
    if not child:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):        # else whoever reads our output would wait for the child's end
            os.dup2(null, fd)
        os.close(source)
        _answer_all(message, lambda told: _write(json.dumps(told).encode() + b'\n', sink))
        os.kill(os.getpid(), _signal.SIGKILL)        # without waiting for threads
    os.close(sink)
    while select.select([source], [], [], max(0.0, min(until - time.monotonic(), _MOST_WAIT_S)))[0]:
        chunk = os.read(source, 65536)
        if not chunk:
            break
        _write(chunk, 1)
    os.kill(child, _signal.SIGKILL)


def _answer_all(message: Message, write: Callable[[object], None]) -> None:
    """Answer all requests of a message, each by itself; those of one share one after the other.

    Each share has a thread of its own, since any of them may hang.
    """
    if len(message) == 1:
        _answer_share(message[0], write)
        return
    ends = []
    for number, share in enumerate(message):
        end = _thread.allocate_lock()
        end.acquire()
        try:
            _thread.start_new_thread(_answer_share, (share, write, end))
        except RuntimeError:        # no more threads: the rest waits for these
            for rest in message[number:]:
                _answer_share(rest, write)
            break
        ends.append(end)
    for end in ends:
        end.acquire()


def _answer_share(requests: list[tuple[int, dict[str, Any]]], write: Callable[[object], None],
                  end: _thread.LockType | None = None) -> None:
    for index, request in requests:
        write([index, answer(request)])
    if end is not None:
        end.release()


def _inspect_chain(walk: PathWalk, backing: str) -> tuple[int, list[tuple[int, int]]]:
    if sys.argv[1:2] == ['--once'] and 'site' not in sys.modules:
        import site
        site.main()         # oslo.utils is where this Python has it: nothing is the caller's here
    from powervm_fileio_connector.host.probe import qcow2
    return qcow2.inspect_chain(walk.end, walk.directory, backing)


def _write_frame(told: Any) -> None:
    data = marshal.dumps(told)
    _write(len(data).to_bytes(4, 'little') + data, 1)


def _write(data: bytes, sink: int) -> None:
    with _WRITING:
        while data:
            data = data[os.write(sink, data):]


if __name__ == '__main__':
    os.chdir('/')
    if sys.argv[1:2] == ['--once']:
        import json
        serve_once(*json.loads(sys.argv[2]))
    else:
        os.closerange(3, 1 << 20)       # what the caller left open is the caller's
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)       # ignored, it would reap our child
        failure = None
        try:
            guard()
        except OSError as err:      # a probe without a guard could not be ended for certain
            failure = (f'this host cannot start a share probe process: {err.strerror}. Raise the '
                       'limit of processes')
        sys.path += [path for path in sys.argv[1:] if path not in sys.path]
        serve(failure)
