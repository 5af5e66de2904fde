# SPDX-License-Identifier: Apache-2.0
"""Boxes, arrows and text as SVG, in few units, so that a phone shows them large enough to read.

A picture is 380 units wide, as a phone's column is, and its text 12 units high. Colours are the
theme's, light or dark.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

WIDTH = 380
TEXT = 12               # height of the text
LETTER = 0.6 * TEXT     # width of a character; the font is monospace
LINE = 16

_STYLE = '''
.drawing { display: block; margin: 1.5rem auto; width: min(100%, 560px); }
.drawing text { font-family: var(--font-stack--monospace); font-size: 12px;
                fill: var(--color-foreground-primary); }
.drawing text.note { fill: var(--color-foreground-secondary); }
.drawing rect { fill: var(--color-background-secondary); stroke: var(--color-foreground-muted); }
.drawing rect.outer { fill: none; stroke-dasharray: 4 3; }
.drawing rect.ours { stroke: var(--color-brand-primary); stroke-width: 2; }
.drawing path, .drawing line { fill: none; stroke: var(--color-foreground-secondary); }
.drawing line.life { stroke: var(--color-foreground-muted); stroke-dasharray: 2 3; }
.drawing marker path { fill: var(--color-foreground-secondary); stroke: none; }
'''


class Drawing:
    """Parts of one picture, in the order in which they are drawn."""

    def __init__(self, title: str, height: float, width: float = WIDTH) -> None:
        self._title, self._height, self._width = title, height, width
        self._parts: list[str] = []

    def box(self, x: float, y: float, width: float, lines: str | Iterable[str],
            kind: str = '') -> float:
        """Draw a box with lines of text in its middle; return where it ends below."""
        lines = [lines] if isinstance(lines, str) else list(lines)
        height = LINE * len(lines) + 10
        self._rectangle(x, y, width, height, kind)
        for number, line in enumerate(lines):
            self.text(x + width / 2, y + 5 + LINE * (number + 0.75), line,
                      kind='' if number == 0 else 'note')
        return y + height

    def frame(self, x: float, y: float, width: float, height: float, label: str) -> None:
        """Draw a dashed frame around other parts, with a label at its upper left corner."""
        self._rectangle(x, y, width, height, 'outer')
        self.text(x + 6, y + 15, label, 'start')

    def arrow(self, x1: float, y1: float, x2: float, y2: float, data: str = '') -> None:
        """Draw a straight arrow."""
        self._parts.append(f'<path {data} d="M{x1:.1f},{y1:.1f} L{x2:.1f},{y2:.1f}" '
                           'marker-end="url(#head)"/>')

    def curve(self, x1: float, y1: float, x2: float, y2: float, data: str = '') -> None:
        """Draw an arrow that leaves and arrives vertically."""
        bend = max(14.0, (y2 - y1) / 2)
        self._parts.append(f'<path {data} d="M{x1:.1f},{y1:.1f} C{x1:.1f},{y1 + bend:.1f} '
                           f'{x2:.1f},{y2 - bend:.1f} {x2:.1f},{y2:.1f}" '
                           'marker-end="url(#head)"/>')

    def life_line(self, x: float, y1: float, y2: float) -> None:
        """Draw the line of one party of a sequence."""
        self._parts.append(f'<line class="life" x1="{x}" y1="{y1}" x2="{x}" y2="{y2}"/>')

    def text(self, x: float, y: float, text: str, anchor: str = 'middle', kind: str = '') -> None:
        """Write one line."""
        self._parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
                           f'class="{kind}">{html.escape(text)}</text>')

    def svg(self) -> str:
        """Return the picture."""
        return '\n'.join([
            f'<svg class="drawing" viewBox="0 0 {self._width:g} {self._height:g}" role="img" '
            'xmlns="http://www.w3.org/2000/svg">', f'<title>{html.escape(self._title)}</title>',
            f'<style>{_STYLE}</style><defs><marker id="head" markerWidth="7" markerHeight="7" '
            'refX="6" refY="3" orient="auto"><path d="M0,0 L7,3 L0,6 z"/></marker></defs>',
            *self._parts, '</svg>'])

    def _rectangle(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        self._parts.append(f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
                           f'height="{height:.1f}" rx="4"/>')


def directive(draw: Any) -> type:
    """Return a directive that puts the SVG which ``draw(argument)`` returns into the page."""
    from docutils import nodes
    from docutils.parsers.rst import Directive

    class Draw(Directive):
        optional_arguments = 1

        def run(self) -> list[Any]:
            return [nodes.raw('', draw(*self.arguments), format='html')]

    return Draw
