# SPDX-License-Identifier: Apache-2.0
"""What the virtual machine is made of: Debian packages, downloaded and unpacked."""

import dataclasses
import hashlib
import os
import pathlib
import platform
import subprocess

from tests.kernel import apt
from tests.kernel import initramfs

_KERNEL = 'linux-image-amd64'
# Only those that the host lacks are downloaded; the guest sees the host's files as well.
_TOOLS = ('qemu-system-x86', 'nfs-kernel-server', 'autofs', 'busybox-static', 'kmod', 'iproute2',
          'e2fsprogs')
_KERNEL_PARTS = ('./boot/vmlinuz-*', './lib/modules/*/modules.*', *(
    f'./lib/modules/*/kernel/{part}/*' for part in (
        'arch', 'block', 'crypto', 'drivers/block', 'drivers/scsi', 'drivers/target', 'drivers/uio',
        'drivers/virtio', 'fs', 'lib', 'net')))
_INIT = pathlib.Path(__file__).with_name('init')
# What the initramfs loads before it can see any other module, and where it mounts.
_FIRST_MODULES = ('virtio_pci', '9pnet_virtio', '9p', 'overlay')
_PLACES = ('host', 'packages', 'over', 'root')


@dataclasses.dataclass(frozen=True)
class Packages:
    """Unpacked packages.

    :ivar tools: a tree to lay over the host's, which holds what the host lacks
    :ivar kernel: a tree with the kernel and its modules
    """

    directory: pathlib.Path

    @property
    def tools(self):
        return self.directory / 'tools'

    @property
    def kernel(self):
        return self.directory / 'kernel'

    @property
    def initramfs(self):
        return self.directory / 'initramfs'

    @property
    def kernel_image(self):
        image, = (self.kernel / 'boot').glob('vmlinuz-*')
        return image

    def command(self, name):
        """Return the arguments that start a program on this host, by its own libraries."""
        return apt.command(self.tools, name)


def get():
    """Return the packages, downloaded at first use.

    :raises apt.NotAvailable: not root, another architecture, no apt, or a package cannot be fetched
    """
    if os.geteuid() != 0:
        raise apt.NotAvailable('a virtual machine that reads the whole host needs root')
    if platform.machine() != 'x86_64':
        raise apt.NotAvailable(f'the machine is an x86_64 one, this host is {platform.machine()}')
    made_of = repr((_TOOLS, _KERNEL, _KERNEL_PARTS, _FIRST_MODULES, _INIT.read_text()))
    name = f'machine-{hashlib.md5(made_of.encode()).hexdigest()[:8]}'
    return Packages(apt.cached(name, _make))


def _make(work):
    host = apt.Apt()
    kernel = host.kernel(_KERNEL)
    made = Packages(work / 'machine')
    for tree in (made.tools, made.kernel):
        tree.mkdir(parents=True)
    for archive in host.download(work / 'downloads', kernel, *host.needed(*_TOOLS)):
        if archive.name.startswith(f'{kernel}_'):
            apt.unpack(archive, made.kernel, '--wildcards', *_KERNEL_PARTS)
        else:
            apt.unpack(archive, made.tools)
    for tree in (made.tools, made.kernel):
        apt.merge_usr(tree)
    version = made.kernel_image.name.removeprefix('vmlinuz-')
    subprocess.run([*made.command('depmod'), '-b', made.kernel / 'usr', version], check=True)
    for place in _PLACES:
        (work / 'first' / place).mkdir(parents=True)
    busybox = made.command('busybox')
    initramfs.make(made.initramfs, work / 'first', _INIT, busybox[-1],
                   made.kernel / 'usr/lib/modules' / version, _FIRST_MODULES, busybox)
    return made.directory
