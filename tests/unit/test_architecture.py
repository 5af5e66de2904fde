# SPDX-License-Identifier: Apache-2.0
"""Imports of the package point one way, and importing it is cheap."""

import ast
import pathlib
import subprocess
import sys

import pytest

import powervm_fileio_connector

PACKAGE = 'powervm_fileio_connector'
ROOT = pathlib.Path(powervm_fileio_connector.__file__).parent

# Each room may import those below it, and rooms on its own line that stand to its right.
LEVELS = [
    ['cli', 'nova'],
    ['registration'],
    ['connector'],
    ['attachments'],
    ['novalink', 'host'],
    ['mappings'],
    ['connection_properties'],
    ['volume'],
    ['export'],
    ['deadline', 'exceptions', 'conf'],
]
RANK = {room: (level, place) for level, rooms in enumerate(LEVELS)
        for place, room in enumerate(rooms)}


def room_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix('.py')


def imported_rooms(path):
    """Rooms of the package that a module imports at any place, type checking aside."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.dump(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f'{node.module}.{alias.name}' for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split('.')
            if parts[0] == PACKAGE and len(parts) > 1:
                yield parts[1]


MODULES = sorted(path for path in ROOT.rglob('*.py') if path != ROOT / '__init__.py')


@pytest.mark.parametrize('path', MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_arrow_points_backward(path):
    room = room_of(path)
    for other in imported_rooms(path):
        if other == room:
            continue
        if room == 'simulator':
            pytest.fail(f'the simulator imports {other}; it is known only over HTTP')
        elif other == 'simulator':
            assert room == 'cli', f'{room} imports the simulator'
        else:
            assert RANK[room] < RANK[other], f'{room} imports {other}'


def test_every_room_has_its_level():
    rooms = {room_of(path) for path in MODULES} - {'simulator'}
    assert rooms <= set(RANK), 'say where the new room stands'


def test_pypowervms_errors_are_caught_in_two_rooms_only():
    for path in MODULES:
        if room_of(path) in ('novalink', 'simulator'):
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


@pytest.mark.parametrize('use', ['register', 'factory', 'FileIOConnector', 'exceptions'])
def test_a_thread_that_uses_the_package_first_can_be_joined(use):
    code = f"""
import threading
import powervm_fileio_connector as pfc
thread = threading.Thread(target=lambda: pfc.{use}, daemon=True)
thread.start()
thread.join(30)
assert not thread.is_alive()
"""
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], check=True, timeout=60)
