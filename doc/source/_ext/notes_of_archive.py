# SPDX-License-Identifier: Apache-2.0
"""Say where the release notes are, in an archive: reno reads them from git's history."""

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.parsers.rst import directives


class ReleaseNotes(Directive):
    """Stands for reno's directive, with the options that this documentation gives it."""

    option_spec = {'relnotessubdir': directives.unchanged,      # noqa: RUF012  as docutils has it
                   'notesdir': directives.unchanged}

    def run(self):
        place = '/'.join(self.options.values())
        return [nodes.paragraph(text=f'This was built without git: the notes are in {place}.')]


def setup(app):
    """Register the directive."""
    app.add_directive('release-notes', ReleaseNotes)
    return {'parallel_read_safe': True}
