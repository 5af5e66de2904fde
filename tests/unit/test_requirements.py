# SPDX-License-Identifier: Apache-2.0
"""What is imported is named as a requirement, and what is named is imported."""

import ast
import configparser
import pathlib
import re
import sys
from importlib import metadata

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / 'powervm_fileio_connector'
# Nova imports the adapter, and pytest the plugin: where these run, those are installed.
HOSTS = {'nova': PACKAGE / 'nova', 'nova_powervm': PACKAGE / 'nova',
         'pytest': PACKAGE / 'simulator' / 'pytest_plugin.py'}


def normal(name):
    return re.sub(r'[-_.]+', '-', name).lower()


def named(text):
    """The distributions of a list of requirements."""
    return {normal(re.match(r'[\w.-]+', line)[0]) for line in text.splitlines()
            if line and not line.startswith('#')}


@pytest.fixture(scope='module')
def extras():
    setup = configparser.ConfigParser()
    setup.read(ROOT / 'setup.cfg')
    return {name: named(text) for name, text in setup['extras'].items()}


def imported(files):
    """The distributions that modules import, also where they do it late."""
    homes = metadata.packages_distributions()
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for name in {name.partition('.')[0] for name in names} - set(sys.stdlib_module_names):
                host = HOSTS.get(name)
                if name != PACKAGE.name and not (host and file.is_relative_to(host)):
                    found |= {normal(home) for home in homes.get(name, [name])}
    return found


def modules(part=''):
    return set((PACKAGE / part).rglob('*.py'))


def test_the_library_imports_what_it_requires():
    library = modules() - modules('cli') - modules('cinder') - modules('simulator')
    assert imported(library) == named((ROOT / 'requirements.txt').read_text())


@pytest.mark.parametrize(('extra', 'part'), [
    ('cli', 'cli'), ('cinder', 'cinder'), ('simulator', 'simulator')])
def test_an_extra_names_what_its_part_imports_beyond_the_library(extras, extra, part):
    library = named((ROOT / 'requirements.txt').read_text())
    assert imported(modules(part)) - library == extras[extra] - library
