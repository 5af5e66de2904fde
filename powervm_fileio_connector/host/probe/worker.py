# SPDX-License-Identifier: Apache-2.0
"""Probes of shares, in a process of its own that is killed when a share does not answer.

Run as a script by :mod:`powervm_fileio_connector.host.probe`, with the standard library alone and
without site-packages, so that it starts quickly: either kept, below a guard, with frames of marshal
in and out (both ends are the same Python), or once (``--once JSON``, with a line of JSON for each
answer) through the caller's root helper. One that is kept also answers, by further threads, others
of the same caller's process while its own probes hang.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal imports enum: a third of the start
import _thread
import marshal
import os
import select
import sys
import time

if __name__ == '__main__':
    # Our package, but without what its __init__ imports: a script is no part of it.
    package = type(sys)('powervm_fileio_connector.host.probe')
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
    for name in ('powervm_fileio_connector', 'powervm_fileio_connector.host', package.__name__):
        sys.modules[name] = package if name == package.__name__ else type(sys)(name)

from powervm_fileio_connector.host.probe.answers import answer

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

_SHARING = 3                # by which further sockets come, see serve_shared()

_MOST_WAIT_S = 3600.0       # that select() can be asked for at once

_SHORTAGE = ('this host cannot start a share probe {0}: {1}. Raise the limit of processes (threads '
             'count as such)')


def guard() -> None:
    """Return in a child of ours; here, outlive neither it nor the caller.

    :raises OSError: there is no process to be had
    """
    caller = os.getppid()
    child = os.fork()
    if not child:
        return
    for descriptor in (0, 1, _SHARING):     # the worker's end of the socket is the worker's alone
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
    received, write = b'', _writer(1, _frame)
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
            _answer_all(message, write)
        else:
            for index in [index for share in message for index, _ in share]:
                write([index, {'failure': failure}])


def serve_shared() -> None:
    """Answer those to whom the caller lends this process while it is busy with a message.

    Each brings a socket of its own, and is answered by a thread of its own, whatever hangs here.
    """
    import _socket  # socket itself takes long to import
    # A caller's eventlet makes both ends of a socket non-blocking.
    os.set_blocking(_SHARING, True)
    sharing = _socket.socket(fileno=_SHARING)
    while True:
        data, passed, *_ = sharing.recvmsg(1, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
        if not data:
            return              # the caller is gone
        for _, _, descriptor in passed:
            number = int.from_bytes(descriptor, sys.byteorder)
            try:
                _thread.start_new_thread(_serve_one, (number,))
            except RuntimeError:
                os.close(number)        # which tells the caller to try again


def _serve_one(descriptor: int) -> None:
    received = b''
    try:
        os.set_blocking(descriptor, True)
        while len(received) < 4 or len(received) < 4 + int.from_bytes(received[:4], 'little'):
            chunk = os.read(descriptor, 65536)
            if not chunk:
                return
            received += chunk
        message = marshal.loads(received[4:])       # noqa: S302  of our caller
        _answer_all(message, _writer(descriptor, _frame))
    except OSError:
        pass                    # nobody waits for the answer any more
    finally:
        os.close(descriptor)


def serve_once(until: float, message: Message) -> None:
    """Answer one message; ends at ``until`` (``time.monotonic()``) even if a probe does not.

    The root helper's daemon and its caller wait for this process without a limit of their own, so
    the probes are made by a child, which is left to init where it cannot be killed.
    """
    import json
    source, sink = os.pipe()
    child = os.fork()
    if not child:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):        # else the reader of our output would wait for the child's end
            os.dup2(null, fd)
        os.close(source)
        _answer_all(message, _writer(sink, lambda told: json.dumps(told).encode() + b'\n'))
        os.kill(os.getpid(), _signal.SIGKILL)        # without waiting for threads
    os.close(sink)
    while (left := until - time.monotonic()) > 0 and (
            select.select([source], [], [], min(left, _MOST_WAIT_S))[0]):
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
    for share in message:
        end = _thread.allocate_lock()
        end.acquire()
        try:
            _thread.start_new_thread(_answer_share, (share, write, end))
        except RuntimeError as err:
            for index, _ in share:
                write([index, {'failure': _SHORTAGE.format('thread', err)}])
        else:
            ends.append(end)
    for end in ends:
        end.acquire()


def _answer_share(requests: list[tuple[int, dict[str, Any]]], write: Callable[[object], None],
                  end: _thread.LockType | None = None) -> None:
    for index, request in requests:
        write([index, answer(request)])
    if end is not None:
        end.release()


def _writer(sink: int, encode: Callable[[Any], bytes]) -> Callable[[object], None]:
    """Return a function that writes an answer; those of several threads one after the other."""
    writing = _thread.allocate_lock()

    def write(told: object) -> None:
        data = encode(told)
        with writing:
            _write(data, sink)
    return write


def _frame(told: Any) -> bytes:
    data = marshal.dumps(told)
    return len(data).to_bytes(4, 'little') + data


def _write(data: bytes, sink: int) -> None:
    while data:
        data = data[os.write(sink, data):]


if __name__ == '__main__':
    os.chdir('/')
    if sys.argv[1:2] == ['--once']:
        import json
        serve_once(*json.loads(sys.argv[2]))
    else:
        os.closerange(_SHARING + 1, 1 << 20)    # what the caller left open is the caller's
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)       # ignored, it would reap our child
        failure = None
        try:
            guard()
        except OSError as err:      # a probe without a guard could not be ended for certain
            failure = _SHORTAGE.format('process', err.strerror)
        else:
            os.set_blocking(0, True)
            _thread.start_new_thread(serve_shared, ())
        sys.path += [path for path in sys.argv[1:] if path not in sys.path]
        serve(failure)
