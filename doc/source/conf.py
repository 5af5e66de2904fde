# SPDX-License-Identifier: Apache-2.0
"""Sphinx configuration."""

import importlib.metadata
import pathlib
import sys
import warnings

# pypowervm and os-brick import eventlet, which warns; the API reference imports them.
warnings.simplefilter('ignore')

project = 'powervm-fileio-connector'
copyright = '2026, powervm-fileio-connector maintainers'
release = importlib.metadata.version(project)
version = release

# What is particular to this documentation: see doc/source/_ext.
sys.path.insert(0, str(pathlib.Path(__file__).parent / '_ext'))
has_git = (pathlib.Path(__file__).parents[2] / '.git').exists()
extensions = ['sphinx.ext.autodoc', 'sphinx.ext.viewcode',
              'reno.sphinxext' if has_git else 'notes_of_archive',
              'cliff.sphinxext', 'oslo_config.sphinxext', 'assumptions', 'import_picture',
              'pictures']
autodoc_typehints = 'description'
autodoc_member_order = 'bysource'
exclude_patterns = []
man_pages = [('commands', 'powervm-fileio', 'attach files to PowerVM LPARs as disks', [], 1)]
html_theme = 'furo'
html_static_path = ['_static']
html_css_files = ['widths.css']
html_show_sourcelink = False
