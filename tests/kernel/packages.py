# SPDX-License-Identifier: Apache-2.0
"""What the virtual machine is made of: Debian packages, downloaded and unpacked."""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import lzma
import os
import pathlib
import platform
import struct
import subprocess

from tests.kernel import apt
from tests.kernel import initramfs

_KERNEL = 'linux-image-amd64'
# Only those that the host lacks are downloaded; the guest sees the host's files as well.
_TOOLS = ('qemu-system-x86', 'nfs-kernel-server', 'autofs', 'busybox-static', 'kmod', 'iproute2',
          'e2fsprogs')
# They lie below /lib in Debian 12, and below /usr/lib in 13.
_KERNEL_PARTS = ('./boot/vmlinuz-*', '*/lib/modules/*/modules.*', *(
    f'*/lib/modules/*/kernel/{part}/*' for part in (
        'arch', 'block', 'crypto', 'drivers/block', 'drivers/scsi', 'drivers/target', 'drivers/uio',
        'drivers/virtio', 'fs', 'lib', 'net')))
_INIT = pathlib.Path(__file__).with_name('init')
# What the initramfs loads before it can see any other module, and where it mounts.
_FIRST_MODULES = ('virtio_pci', '9pnet_virtio', '9p', 'overlay')
_PLACES = ('host', 'packages', 'over', 'system')
_UNPACKED_KERNEL = 'vmlinux'
# The note by which QEMU finds where a kernel that is not in an image begins: lengths, type, owner.
_PVH_NOTE = struct.pack('<III4s', 4, 8, 18, b'Xen')


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
    def packed_kernel(self):
        image, = (self.kernel / 'boot').glob('vmlinuz-*')
        return image

    @property
    def unpacked_kernel(self):
        return self.directory / _UNPACKED_KERNEL

    @property
    def kernel_image(self):
        """What QEMU starts."""
        return self.unpacked_kernel if self.unpacked_kernel.exists() else self.packed_kernel

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
    made_of = repr((_TOOLS, _KERNEL, _KERNEL_PARTS, _FIRST_MODULES, _UNPACKED_KERNEL,
                    _INIT.read_text()))
    name = f'machine-{hashlib.md5(made_of.encode()).hexdigest()[:8]}'
    return Packages(apt.cached(name, _make))


def _make(work):
    host = apt.Apt()
    made = Packages(work / 'machine')
    with concurrent.futures.ThreadPoolExecutor() as pool:
        making = [pool.submit(_make_tree, *arguments) for arguments in (
            (host, work / 'kernels', made.kernel, lambda: [host.kernel(_KERNEL)], '--wildcards',
             *_KERNEL_PARTS),
            (host, work / 'downloads', made.tools, lambda: host.needed(*_TOOLS)))]
    for made_tree in making:
        made_tree.result()
    _unpack(made.packed_kernel, made.unpacked_kernel)
    version = made.packed_kernel.name.removeprefix('vmlinuz-')
    # depmod of Debian 12 looks below /lib, that of 13 below /usr/lib.
    (made.kernel / 'lib').symlink_to('usr/lib')
    subprocess.run([*made.command('depmod'), '-b', made.kernel, version], check=True)
    for place in _PLACES:
        (work / 'first' / place).mkdir(parents=True)
    busybox = made.command('busybox')
    initramfs.make(made.initramfs, work / 'first', _INIT, busybox[-1],
                   made.kernel / 'usr/lib/modules' / version, _FIRST_MODULES, busybox)
    return made.directory


def _make_tree(host, downloads, tree, names, *arguments):
    tree.mkdir(parents=True)
    for archive in host.download(downloads, *names()):
        apt.unpack(archive, tree, *arguments)
    apt.merge_usr(tree)


def _unpack(image, kernel):
    """Unpack the kernel of an image, which takes a second here, and an emulated machine seven.

    One that is packed in a way that this Python does not know, or that QEMU could not start then,
    is left packed. The fields of the header are those that the kernel's ``boot.rst`` describes.
    """
    data = image.read_bytes()
    offset, length = struct.unpack_from('<II', data, 0x248)
    begin = (data[0x1f1] + 1) * 512 + offset
    with contextlib.suppress(lzma.LZMAError):
        # The length of what is unpacked follows.
        unpacked = lzma.decompress(data[begin:begin + length - 4])
        if _PVH_NOTE in unpacked:
            kernel.write_bytes(unpacked)
