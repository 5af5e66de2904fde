# SPDX-License-Identifier: Apache-2.0
"""The simulator's assumptions, as the documentation's extension reads them from its source."""

import importlib.util
import pathlib

_EXTENSION = pathlib.Path(__file__).parents[2] / 'doc' / 'source' / '_ext' / 'assumptions.py'


def assumptions():
    """Return all of them; the extension is no module of a package."""
    spec = importlib.util.spec_from_file_location('assumptions', _EXTENSION)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.assumptions()
