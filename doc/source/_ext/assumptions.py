# SPDX-License-Identifier: Apache-2.0
"""``.. assumptions::``: what the simulator assumes of NovaLink though no recording shows it.

Each is marked with ``ASSUMED`` and a colon where it is made; this collects the marks.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from typing import NamedTuple

_MARK = re.compile(r'(#?)\s*ASSUMED: (.*)')


class Assumption(NamedTuple):
    """One assumption, and the module that makes it."""

    module: str
    text: str


def setup(app: Any) -> dict[str, bool]:
    """Register the directive with Sphinx."""
    from docutils import nodes
    from docutils.parsers.rst import Directive

    class Assumptions(Directive):
        def run(self) -> list[Any]:
            entries = nodes.bullet_list()
            for one in assumptions():
                text = nodes.paragraph(text=f' ({one.module})')
                text.insert(0, nodes.inline(text=one.text))
                entries += nodes.list_item('', text)
            return [entries]

    app.add_directive('assumptions', Assumptions)
    return {'parallel_read_safe': True}


def assumptions() -> list[Assumption]:
    """All of them, by module."""
    package = importlib.util.find_spec('powervm_fileio_connector.simulator')
    assert package is not None
    assert package.origin is not None
    return [one for path in sorted(Path(package.origin).parent.rglob('*.py'))
            for one in _in_module(path)]


def _in_module(path: Path) -> Iterator[Assumption]:
    lines = path.read_text(encoding='utf-8').splitlines()
    for number, line in enumerate(lines):
        found = _MARK.search(line)
        if found is None:
            continue
        words = [found.group(2)]
        for following in lines[number + 1:]:
            text = following.strip()
            is_comment = text.startswith('#')
            if not text or text.startswith((':', '"""')) or is_comment != bool(found.group(1)):
                break
            words.append(text.lstrip('# ').removesuffix('"""'))
        yield Assumption(path.stem, ' '.join(words).strip())
