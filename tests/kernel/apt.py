# SPDX-License-Identifier: Apache-2.0
"""Debian packages, downloaded and unpacked below the user's cache directory, never installed.

Remove that directory to have newer ones.
"""

import contextlib
import fcntl
import os
import pathlib
import shutil
import subprocess
import tempfile

_TRIES = 3


class NotAvailable(Exception):
    """The machine cannot be made here: a reason to skip its tests, not to fail them."""


class Apt:
    """This host's apt, or one for another architecture.

    :param architecture: one that the host's apt does not know
    :param directory: where the lists of that architecture are kept
    :raises NotAvailable: there is no apt, or it fails
    """

    def __init__(self, architecture=None, directory=None):
        if shutil.which('apt-get') is None or shutil.which('dpkg-deb') is None:
            raise NotAvailable('its packages come from apt, which is not here')
        self._options = []
        if architecture:
            for place in ('lists/partial', 'cache/archives/partial'):
                (directory / place).mkdir(parents=True)
            (directory / 'status').touch()
            self._options = [word for option in (
                f'APT::Architecture={architecture}', f'APT::Architectures={architecture}',
                f'Dir::State::lists={directory}/lists', f'Dir::State::status={directory}/status',
                f'Dir::Cache={directory}/cache') for word in ('-o', option)]
        # Lists that cannot be renewed may be good enough; the downloads tell.
        with contextlib.suppress(NotAvailable):
            self._run('apt-get', 'update', '-qq')

    def kernel(self, package):
        """Return the name of the package that holds the kernel that another one depends on."""
        for line in self._run('apt-cache', 'depends', package):
            kind, _, name = line.strip().partition(': ')
            if kind == 'Depends' and name.startswith('linux-image-'):
                return name
        raise NotAvailable(f'apt knows no package {package}')

    def needed(self, *packages):
        """Return packages and what they need, but for what the host has."""
        plan = self._run('apt-get', 'install', '--simulate', '--no-install-recommends', *packages)
        return [line.split()[1] for line in plan if line.startswith('Inst ')]

    def download(self, directory, *packages):
        """Download packages, and return their archives."""
        directory.mkdir()
        for left in reversed(range(_TRIES)):
            with contextlib.suppress(NotAvailable if left else ()):
                self._run('apt-get', 'download', '-qq', *packages, cwd=directory)
                break
        return list(directory.iterdir())

    def _run(self, program, *arguments, cwd=None):
        result = subprocess.run(
            [program, *self._options, *arguments], cwd=cwd, capture_output=True, text=True,
            timeout=300, env={**os.environ, 'LC_ALL': 'C'}, check=False)
        if result.returncode:
            raise NotAvailable(f'{program} {arguments[0]} failed: {result.stderr.strip()[-500:]}')
        return result.stdout.splitlines()


def cached(name, make):
    """Return what is in the cache by this name, made there at first use.

    :param make: called with a directory to work in; returns the one in it to keep
    """
    cache = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache',
                         'powervm-fileio-connector')
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / name).exists():
            with tempfile.TemporaryDirectory(dir=cache, ignore_cleanup_errors=True) as work:
                make(pathlib.Path(work)).rename(cache / name)
    return cache / name


def unpacked(name, *packages):
    """Return a tree of packages and what they need, but for what the host has.

    :raises NotAvailable: there is no apt, or it fails
    """
    def make(work):
        apt = Apt()
        return make_tree(work / 'tree', apt.download(work / 'downloads', *apt.needed(*packages)))
    return cached(name, make)


def make_tree(tree, archives):
    """Unpack packages into a new directory, and return it; see :func:`merge_usr`."""
    tree.mkdir(parents=True)
    for archive in archives:
        unpack(archive, tree)
    merge_usr(tree)
    return tree


def unpack(archive, tree, *arguments):
    with subprocess.Popen(['dpkg-deb', '--fsys-tarfile', archive],
                          stdout=subprocess.PIPE) as reader:
        subprocess.run(['tar', '-x', '-C', tree, *arguments], stdin=reader.stdout, check=True)


def merge_usr(tree):
    """Move what lies in /bin, /sbin and /lib below /usr, since these are links on the host.

    Absolute links, such as depmod's to /bin/kmod, are made relative, so that they lead to the
    tree's own files on the host as well.
    """
    for name in ('bin', 'sbin', 'lib', 'lib64'):
        if (tree / name).is_dir():
            shutil.copytree(tree / name, tree / 'usr' / name, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(tree / name)
    for link in filter(pathlib.Path.is_symlink, (tree / 'usr').rglob('*')):
        for target in (f'{tree}{link.readlink()}', f'{tree}/usr{link.readlink()}'):
            if link.readlink().is_absolute() and os.path.lexists(target):
                link.unlink()
                link.symlink_to(os.path.relpath(target, link.parent))


def command(tree, name):
    """Return the arguments that start a program on this host: a tree's, by its own libraries."""
    path = shutil.which(name, path=f'{tree}/usr/bin:{tree}/usr/sbin')
    if path is None:
        return [shutil.which(name) or name]
    libraries = f'{tree}/usr/lib/x86_64-linux-gnu:{tree}/usr/lib'
    return ['env', f'LD_LIBRARY_PATH={libraries}', path]
