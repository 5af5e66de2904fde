# SPDX-License-Identifier: Apache-2.0
"""LIO, the kernel's SCSI target, by configfs; its disks appear in the machine itself (tcm_loop)."""

import contextlib
import itertools
import os
import pathlib
import subprocess

from tests.kernel.lio import tcmu
from tests.kernel.nfs.server import run
from tests.kernel.nfs.server import wait_until

ROOT = pathlib.Path('/sys/kernel/config/target')
MODULES = ('loop', 'sd_mod', 'target_core_mod', 'target_core_file', 'target_core_iblock',
           'target_core_user', 'tcm_loop')

_numbers = itertools.count(1)


def start():
    """Load the target."""
    for module in MODULES:
        run('modprobe', module)
    if not ROOT.exists():
        run('mount', '-t', 'configfs', 'configfs', '/sys/kernel/config')


class Backstore:
    """An object of a backstore.

    :ivar kind: as configfs calls it: ``fileio``, ``iblock`` (for ``loop``), ``user``
    """

    def __init__(self, kind, name=None, hba=0):
        self.directory = ROOT / 'core' / f'{kind}_{hba}' / (name or f'object{next(_numbers)}')
        self.directory.parent.mkdir(exist_ok=True)
        self.directory.mkdir()

    def control(self, words):
        """Write parameters, as they are."""
        descriptor = os.open(self.directory / 'control', os.O_WRONLY)
        try:
            os.write(descriptor, os.fsencode(words))
        finally:
            os.close(descriptor)

    def enable(self):
        (self.directory / 'enable').write_text('1')
        return self

    @property
    def info(self):
        return (self.directory / 'info').read_text(errors='surrogateescape')

    def remove(self):
        self.directory.rmdir()


def fileio(path, size):
    """Return a new object of backstore ``fileio``."""
    store = Backstore('fileio')
    store.control(f'fd_dev_name={path},fd_dev_size={size}')
    return store.enable()


def loop(path):
    """Return a new object of backstore ``loop``, and the loop device that it is on."""
    device = run('losetup', '--find', '--show', path).strip()
    store = Backstore('iblock')
    store.control(f'udev_path={device}')
    return store.enable(), device


def qcow(path, size):
    """Return a new object of backstore ``user:qcow``, which tcmu-runner serves."""
    tcmu.start()
    store = Backstore('user')
    store.control(f'dev_size={size},dev_config=qcow/{path}')
    wait_until(lambda: _is_enabled(store), 60)
    return store


def _is_enabled(store):
    # While it starts, the daemon has the kernel refuse what it could not be told yet.
    with contextlib.suppress(BlockingIOError):
        return store.enable()
    return None


class Target:
    """A target with its LUNs."""

    def __init__(self):
        number = next(_numbers)
        self._group = ROOT / 'loopback' / f'naa.60014050000000{number:02x}' / 'tpgt_1'
        self._group.mkdir(parents=True)
        (self._group / 'nexus').write_text(f'naa.60014051000000{number:02x}')

    def add_command(self, lun, store):
        """Return the shell command that adds a LUN."""
        place = self._group / 'lun' / f'lun_{lun}'
        return f'mkdir {place} && ln -s {store.directory} {place}/store'

    def remove_command(self, lun):
        """Return the shell command that removes a LUN."""
        place = self._group / 'lun' / f'lun_{lun}'
        return f'rm {place}/store && rmdir {place}'

    def add(self, store, lun=0):
        """Add a LUN, and return its disk."""
        run('sh', '-c', self.add_command(lun, store))
        return self.disk(lun)

    def remove(self, lun=0):
        run('sh', '-c', self.remove_command(lun))

    def disk(self, lun):
        address = (self._group / 'address').read_text().strip()
        blocks = pathlib.Path(f'/sys/class/scsi_device/{address}:{lun}/device/block')
        wait_until(lambda: blocks.is_dir() and any(blocks.iterdir()), 20)
        name, = (path.name for path in blocks.iterdir())
        wait_until(pathlib.Path('/dev', name).exists, 20)
        return Disk(name)


class Disk:
    """A disk as the partition that has it sees it."""

    def __init__(self, name):
        self._system = pathlib.Path('/sys/block', name)
        self.device = pathlib.Path('/dev', name)

    @property
    def size(self):
        """In bytes, as last scanned."""
        return int((self._system / 'size').read_text()) * 512

    @property
    def is_busy(self):
        """Whether a request waits for an answer."""
        return (self._system / 'inflight').read_text().split() != ['0', '0']

    def rescan(self):
        (self._system / 'device/rescan').write_text('1')
        return self.size

    def read(self, size=512):
        """Read from the start; never from the page cache."""
        return subprocess.run(
            ['dd', f'if={self.device}', 'bs=512', f'count={size // 512}', 'iflag=direct'],
            capture_output=True, timeout=60, check=True).stdout

    def write(self, data):
        """Write to the start, through the page cache of nobody."""
        subprocess.run(['dd', f'of={self.device}', 'bs=512', 'oflag=direct', 'conv=notrunc'],
                       input=data.ljust(-(-len(data) // 512) * 512, b'\0'), capture_output=True,
                       timeout=60, check=True)
