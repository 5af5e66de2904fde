# SPDX-License-Identifier: Apache-2.0
"""An initramfs of busybox, an init of ours and a few modules of the kernel."""

import pathlib
import shutil
import subprocess

_DIRECTORIES = ('bin', 'modules', 'proc', 'sys', 'dev')


def make(archive, root, init, busybox, modules, names, packer):
    """Make one.

    :param root: a directory to make its files in
    :param busybox: the statically linked one that it runs
    :param modules: the directory of the kernel's modules, where depmod has run
    :param names: of the modules that init loads from ``/modules``, with what they need
    :param packer: the arguments that start a busybox on this host
    """
    for directory in _DIRECTORIES:
        (root / directory).mkdir(parents=True, exist_ok=True)
    shutil.copy(busybox, root / 'bin/busybox')
    (root / 'bin/sh').symlink_to('busybox')
    shutil.copy(init, root / 'init')
    (root / 'init').chmod(0o755)
    for number, path in enumerate(_load_order(modules, names)):
        shutil.copy(modules / path, root / f'modules/{number:02}-{pathlib.Path(path).name}')
    contents = '\n'.join(str(path.relative_to(root)) for path in sorted(root.rglob('*')))
    with open(archive, 'wb') as file:
        subprocess.run([*packer, 'cpio', '-o', '-H', 'newc'], cwd=root, input=contents.encode(),
                       stdout=file, stderr=subprocess.DEVNULL, check=True)


def _load_order(modules, names):
    """The files of modules and of what they need; those that are part of the kernel have none."""
    built_in = {pathlib.Path(path).stem
                for path in (modules / 'modules.builtin').read_text().splitlines()}
    needs = {}
    for line in (modules / 'modules.dep').read_text().splitlines():
        module, _, others = line.partition(':')
        needs[module] = others.split()
    # Debian 13 has them compressed: nfsd.ko.xz.
    by_name = {pathlib.Path(path).name.partition('.')[0]: path for path in needs}
    order = []
    for name in (name for name in names if name not in built_in):
        # Each line of modules.dep names all that a module needs, the first to load last.
        for path in [*reversed(needs[by_name[name]]), by_name[name]]:
            if path not in order:
                order.append(path)
    return order
