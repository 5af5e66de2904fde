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

_KERNEL = 'user-mode-linux'
# Only those that the host lacks are downloaded; the guest sees the host's files as well.
_TOOLS = ('nfs-kernel-server', 'autofs', 'busybox-static', 'kmod', 'iproute2', 'e2fsprogs')
_INIT = pathlib.Path(__file__).with_name('init')
# What the initramfs loads before it can see any other module, and where it mounts.
_FIRST_MODULES = ('overlay',)
_PLACES = ('host', 'packages', 'more', 'over', 'system')


@dataclasses.dataclass(frozen=True)
class Packages:
    """Unpacked packages.

    :ivar tree: what is laid over the host's files, with the kernel and its modules
    """

    directory: pathlib.Path

    @property
    def tree(self):
        return self.directory / 'tree'

    @property
    def initramfs(self):
        return self.directory / 'initramfs'

    def command(self, name):
        """Return the arguments that start a program on this host, by its own libraries."""
        return apt.command(self.tree, name)


def get():
    """Return the packages, downloaded at first use.

    :raises apt.NotAvailable: not root, another architecture, no apt, or a package cannot be fetched
    """
    if os.geteuid() != 0:
        raise apt.NotAvailable('a virtual machine that reads the whole host needs root')
    if platform.machine() != 'x86_64':
        raise apt.NotAvailable(f'the machine is an x86_64 one, this host is {platform.machine()}')
    made_of = repr((_KERNEL, _TOOLS, _FIRST_MODULES, _INIT.read_text()))
    name = f'machine-{hashlib.md5(made_of.encode()).hexdigest()[:8]}'
    return Packages(apt.cached(name, _make))


def _make(work):
    host = apt.Apt()
    made = Packages(work / 'machine')
    apt.make_tree(made.tree, host.download(work / 'downloads', _KERNEL, *host.needed(*_TOOLS)))
    # modprobe and depmod of Debian 12 look below /lib, those of 13 below /usr/lib.
    (made.tree / 'lib').symlink_to('usr/lib')
    (made.tree / 'usr/lib/modules').symlink_to('uml/modules')
    modules, = (made.tree / 'usr/lib/modules').iterdir()
    subprocess.run([*made.command('depmod'), '-b', made.tree, modules.name], check=True)
    for place in _PLACES:
        (work / 'first' / place).mkdir(parents=True)
    busybox = made.command('busybox')
    initramfs.make(made.initramfs, work / 'first', _INIT, busybox[-1], modules, _FIRST_MODULES,
                   busybox)
    return made.directory
