# SPDX-License-Identifier: Apache-2.0
"""A share that does as it is told: ``fuse_share.py MOUNT_POINT FSNAME SUBTYPE``.

It holds one file, ``volume-1``, which can also be opened by any longer name. Commands come on
standard input, one word a line: ``answer``, ``any-case`` (the file has its name in any case),
``hang``, ``stale``, ``stale-once``, ``deny``, ``only-once`` (deny all processes but those that
were started with ``--once``) and ``only-once-hang`` (the same, and hang for those). On standard
output it says ``ready`` when it is mounted, ``done`` after each command, and ``taken`` when it
holds a request that it does not answer.
"""

import errno
import pathlib
import stat
import sys
import threading

import fuse

SIZE = 1 << 20
# What ceph-fuse tells of a file.
CEPH = {'ceph.cluster_fsid': b'b7f5cd4e-1111-4000-8000-000000000001',
        'ceph.file.layout.pool': b'data'}


class Share(fuse.Operations):
    def __init__(self):
        self._mode = 'answer'
        self._changed = threading.Condition()

    def init(self, path):
        threading.Thread(target=self._obey, daemon=True).start()
        say('ready')

    def getattr(self, path, fh=None):
        self._pass()
        if path == '/':
            return {'st_mode': stat.S_IFDIR | 0o755, 'st_nlink': 2, 'st_ino': 1}
        name = path.lower() if self._mode == 'any-case' else path
        if name.startswith('/volume-1'):
            return {'st_mode': stat.S_IFREG | 0o600, 'st_nlink': 1, 'st_size': SIZE,
                    'st_ino': 2}
        raise fuse.FuseOSError(errno.ENOENT)

    def getxattr(self, path, name, position=0):
        self._pass()
        if name in CEPH:
            return CEPH[name]
        raise fuse.FuseOSError(errno.ENODATA)

    def readdir(self, path, fh):
        self._pass()
        return ['.', '..', 'volume-1', '.hidden']

    def read(self, path, size, offset, fh):
        self._pass()
        return b'\0' * max(0, min(size, SIZE - offset))

    def _pass(self):
        with self._changed:
            if self._mode == 'hang' or (self._mode == 'only-once-hang' and asked_once()):
                mode = self._mode
                say('taken')
                self._changed.wait_for(lambda: self._mode != mode)
            if self._mode.startswith('stale'):
                if self._mode == 'stale-once':
                    self._mode = 'answer'
                raise fuse.FuseOSError(errno.ESTALE)
            if self._mode == 'deny' or (self._mode.startswith('only-once') and not asked_once()):
                raise fuse.FuseOSError(errno.EACCES)

    def _obey(self):
        for line in sys.stdin:
            with self._changed:
                self._mode = line.strip()
                self._changed.notify_all()
            say('done')


def asked_once():
    _, _, pid = fuse.fuse_get_context()
    return b'--once' in pathlib.Path(f'/proc/{pid}/cmdline').read_bytes().split(b'\0')


def say(word):
    sys.stdout.write(word + '\n')
    sys.stdout.flush()


if __name__ == '__main__':
    place, fsname, subtype = sys.argv[1:]
    fuse.FUSE(Share(), place, foreground=True, nothreads=True, fsname=fsname, subtype=subtype,
              use_ino=True, attr_timeout=0, entry_timeout=0, negative_timeout=0)
