# SPDX-License-Identifier: Apache-2.0
"""The picture of the architecture shows the code as it is."""

import importlib.util
import pathlib
import re
import sys

import pytest

EXTENSION = pathlib.Path(__file__).parents[2] / 'doc' / 'source' / '_ext' / 'import_picture.py'


@pytest.fixture(scope='module')
def picture():
    sys.path.insert(0, str(EXTENSION.parent))       # as doc/source/conf.py does
    spec = importlib.util.spec_from_file_location('import_picture', EXTENSION)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(EXTENSION.parent))
    return module


@pytest.fixture(scope='module')
def graph(picture):
    return picture.imports()


@pytest.fixture(scope='module')
def arrows(picture, graph):
    return set(re.findall(r'data-from="(\w+)" data-to="(\w+)"', picture.svg(graph)))


def test_every_module_is_drawn(picture, graph):
    drawn = set(re.findall(r'<text [^>]*>(\w+)</text>', picture.svg(graph)))
    package = pathlib.Path(importlib.util.find_spec(picture.PACKAGE).origin).parent
    assert drawn == {path.name.removesuffix('.py') for path in package.iterdir()
                     if path.suffix == '.py' or (path / '__init__.py').exists()} - {'__init__'}


def test_every_module_is_in_the_table(graph):
    page = (EXTENSION.parents[1] / 'architecture.rst').read_text()
    cells = re.findall(r'^   \* - (``.*)', page, re.MULTILINE)
    listed = {name.split('.')[0] for cell in cells for name in re.findall(r'``([\w.]+)``', cell)}
    assert listed == set(graph)


def test_arrows_mean_what_the_imports_mean(picture, graph, arrows):
    drawn = {part: {to for start, to in arrows if start == part} for part in graph}
    for part, others in graph.items():
        assert drawn[part] <= others
        assert picture._below(drawn, part) == picture._below(graph, part)


def test_every_arrow_points_down(picture, graph):
    row = {part: number for number, parts in enumerate(picture.rows(picture.reduced(graph)))
           for part in parts}
    assert all(row[part] < row[other] for part, others in graph.items() for other in others)


def test_only_the_command_knows_the_simulator(arrows):
    assert {start for start, to in arrows if to == 'simulator'} == {'cli'}


def test_an_arrow_that_follows_from_others_is_left_out(picture):
    assert picture.reduced({'a': {'b', 'c'}, 'b': {'c'}, 'c': set()}) == {
        'a': {'b'}, 'b': {'c'}, 'c': set()}
