# SPDX-License-Identifier: Apache-2.0
"""What the virtual machine is made of: Debian packages, downloaded and unpacked, never installed.

They are kept below the user's cache directory. Remove that directory to have newer ones.
"""

import contextlib
import dataclasses
import fcntl
import os
import pathlib
import platform
import shutil
import subprocess
import tempfile

_TRIES = 3
_KERNEL = 'linux-image-amd64'
# Only those that the host lacks are downloaded; the guest sees the host's files as well.
_TOOLS = ('qemu-system-x86', 'nfs-kernel-server', 'autofs', 'busybox-static', 'kmod', 'iproute2',
          'e2fsprogs')
_KERNEL_PARTS = ('./boot/vmlinuz-*', './lib/modules/*/modules.*', *(
    f'./lib/modules/*/kernel/{part}/*' for part in (
        'arch', 'crypto', 'drivers/block', 'drivers/scsi', 'drivers/target', 'drivers/uio',
        'drivers/virtio', 'fs', 'lib', 'net')))
# What the initramfs loads before it can see any other module.
_FIRST_MODULES = ('virtio_pci', '9pnet_virtio', '9p', 'overlay')


class NotAvailable(Exception):
    """The machine cannot be made here: a reason to skip its tests, not to fail them."""


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
        path = shutil.which(name, path=f'{self.tools}/usr/bin:{self.tools}/usr/sbin')
        if path is None:
            return [shutil.which(name) or name]
        libraries = f'{self.tools}/usr/lib/x86_64-linux-gnu:{self.tools}/usr/lib'
        return ['env', f'LD_LIBRARY_PATH={libraries}', path]


def get():
    """Return the packages, downloaded at first use.

    :raises NotAvailable: not root, another architecture, no apt, or a package cannot be fetched
    """
    if os.geteuid() != 0:
        raise NotAvailable('a virtual machine that reads the whole host needs root')
    if platform.machine() != 'x86_64':
        raise NotAvailable(f'the machine is an x86_64 one, this host is {platform.machine()}')
    if shutil.which('apt-get') is None or shutil.which('dpkg-deb') is None:
        raise NotAvailable('its packages come from apt, which is not here')
    cache = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache',
                         'powervm-fileio-connector')
    cache.mkdir(parents=True, exist_ok=True)
    unpacked = cache / 'machine'
    with open(cache / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not unpacked.exists():
            with tempfile.TemporaryDirectory(dir=cache, ignore_cleanup_errors=True) as work:
                made = _make(pathlib.Path(work))
                made.directory.rename(unpacked)
    return Packages(unpacked)


def _make(work):
    downloads = work / 'downloads'
    downloads.mkdir()
    kernel = _download(downloads)
    made = Packages(work / 'machine')
    for tree in (made.tools, made.kernel):
        tree.mkdir(parents=True)
    for archive in downloads.iterdir():
        if archive.name.startswith(f'{kernel}_'):
            _unpack(archive, made.kernel, '--wildcards', *_KERNEL_PARTS)
        else:
            _unpack(archive, made.tools)
    for tree in (made.tools, made.kernel):
        _merge_usr(tree)
    version = made.kernel_image.name.removeprefix('vmlinuz-')
    subprocess.run([*made.command('depmod'), '-b', made.kernel / 'usr', version], check=True)
    _make_initramfs(made, work / 'first')
    return made


def _download(downloads):
    """Download all packages, and return the name of the one that holds the kernel."""
    # Lists that cannot be renewed may be good enough; the downloads tell.
    subprocess.run(['apt-get', 'update', '-qq'], check=False, timeout=120)
    depends = _apt('apt-cache', 'depends', _KERNEL)
    kernel = next((name for kind, _, name in (line.strip().partition(': ') for line in depends)
                   if kind == 'Depends' and name.startswith('linux-image-')), None)
    if kernel is None:
        raise NotAvailable(f'apt knows no package {_KERNEL}')
    plan = _apt('apt-get', 'install', '--simulate', '--no-install-recommends', *_TOOLS)
    needed = [line.split()[1] for line in plan if line.startswith('Inst ')]
    for left in reversed(range(_TRIES)):
        with contextlib.suppress(NotAvailable if left else ()):
            _apt('apt-get', 'download', '-qq', kernel, *needed, cwd=downloads)
            return kernel
    raise AssertionError('unreachable')


def _apt(*command, cwd=None):
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300,
                            env={**os.environ, 'LC_ALL': 'C'}, check=False)
    if result.returncode:
        raise NotAvailable(f'{" ".join(command[:2])} failed: {result.stderr.strip()[-500:]}')
    return result.stdout.splitlines()


def _unpack(archive, tree, *arguments):
    with subprocess.Popen(['dpkg-deb', '--fsys-tarfile', archive],
                          stdout=subprocess.PIPE) as reader:
        subprocess.run(['tar', '-x', '-C', tree, *arguments], stdin=reader.stdout, check=True)


def _merge_usr(tree):
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


def _make_initramfs(made, root):
    """Make a root of busybox and the modules that the real root needs."""
    modules, = (made.kernel / 'usr/lib/modules').iterdir()
    for directory in ('bin', 'modules', 'proc', 'sys', 'dev', 'host', 'packages', 'over', 'root'):
        (root / directory).mkdir(parents=True)
    busybox = made.command('busybox')[-1]
    shutil.copy(busybox, root / 'bin/busybox')
    (root / 'bin/sh').symlink_to('busybox')
    shutil.copy(pathlib.Path(__file__).with_name('init'), root / 'init')
    (root / 'init').chmod(0o755)
    order = _load_order(modules / 'modules.dep')
    for number, path in enumerate(order):
        shutil.copy(modules / path, root / f'modules/{number:02}-{pathlib.Path(path).name}')
    names = '\n'.join(str(path.relative_to(root)) for path in sorted(root.rglob('*')))
    with open(made.initramfs, 'wb') as archive:
        subprocess.run([busybox, 'cpio', '-o', '-H', 'newc'], cwd=root, input=names.encode(),
                       stdout=archive, stderr=subprocess.DEVNULL, check=True)


def _load_order(dependencies):
    needs = {}
    for line in dependencies.read_text().splitlines():
        module, _, others = line.partition(':')
        needs[module] = others.split()
    by_name = {pathlib.Path(path).stem: path for path in needs}
    order = []
    for name in _FIRST_MODULES:
        # Each line of modules.dep names all that a module needs, the first to load last.
        for path in [*reversed(needs[by_name[name]]), by_name[name]]:
            if path not in order:
                order.append(path)
    return order
