# SPDX-License-Identifier: Apache-2.0
"""The machine as a NovaLink partition: its mounts, and connectors for two LPARs.

Only the package's public contract is used; what its processes do is seen in /proc.
"""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import subprocess

from os_brick import exception as brick_exception
from oslo_config import cfg

import powervm_fileio_connector as pfc
from powervm_fileio_connector.simulator import NovaLinkSimulator
from tests.kernel.nfs import server as nfs_server
from tests.kernel.nfs.server import run
from tests.kernel.nfs.server import wait_until

# Imports what the package leaves until it is needed, here once for all processes.
assert pfc.FileIOConnector
assert pfc.factory

BASE = pathlib.Path('/mnt/base')
SIZE = 1 << 20
# For all probes of a call, on a busy host; where something answers, nothing waits for so long.
LONG_S = 120
SHORT_S = 2     # where nothing can answer
# What was cached stays cached, so that no case depends on how fast it runs.
CACHING = 'actimeo=600'


def place_of(export):
    """Return where Nova and Cinder would mount an export."""
    return BASE / hashlib.md5(export.encode()).hexdigest()


class Site:
    """Server, client and NovaLink in one machine."""

    def __init__(self, novalink, server, tables):
        self.server = server
        self._novalink = novalink
        self._tables = tables
        self._attached = []
        self._kept = {}
        self._adapter = novalink.adapter()
        self._connectors = {}

    @classmethod
    @contextlib.contextmanager
    def started(cls, server, tables):
        with NovaLinkSimulator(lpars=2) as novalink:
            site = cls(novalink, server, tables)
            yield site
            site.unmount_kept()

    def connector(self, lpar=1, timeout_s=LONG_S):
        """Return the connector of the first or the second LPAR."""
        if (lpar, timeout_s) not in self._connectors:
            self._connectors[lpar, timeout_s] = pfc.factory(
                'file', None, adapter=self._adapter, lpar_uuid=self._novalink.lpars[lpar - 1].uuid,
                conf=_configuration(timeout_s))
        return self._connectors[lpar, timeout_s]

    def attach(self, properties, lpar=1, timeout_s=LONG_S):
        """Attach, until :meth:`detach_all`; the first LPAR unless told otherwise."""
        info = self.connector(lpar, timeout_s).connect_volume(properties)
        self._attached.append((properties, lpar, info))
        return info

    def detach(self, properties, info=None, lpar=1):
        self.connector(lpar, SHORT_S).disconnect_volume(properties, info)

    def detach_all(self):
        while self._attached:
            properties, lpar, info = self._attached.pop()
            self.detach(properties, info, lpar)

    def mapped_paths(self):
        return [mapping.path for mapping in self._novalink.mappings()]

    @contextlib.contextmanager
    def refused(self, *errors):
        """Expect one of these errors, and that it changes no mapping."""
        before = self.mapped_paths()
        try:
            yield
        except errors:
            pass
        except brick_exception.BrickException as err:
            raise AssertionError(f'{type(err).__name__}, not {_names(errors)}: {err}') from err
        else:
            raise AssertionError(f'accepted; {_names(errors)} was expected')
        finally:
            mapped = self.mapped_paths()
        assert mapped == before, mapped

    # -- mounts ----------------------------------------------------------------------------

    @contextlib.contextmanager
    def mounted(self, source, version, options='', place=None):
        """Mount an export, at its conventional place unless told otherwise."""
        place = place or place_of(source)
        place.mkdir(parents=True, exist_ok=True)
        words = ','.join(filter(None, (f'vers={version}', CACHING, options)))
        run('mount', '-t', 'nfs', '-o', words, source, place)
        try:
            yield place
        finally:
            self.unmount(place)

    def keep_mounted(self, source, version):
        """Mount an export and leave it mounted for the groups that follow, if of the same version.

        To mount one takes as long as half a group.
        """
        if any(kept_version != version for _, kept_version in self._kept):
            self.unmount_kept()
        if (source, version) not in self._kept:
            mount = contextlib.ExitStack()
            mount.enter_context(self.mounted(source, version))
            self._kept[source, version] = mount

    def unmount_kept(self):
        while self._kept:
            self._kept.popitem()[1].close()

    @contextlib.contextmanager
    def bound(self, source, place):
        """Bind a directory, or a file, elsewhere."""
        place.mkdir(parents=True, exist_ok=True)
        run('mount', '--bind', source, place)
        try:
            yield place
        finally:
            self.unmount(place)

    def unmount(self, place):
        """Unmount, which the kernel allows only while no process uses the mount."""
        wait_until(lambda: subprocess.run(
            ['umount', '--recursive', place], capture_output=True, check=False).returncode == 0, 20)

    def record_table(self, group, subject):
        """Keep the lines that NFS and autofs have in the mount table now.

        Of the mounts that the kernel makes by itself on an NFS mount, that is those which lead to
        the subject's file: whether there are others depends on what else was probed.
        """
        path = subject.by_path['path'] if isinstance(subject, Share) else ''
        with open('/proc/self/mountinfo') as table:
            lines = [line for line in table if _is_of_shares(line)]
        of_nfs = {line.split()[0] for line in lines if _kind(line) != 'autofs'}
        lines = [line for line in lines if line.split()[1] not in of_nfs
                 or path.startswith(f'{line.split()[4]}/')]
        with open(self._tables, 'a') as file:
            file.writelines([f'# {group}\n', *lines])


@dataclasses.dataclass(frozen=True)
class Share:
    """What the checks of a group are about: one file, and how it is reached.

    :ivar file: the file as the server has it
    """

    site: Site
    file: pathlib.Path
    by_export: dict
    by_path: dict
    by_other_export: dict | None = None

    def grow(self):
        """Make the file larger at the server, and return its new size."""
        size = self.file.stat().st_size + SIZE
        with open(self.file, 'r+b') as file:
            file.truncate(size)
        return size


def make_volume(directory, name):
    """Make a volume at the server, and return its path there."""
    path = nfs_server.ROOT / directory / name
    with open(path, 'wb') as file:
        file.truncate(SIZE)
    return path


def by_export(export, name):
    return {'export': export, 'name': name, 'format': 'raw', 'options': None}


def by_path(path):
    return {'path': str(path), 'format': 'raw'}


def no_process_is_left(share):
    """Wait for the package's processes to let go of all shares, and to be reaped."""
    share.site.detach_all()
    assert not share.site.mapped_paths()
    wait_until(lambda: not _users_of('/mnt', '/auto') and not _zombies(), 20)


def _users_of(*directories):
    """Return the Python processes with an open file or directory below one of these.

    Others run cases at the same time, with mounts of their own.
    """
    found = []
    mounts = os.readlink('/proc/self/ns/mnt')
    for process in pathlib.Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError):      # it is the kernel's, or has just ended
            if not (process / 'exe').readlink().name.startswith('python'):
                continue
            if os.readlink(process / 'ns/mnt') != mounts:
                continue
            for link in (process / 'cwd', process / 'root', *(process / 'fd').iterdir()):
                if link.readlink().as_posix().startswith(directories):
                    found.append(process.name)
    return found


def _zombies():
    found = []
    for task in pathlib.Path('/proc/self/task').iterdir():
        for child in (task / 'children').read_text().split():
            with contextlib.suppress(FileNotFoundError):
                state = pathlib.Path('/proc', child, 'stat').read_text().rpartition(')')[2]
                found += [child] * (state.split()[0] == 'Z')
    return found


def _is_of_shares(line):
    return _kind(line) in ('nfs', 'nfs4', 'autofs')


def _kind(line):
    return line.partition(' - ')[2].split()[0]


def _configuration(probe_timeout_s):
    path = pathlib.Path(f'/run/powervm-fileio-{os.getpid()}-{probe_timeout_s}.conf')
    path.write_text(f'[powervm_fileio]\nprobe_timeout_s = {probe_timeout_s}\n'
                    f'mount_point_base = {BASE}\n')
    configuration = cfg.ConfigOpts()
    configuration(['--config-file', str(path)], project='powervm-fileio')
    return configuration


def _names(errors):
    return ' or '.join(error.__name__ for error in errors)
