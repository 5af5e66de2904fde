# SPDX-License-Identifier: Apache-2.0
"""Pictures of what was measured, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from benchmarks import contenders
from benchmarks import results

mpl.use('svg')
# The same picture is the same bytes, and its text stays text.
mpl.rcParams.update({'svg.hashsalt': 'benchmarks', 'svg.fonttype': 'none', 'font.size': 9,
                     'axes.spines.top': False, 'axes.spines.right': False})

from matplotlib import pyplot  # noqa: E402  the backend is chosen before

STYLE: dict[str, dict[str, Any]] = {
    contenders.OURS: {'color': '#0b6e4f', 'marker': 'o', 'linewidth': 2.2},
    contenders.PLAIN: {'color': '#d1495b', 'marker': 's'},
    contenders.KEPT: {'color': '#d1495b', 'marker': 's', 'linestyle': ':'},
    contenders.NOVA: {'color': '#2e5f9e', 'marker': '^'}}


def draw(questions: dict[str, Sequence[dict[str, Any]]], out: Path) -> list[Path]:
    """Draw what there is; return the files."""
    drawn = []
    for name, picture in zip(results.PICTURED, (_cost, _at_once, _memory, _mixed), strict=True):
        if questions.get(name):
            figure = picture(questions[name])
            drawn.append(out / f'{name}.svg')
            figure.savefig(drawn[-1], bbox_inches='tight', metadata={'Date': None})
            pyplot.close(figure)
    return drawn


def _cost(rows: Sequence[dict[str, Any]]) -> Any:
    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3), sharey=True)
    for panel, act in zip(axes, ('attach', 'detach'), strict=True):
        _lines(panel, [row for row in rows if row['act'] == act], 'mappings', 'cpu_ms')
        panel.set(title=f'One warm {act}', xlabel='mappings on the host', ylim=0)
    axes[0].set_ylabel("client's processor time (ms)")
    axes[0].legend(frameon=False)
    return figure


def _at_once(rows: Sequence[dict[str, Any]]) -> Any:
    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3))
    for panel, what, label in ((axes[0], 'wall_s', 'until the last is attached (s)'),
                               (axes[1], 'posts', 'POSTs')):
        _lines(panel, rows, 'attaches', what)
        ticks = sorted({row['attaches'] for row in rows})
        panel.set(xlabel='attaches at once', ylabel=label, xscale='log', yscale='log')
        panel.set_xticks(ticks, ticks)
        panel.minorticks_off()
        panel.yaxis.set_major_formatter('{x:g}')
    figure.tight_layout()
    axes[0].legend(frameon=False)
    return figure


def _lines(panel: Any, rows: Sequence[dict[str, Any]], x: str, y: str) -> None:
    for name in dict.fromkeys(row['contender'] for row in rows):
        points = [(row[x], row[y]) for row in rows if row['contender'] == name]
        panel.plot(*zip(*points, strict=True), label=name, **STYLE[name])


def _mixed(rows: Sequence[dict[str, Any]]) -> Any:
    figure, panel = pyplot.subplots(figsize=(5, 0.6 + 0.4 * len(rows)))
    _bars(panel, {row['contender']: row['per_s'] for row in rows})
    panel.set(xlabel=f'attaches and detaches per second, {rows[0]["clients"]}')
    return figure


def _memory(rows: Sequence[dict[str, Any]]) -> Any:
    parts = {what: {row['contender']: row['mib'] for row in rows if row['what'] == what}
             for what in ('imports', 'work above that', 'helpers')}
    figure, panel = pyplot.subplots(figsize=(5, 0.8 + 0.4 * len(parts['imports'])))
    left = dict.fromkeys(parts['imports'], 0.0)
    for (what, sizes), shade in zip(parts.items(), (0.35, 1.0, 0.6), strict=True):
        _bars(panel, sizes, left=list(left.values()), alpha=shade, label=what)
        left = {name: left[name] + sizes[name] for name in left}
    panel.set(xlabel=f'MiB, {rows[0]["mappings"]} mappings on the host')
    panel.legend(frameon=False, loc='upper left', bbox_to_anchor=(1, 1))
    return figure


def _bars(panel: Any, values: dict[str, float], **options: Any) -> None:
    panel.barh(list(values), list(values.values()),
               color=[STYLE[name]['color'] for name in values], **options)
    panel.invert_yaxis() if not panel.yaxis_inverted() else None
