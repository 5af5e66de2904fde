# SPDX-License-Identifier: Apache-2.0
"""``.. import-picture::``: the package's modules and what they import, drawn from the code.

An arrow that follows from two others is left out, so what is drawn is the least that has the same
meaning. Rows go by the longest chain of imports above a module.
"""

from __future__ import annotations

import ast
import html
import pathlib
from typing import Any

PACKAGE = 'powervm_fileio_connector'

Graph = dict[str, set[str]]

_WIDTH, _BOX_HEIGHT, _ROW = 1060, 26, 68
_COLOURS = {'cli': '#dbe9f6', 'nova': '#dbe9f6', 'simulator': '#f4e3c9'}


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
    levels = rows(arrows)
    centre = {module: ((number + 0.5) * _WIDTH / len(level), 20 + row * _ROW)
              for row, level in enumerate(levels) for number, module in enumerate(level)}
    parts = [f'<svg viewBox="0 0 {_WIDTH} {20 + len(levels) * _ROW}" role="img" '
             'xmlns="http://www.w3.org/2000/svg" font-family="monospace" font-size="13">'
             '<title>What each module imports</title><defs><marker id="head" markerWidth="7" '
             'markerHeight="7" refX="6" refY="3" orient="auto"><path d="M0,0 L7,3 L0,6 z" '
             'fill="#777"/></marker></defs>']
    for module, others in sorted(arrows.items()):
        for other in sorted(others):
            (x1, y1), (x2, y2) = centre[module], centre[other]
            y1, y2 = y1 + _BOX_HEIGHT / 2, y2 - _BOX_HEIGHT / 2 - 2
            parts.append(f'<path class="arrow" data-from="{module}" data-to="{other}" d="M{x1:.0f},'
                         f'{y1:.0f} C{x1:.0f},{y1 + 24:.0f} {x2:.0f},{y2 - 24:.0f} {x2:.0f},'
                         f'{y2:.0f}" fill="none" stroke="#777" marker-end="url(#head)"/>')
    for module, (x, y) in centre.items():
        width = 8 * len(module) + 14
        parts.append(f'<rect x="{x - width / 2:.0f}" y="{y - _BOX_HEIGHT / 2:.0f}" rx="4" '
                     f'width="{width}" height="{_BOX_HEIGHT}" stroke="#555" '
                     f'fill="{_COLOURS.get(module, "#fff")}"/><text x="{x:.0f}" y="{y + 4:.0f}" '
                     f'text-anchor="middle">{html.escape(module)}</text>')
    return '\n'.join([*parts, '</svg>'])


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
    from docutils import nodes
    from docutils.parsers.rst import Directive

    class ImportPicture(Directive):
        def run(self) -> list[Any]:
            return [nodes.raw('', svg(imports()), format='html')]

    app.add_directive('import-picture', ImportPicture)
    return {'parallel_read_safe': True}
