# SPDX-License-Identifier: Apache-2.0
"""Looks at shares, in a process of its own that is killed when a share does not answer.

Run as a script by :mod:`powervm_fileio_connector.probe`, with the standard library alone and
without site-packages, so that it starts quickly: either kept, with one JSON line in and one out for
each look, or once (``--once REQUEST``) through the caller's root helper.

Nothing is ever written, and no file but a declared qcow2 is opened for reading: what is asked of a
file is asked through ``O_PATH`` descriptors, which need no permission on the file itself.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import stat
import sys

TYPE_CHECKING = False       # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Any

# Between two looks: how often a kept worker makes sure that its parent still lives. The end of its
# input says so too, unless a process forked from the parent holds the other end open.
_PARENT_CHECK_S = 30

_MOST_LINKS = 40        # as the kernel's own limit

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ANYTHING = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Refused(Exception):
    """What was found may not be handed to an LPAR.

    :param kind: ``path``, ``format`` or ``encrypted``
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class Trail:
    """A path followed by hand, one component at a time, so that no symlink is followed unseen.

    Each component is opened relative to the one before and without following links, so a component
    that is swapped meanwhile is met as what it then is, never followed. (openat2's RESOLVE_BENEATH
    does as much, but not before Linux 5.6, and does not tell the canonical path.)

    :param start: the directory that it starts from
    :param is_confined: whether a link that leads out of ``start`` is refused, rather than taken as
        starting at the root directory; an absolute link that names a place below ``start`` stays
    """

    def __init__(self, start: str, is_confined: bool) -> None:
        self.names: list[str] = []
        self._start = start
        self._is_confined = is_confined
        self._opened = [os.open(start, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
        self._passed = self._opened[:]

    def __enter__(self) -> Trail:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for fd in self._opened:
            os.close(fd)

    @property
    def end(self) -> int:
        """Descriptor of the last component."""
        return self._passed[-1]

    @property
    def directory(self) -> int:
        """Descriptor of the directory that holds the last component."""
        return self._passed[-2]

    def follow(self, path: str, to_directory: bool = False) -> None:
        """Go on along ``path``; ``names`` then is the way without symlinks.

        :raises Refused: a link leads out of where the trail is confined to
        :raises OSError: what the file system said
        """
        links = 0
        todo = path.split('/')[::-1]
        while todo:
            name = todo.pop()
            if name == '..':
                self._climb()
            elif name not in ('', '.'):
                target = self._step(name, is_directory=bool(todo) or to_directory)
                if target is not None:
                    links += 1
                    if links > _MOST_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                    if target.startswith('/'):
                        target = self._restart(target)
                    todo.extend(target.split('/')[::-1])

    def _step(self, name: str, is_directory: bool) -> str | None:
        """Pass one component; where it is a symlink, return its target instead."""
        if is_directory:
            # O_DIRECTORY also makes autofs mount what belongs here.
            try:
                self._pass(name, self._open(name, _DIRECTORY))
                return None
            except NotADirectoryError:
                pass        # a symlink, or really no directory
        fd = self._open(name, _ANYTHING)
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            return os.readlink('', dir_fd=fd)
        if is_directory:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        self._pass(name, fd)
        return None

    def _open(self, name: str, flags: int) -> int:
        fd = os.open(name, flags, dir_fd=self.end)
        self._opened.append(fd)
        return fd

    def _pass(self, name: str, fd: int) -> None:
        self.names.append(name)
        self._passed.append(fd)

    def _climb(self) -> None:
        if self.names:
            self.names.pop()
            self._passed.pop()
        elif self._is_confined:
            raise Refused('path', "a symlink leads out of the mount with '..'")

    def _restart(self, target: str) -> str:
        """Go back to the start, and return the rest of an absolute target from there."""
        if self._is_confined:
            inside = self._start.rstrip('/') + '/'
            if not target.startswith(inside):
                raise Refused('path', f'a symlink leads out of the mount, to {target!r}')
            target = target[len(inside):]
        self.names.clear()
        del self._passed[1:]
        return target


def look(request: dict[str, Any]) -> dict[str, Any]:
    """Say everything about one file of a mount.

    :param request: ``mount_point``, ``mount_id`` (expected there, or None), ``path`` below it, and
        ``inspect``: None, or how to treat the backing file of a qcow2
    """
    with Trail(request['mount_point'], is_confined=True) as trail:
        mount_id = _mount_id(trail.end)
        if request['mount_id'] not in (None, mount_id):
            return {'mount_id': mount_id}
        os.fstat(trail.end)         # is the server there, and does it know the mount's root
        trail.follow(request['path'])
        if not trail.names:
            raise Refused('path', 'it is the mount itself')
        if _mount_id(trail.end) != mount_id:
            raise Refused('path', 'another file system is mounted over it')
        seen = os.fstat(trail.end)
        facts = {'mount_id': mount_id, 'path': '/'.join(trail.names), 'mode': seen.st_mode,
                 'dev': seen.st_dev, 'ino': seen.st_ino, 'size': seen.st_size,
                 'root_dev': os.stat('/').st_dev}
        if stat.S_ISBLK(seen.st_mode):
            facts.update(_block_device(seen.st_rdev))
        if request.get('inspect') and stat.S_ISREG(seen.st_mode) and seen.st_size:
            facts['size'] = _qcow2().virtual_size(
                trail.end, trail.directory, request['inspect'], Refused)
        return facts


def where(request: dict[str, Any]) -> dict[str, Any]:
    """Say where a directory really is, and on which mount; autofs mounts it at this.

    Where it does not exist: how far the path does, with the error beside.

    :param request: ``path``, absolute
    """
    with Trail('/', is_confined=False) as trail:
        failed: dict[str, Any] = {}
        try:
            trail.follow(request['path'], to_directory=True)
            os.fstat(trail.end)
        except OSError as err:
            failed = {'errno': err.errno}
        return failed | {'path': '/' + '/'.join(trail.names), 'mount_id': _mount_id(trail.end)}


def files(request: dict[str, Any]) -> dict[str, Any]:
    """Name the regular files directly in a directory, but for those that begin with a dot.

    :param request: ``path``, absolute
    """
    with os.scandir(request['path']) as entries:
        return {'names': [entry.name for entry in entries
                          if not entry.name.startswith('.')
                          and entry.is_file(follow_symlinks=False)]}


_LOOKS = {'look': look, 'where': where, 'files': files}


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
            _write(json.dumps(answer(json.loads(received))).encode() + b'\n')
            received = b''


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


def _block_device(rdev: int) -> dict[str, Any]:
    """Return the size of a block device, and the numbers of it and its partitions.

    From sysfs, since opening a device may need permissions and can wake it up.
    """
    number = f'{os.major(rdev)}:{os.minor(rdev)}'
    place = f'/sys/dev/block/{number}'
    with open(f'{place}/size') as size:
        sectors = int(size.read())
    numbers = [number]
    for name in os.listdir(place):
        if os.path.exists(f'{place}/{name}/partition'):
            with open(f'{place}/{name}/dev') as partition:
                numbers.append(partition.read().strip())
    return {'size': sectors * 512, 'devices': numbers}


def _qcow2() -> Any:
    """Load the module beside this one; our package is out of reach here, and needs too much."""
    module = sys.modules.get('qcow2')
    if module is None:
        import importlib.util
        import site
        if sys.flags.no_site:
            site.main()         # oslo.utils lives in site-packages
        place = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'qcow2.py')
        spec = importlib.util.spec_from_file_location('qcow2', place)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules['qcow2'] = module
    return module


def _write(data: bytes, fd: int = 1) -> None:
    while data:
        data = data[os.write(fd, data):]


if __name__ == '__main__':
    signal.pthread_sigmask(signal.SIG_SETMASK, ())      # our parent's mask is not ours
    if sys.argv[1:2] == ['--once']:
        serve_once(json.loads(sys.argv[2]))
    else:
        serve()
