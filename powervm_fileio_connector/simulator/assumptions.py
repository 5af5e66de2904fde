# SPDX-License-Identifier: Apache-2.0
"""What the simulator assumes of NovaLink though no recording shows it.

Each is marked with ``ASSUMED`` and a colon where it is made; this collects the marks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_MARK = re.compile(r'(#?)\s*ASSUMED: (.*)')


class Assumption(NamedTuple):
    """One assumption, and the module that makes it."""

    module: str
    text: str


def assumptions() -> list[Assumption]:
    """All of them, by module."""
    return [one for path in sorted(Path(__file__).parent.glob('*.py'))
            if path.stem != 'assumptions' for one in _in_module(path)]


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
