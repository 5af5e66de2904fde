# SPDX-License-Identifier: Apache-2.0
"""Imports of the package point one way, and importing it is cheap."""

import ast
import functools
import graphlib
import pathlib
import subprocess
import sys

import pytest

import powervm_fileio_connector

PACKAGE = 'powervm_fileio_connector'
ROOT = pathlib.Path(powervm_fileio_connector.__file__).parent

# Each part may import those below it, and parts on its own line that stand to its right.
LEVELS = [
    ['cli', 'nova'],
    ['registration'],
    ['connector'],
    ['attachments', 'confirmation', 'plans', 'cinder'],
    ['novalink', 'host'],
    ['mappings'],
    ['connection_properties'],
    ['property_keys'],
    ['volume'],
    ['export'],
    ['deadline', 'exceptions', 'conf'],
]
RANK = {part: (level, place) for level, parts in enumerate(LEVELS)
        for place, part in enumerate(parts)}

PATHS = sorted(ROOT.rglob('*.py'))


def name_of(path):
    """The dotted name of a module of the package; a package is its ``__init__``."""
    parts = path.relative_to(ROOT.parent).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


MODULES = {name_of(path): path for path in PATHS}
PARTS = sorted({name.split('.')[1] for name in MODULES if '.' in name})


def part_of(module):
    return module.split('.')[1] if '.' in module else None


@functools.cache
def imports_of(module):
    """The modules of the package that one imports at any place, also for type checking alone."""
    path = MODULES[module]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ''
            if node.level:
                package = module.split('.')
                above = node.level - (path.name == '__init__.py')
                source = '.'.join(filter(None, [*package[:len(package) - above], source]))
            # "from package import module" imports the module, not what the package hands on.
            found |= {f'{source}.{alias.name}' if f'{source}.{alias.name}' in MODULES else source
                      for alias in node.names}
    return found & MODULES.keys() - {module}


@pytest.mark.parametrize('module', sorted(MODULES.keys() - {PACKAGE}))
def test_no_import_points_backward(module):
    part = part_of(module)
    for other in map(part_of, imports_of(module)):
        if other in (None, part):
            continue
        if part == 'simulator':
            pytest.fail(f'{module} imports {other}: the simulator is known only over HTTP')
        elif other == 'simulator':
            assert part == 'cli', f'{module} imports the simulator'
        else:
            assert RANK[part] < RANK[other], f'{module} imports {other}'


def test_every_part_has_its_level():
    assert set(PARTS) - {'simulator'} <= set(RANK), 'say where the new part stands'


def test_no_modules_import_each_other_in_a_circle():
    order = graphlib.TopologicalSorter({module: imports_of(module) for module in MODULES})
    try:
        order.prepare()
    except graphlib.CycleError as err:
        pytest.fail(' -> '.join(err.args[1]))


def test_a_module_fits_one_reading():
    lines = {module: len(path.read_text().splitlines()) for module, path in MODULES.items()}
    too_long = {module: count for module, count in lines.items() if count > 300}
    assert too_long.keys() <= {f'{PACKAGE}.exceptions'}, f'give a part its own module: {too_long}'


# These import a name when it is first used: every run of os-brick or pytest imports them.
LAZY = {PACKAGE, f'{PACKAGE}.simulator'}


@pytest.mark.parametrize('module', sorted(
    name for name, path in MODULES.items() if path.name == '__init__.py' and name not in LAZY))
def test_a_package_only_hands_names_on(module):
    body = ast.parse(MODULES[module].read_text()).body
    allowed = (ast.Import, ast.ImportFrom)
    for node in body:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_list = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '__all__'
        assert isinstance(node, allowed) or is_text or is_list, ast.unparse(node)


@pytest.mark.parametrize('module', sorted(name for name in MODULES if part_of(name) == 'simulator'))
def test_the_simulator_could_be_a_distribution_of_its_own(module):
    assert PACKAGE not in MODULES[module].read_text(), 'import what is beside it relatively'


def test_pypowervms_errors_are_caught_in_one_place():
    for module, path in MODULES.items():
        if part_of(module) == 'simulator' or module == f'{PACKAGE}.novalink.failures':
            continue
        text = path.read_text()
        assert 'pypowervm.exceptions' not in text, path
        assert 'from pypowervm import exceptions' not in text, path


@pytest.mark.parametrize('statement', [
    f'import {PACKAGE}', f'import {PACKAGE}.cli.main', f'import {PACKAGE}.simulator'])
def test_importing_brings_neither_os_brick_nor_pypowervm(statement):
    code = f'import sys\n{statement}\nassert not {{"os_brick", "pypowervm"}} & set(sys.modules)'
    subprocess.run([sys.executable, '-c', code], check=True)


def test_public_names_are_those_of_the_contract():
    assert set(powervm_fileio_connector.__all__) == {
        'FileIOConnector', 'exceptions', 'factory', 'register', 'unregister'}
    assert set(powervm_fileio_connector.__all__) <= set(dir(powervm_fileio_connector))
    with pytest.raises(AttributeError):
        powervm_fileio_connector.nothing  # noqa: B018


@pytest.mark.parametrize(('use', 'before'), [
    ('register', ''), ('factory', 'pfc.exceptions'), ('FileIOConnector', ''),
    ('exceptions', '')], ids=['register', 'factory after exceptions', 'FileIOConnector',
                              'exceptions'])
def test_a_thread_that_uses_the_package_first_can_be_joined(use, before):
    code = f"""
import threading
import powervm_fileio_connector as pfc
{before}
thread = threading.Thread(target=lambda: pfc.{use}, daemon=True)
thread.start()
thread.join(200)
assert not thread.is_alive()
"""
    subprocess.run([sys.executable, '-c', code], check=True, timeout=240)


@pytest.mark.parametrize('use', ['register', 'FileIOConnector'])
def test_first_use_warns_of_nothing(use):
    code = f'import powervm_fileio_connector as pfc\npfc.{use}'
    subprocess.run([sys.executable, '-W', 'error', '-c', code], check=True, timeout=60)
