# SPDX-License-Identifier: Apache-2.0
"""pbr reads everything from setup.cfg; the version comes from git, where there is git."""

import os
import pathlib
import subprocess

import setuptools


def git_can_tell() -> bool:
    """Whether git is installed, and this directory is a clone that it is willing to read."""
    try:
        done = subprocess.run(['git', 'ls-files', '--error-unmatch', 'setup.cfg'],
                              capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


if not pathlib.Path('PKG-INFO').exists() and not git_can_tell():
    # An archive, or the tree of another user. pbr would refuse to build it without a version.
    os.environ.setdefault('PBR_VERSION', '0.0.1.dev0')


class Distribution(setuptools.Distribution):
    """Installs one of our directories a second time, where Nova looks for compute drivers."""

    def finalize_options(self) -> None:
        super().finalize_options()
        # pbr names only packages that have a directory of their own name.
        self.packages.append('nova.virt.powervm_fileio')
        self.package_dir = {
            'nova.virt.powervm_fileio': 'powervm_fileio_connector/nova/powervm_fileio'}


setuptools.setup(setup_requires=['pbr>=6.1.1'], pbr=True, distclass=Distribution)
