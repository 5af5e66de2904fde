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

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument('volume', metavar='VOLUME', help='id, or a name that one volume has')
        options.add_cinder(parser)

    @contextlib.contextmanager
    def attachments(self, parsed_args: argparse.Namespace) -> Iterator[CinderAttachments]:
        """Attach, detach and extend in a ``with`` block; errors name LPARs as users know them.

        :raises UsageError: what the commands of Cinder need is not installed
        """
        options.require_cinder()
        from powervm_fileio_connector import cinder
        from powervm_fileio_connector.cli import cinder_attachment
        from powervm_fileio_connector.cli.context import CommandContext

        host = CommandContext(parsed_args)
        attachments = cinder_attachment.CinderAttachments(host, cinder.BlockStorage(
            parsed_args.os_cloud, parsed_args.cloud_timeout, parsed_args.host), self.say)
        with host.naming_lpars():
            yield attachments
