# SPDX-License-Identifier: Apache-2.0
"""What the commands of the group ``cinder`` have in common: their parser, and how they begin."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from powervm_fileio_connector.cli import options
from powervm_fileio_connector.cli import output

if TYPE_CHECKING:
    from powervm_fileio_connector.cli.cinder_attachment import CinderAttachments


class CinderCommand(output.Table):
    """A command about one volume of Cinder."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('volume', metavar='VOLUME', help='id, or a name that one volume has')
        self.add_arguments(parser)
        options.add_cinder(parser)
        options.add_novalink(parser)
        return parser

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments that this command alone has."""

    @contextlib.contextmanager
    def attachments(self, parsed_args: argparse.Namespace) -> Iterator[CinderAttachments]:
        """Attach, detach and extend in a ``with`` block; errors name LPARs as users know them.

        :raises UsageError: what the commands of Cinder need is not installed
        """
        options.require_cinder()
        from powervm_fileio_connector.cli import cinder_attachment

        with cinder_attachment.of(parsed_args, self.say) as attachments:
            yield attachments
