# SPDX-License-Identifier: Apache-2.0
"""pbr reads everything from setup.cfg; the version comes from git."""

import setuptools

setuptools.setup(setup_requires=['pbr>=6.1.1'], pbr=True)
