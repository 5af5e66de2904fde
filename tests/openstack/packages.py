# SPDX-License-Identifier: Apache-2.0
"""RabbitMQ and MariaDB from Debian's packages: downloaded and unpacked, never installed.

They are kept below the user's cache directory. Remove that directory to have newer ones.
"""

import contextlib
import fcntl
import os
import pathlib
import shutil
import subprocess
import tempfile

_WANTED = ('rabbitmq-server', 'mariadb-server-core', 'mariadb-client-core')
_TRIES = 3


class NotAvailable(Exception):
    """Cinder's services cannot be run here: a reason to skip the tests, not to fail them."""


def get():
    """Return a tree to lay over ``/usr``, downloaded at first use.

    :raises NotAvailable: not root, no apt, or a package cannot be fetched
    """
    if os.geteuid() != 0:
        raise NotAvailable('mounting what Cinder mounts needs root')
    if shutil.which('apt-get') is None or shutil.which('dpkg-deb') is None:
        raise NotAvailable('its packages come from apt, which is not here')
    cache = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache',
                         'powervm-fileio-connector')
    cache.mkdir(parents=True, exist_ok=True)
    unpacked = cache / 'openstack'
    with open(cache / 'openstack.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not unpacked.exists():
            with tempfile.TemporaryDirectory(dir=cache) as work:
                _make(pathlib.Path(work))
                pathlib.Path(work, 'tree').rename(unpacked)
    return unpacked / 'usr'


def _make(work):
    # Lists that cannot be renewed may be good enough; the downloads tell.
    subprocess.run(['apt-get', 'update', '-qq'], check=False, timeout=120)
    plan = _apt('apt-get', 'install', '--simulate', '--no-install-recommends', *_WANTED)
    needed = [line.split()[1] for line in plan if line.startswith('Inst ')]
    downloads, tree = work / 'downloads', work / 'tree'
    downloads.mkdir()
    for left in reversed(range(_TRIES)):
        with contextlib.suppress(NotAvailable if left else ()):
            _apt('apt-get', 'download', '-qq', *(needed or _WANTED), cwd=downloads)
            break
    for archive in downloads.iterdir():
        subprocess.run(['dpkg-deb', '-x', archive, tree], check=True)
    for name in ('bin', 'sbin', 'lib'):
        if (tree / name).is_dir():
            shutil.copytree(tree / name, tree / 'usr' / name, symlinks=True, dirs_exist_ok=True)


def _apt(*command, cwd=None):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300,
                          env={**os.environ, 'LC_ALL': 'C'}, check=False)
    if done.returncode:
        raise NotAvailable(f'{" ".join(command[:2])} failed: {done.stderr.strip()[-500:]}')
    return done.stdout.splitlines()
