# SPDX-License-Identifier: Apache-2.0
"""``.. import-picture::``: the package's modules and what they import, drawn from the code.

An arrow that follows from two others is left out, so what is drawn is the least that has the same
meaning. Rows go by the longest chain of imports above a module.
"""

from __future__ import annotations

import ast
import pathlib
from typing import Any

from drawing import LETTER
from drawing import WIDTH
from drawing import Drawing
from drawing import directive

PACKAGE = 'powervm_fileio_connector'

Graph = dict[str, set[str]]

_BOX, _ROW = 26, 56
_ENTRY_POINTS = ('cli', 'connector', 'nova')


def imports() -> Graph:
    """Return for each module or subpackage the others that it imports at any place."""
    import importlib.util

    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    root = pathlib.Path(spec.origin).parent
    graph: Graph = {}
    for path in sorted(root.rglob('*.py')):
        module = path.relative_to(root).parts[0].removesuffix('.py')
        if module != '__init__':
            graph.setdefault(module, set()).update(_imported(path) - {module})
    return {module: {other for other in others if other in graph}
            for module, others in graph.items()}


def _imported(path: pathlib.Path) -> set[str]:
    tree = ast.parse(path.read_text())
    modules = set()
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f'{node.module}.{alias.name}' for alias in node.names]
        modules |= {name.split('.')[1] for name in names
                    if name.startswith(PACKAGE + '.')}
    return modules


def reduced(graph: Graph) -> Graph:
    """Return the graph without the arrows that follow from others."""
    return {module: {other for other in others if not any(
        other in _below(graph, third) for third in others if third != other)}
        for module, others in graph.items()}


def rows(graph: Graph) -> list[list[str]]:
    """Modules by the longest chain above them; neighbours close to what imports them."""
    depth: dict[str, int] = {}

    def visit(module: str, at: int) -> None:
        if depth.get(module, -1) < at:
            depth[module] = at
            for other in graph[module]:
                visit(other, at + 1)

    for module in graph:
        visit(module, 0)
    levels: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for module in sorted(graph):
        levels[depth[module]].append(module)
    place: dict[str, float] = {}
    for level in levels:
        level.sort(key=lambda module: _mean([place[above] for above in graph
                                           if module in graph[above] and above in place]))
        place.update((module, (number + 0.5) / len(level)) for number, module in enumerate(level))
    return levels


def svg(graph: Graph) -> str:
    """Return the picture: one box for each module, one arrow for each import."""
    arrows = reduced(graph)
    lines = [line for level in rows(arrows) for line in _broken(level)]
    picture = Drawing('What each module imports', len(lines) * _ROW - 24)
    place: dict[str, tuple[float, float]] = {}
    for number, line in enumerate(lines):
        gap = (WIDTH - sum(map(_width, line))) / (len(line) + 1)
        x = gap
        for module in line:
            place[module] = x + _width(module) / 2, 2 + number * _ROW
            x += _width(module) + gap
    for module, others in sorted(arrows.items()):
        for other in sorted(others):
            (x1, y1), (x2, y2) = place[module], place[other]
            picture.curve(x1, y1 + _BOX, x2, y2 - 2, f'data-from="{module}" data-to="{other}"')
    for module, (x, y) in place.items():
        width = _width(module)
        picture.box(x - width / 2, y, width, module,
                    'ours' if module in _ENTRY_POINTS else '')
    return picture.svg()


def _width(module: str) -> float:
    return LETTER * len(module) + 8


def _broken(level: list[str]) -> list[list[str]]:
    """A row of modules as lines that fit the picture."""
    lines: list[list[str]] = [[]]
    for module in level:
        if sum(map(_width, [*lines[-1], module])) + 6 * len(lines[-1]) > WIDTH:
            lines.append([])
        lines[-1].append(module)
    return lines


def _below(graph: Graph, module: str) -> set[str]:
    found: set[str] = set()
    todo = [module]
    while todo:
        for other in graph[todo.pop()]:
            if other not in found:
                found.add(other)
                todo.append(other)
    return found


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.5


def setup(app: Any) -> dict[str, bool]:
    """Register the directive with Sphinx."""
    app.add_directive('import-picture', directive(lambda: svg(imports())))
    return {'parallel_read_safe': True}
