# SPDX-License-Identifier: Apache-2.0
"""The Power guest's kernel and initramfs, of Debian's packages for ppc64el."""

import dataclasses
import hashlib
import pathlib
import shutil
import subprocess

from tests.kernel import apt
from tests.kernel import initramfs

_KERNEL = 'linux-image-powerpc64le'
_TOOLS = ('qemu-system-ppc', 'kmod', 'qemu-utils', 'busybox-static')
_MODULES = ('sd_mod', 'ibmvscsi')
_KERNEL_PARTS = ('./boot/vmlinu?-*', './lib/modules/*/modules.*', *(
    f'./lib/modules/*/kernel/{part}/*' for part in ('block', 'crypto', 'drivers/scsi', 'lib')))
_INIT = pathlib.Path(__file__).with_name('init')


@dataclasses.dataclass(frozen=True)
class Guest:
    """What the guest is made of, and the tree with the programs that the host lacks."""

    tools: pathlib.Path
    kernel: pathlib.Path
    initramfs: pathlib.Path


def get():
    """Return them, downloaded at first use.

    :raises apt.NotAvailable: no apt, or a package cannot be fetched
    """
    tools = apt.unpacked('guest-tools', *_TOOLS)
    made_of = repr((_KERNEL, _KERNEL_PARTS, _MODULES, _INIT.read_text()))
    name = f'guest-{hashlib.md5(made_of.encode()).hexdigest()[:8]}'
    made = apt.cached(name, lambda work: _make(work, tools))
    return Guest(tools, made / 'vmlinux', made / 'initramfs')


def _make(work, tools):
    made, tree, busybox = work / 'guest', work / 'kernel', work / 'busybox'
    for directory in (made, tree, busybox):
        directory.mkdir()
    power = apt.Apt('ppc64el', work / 'apt')
    kernel = power.kernel(_KERNEL)
    for archive in power.download(work / 'downloads', kernel, 'busybox-static'):
        if archive.name.startswith(f'{kernel}_'):
            apt.unpack(archive, tree, '--wildcards', *_KERNEL_PARTS)
        else:
            apt.unpack(archive, busybox)
    apt.merge_usr(busybox)
    image, = (tree / 'boot').glob('vmlinu?-*')
    shutil.copy(image, made / 'vmlinux')
    version = image.name.partition('-')[2]
    subprocess.run([*apt.command(tools, 'depmod'), '-b', tree, version], check=True)
    initramfs.make(made / 'initramfs', work / 'root', _INIT, busybox / 'usr/bin/busybox',
                   tree / 'lib/modules' / version, _MODULES, apt.command(tools, 'busybox'))
    return made
