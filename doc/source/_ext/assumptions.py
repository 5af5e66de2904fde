# SPDX-License-Identifier: Apache-2.0
"""``.. assumptions::``: what the simulator assumes of NovaLink, as its own code says."""

from __future__ import annotations

from typing import Any


def setup(app: Any) -> dict[str, bool]:
    """Register the directive with Sphinx."""
    from docutils import nodes
    from docutils.parsers.rst import Directive

    from powervm_fileio_connector.simulator import assumptions

    class Assumptions(Directive):
        def run(self) -> list[Any]:
            entries = nodes.bullet_list()
            for one in assumptions.assumptions():
                text = nodes.paragraph(text=f' ({one.module})')
                text.insert(0, nodes.inline(text=one.text))
                entries += nodes.list_item('', text)
            return [entries]

    app.add_directive('assumptions', Assumptions)
    return {'parallel_read_safe': True}
