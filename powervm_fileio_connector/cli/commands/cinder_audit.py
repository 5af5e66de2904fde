# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio cinder audit``: where NovaLink and Cinder disagree."""

from __future__ import annotations

import argparse

from powervm_fileio_connector.cli import options
from powervm_fileio_connector.cli import output
from powervm_fileio_connector.cli.errors import ExitCode


class CinderAudit(output.Table):
    """Find where this host's disks and Cinder's attachments disagree.

    Volumes that another host has as well, disks without an attachment, attachments without a disk,
    files that Cinder calls otherwise, and volumes that are stuck. Changes nothing. An administrator
    sees more: the host of each attachment, and with --all-projects all volumes.
    """

    example = 'powervm-fileio cinder audit --os-cloud mycloud'
    nothing = 'NovaLink and Cinder agree.'

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument('--all-projects', action='store_true',
                            help='look at the volumes of all projects (administrators)')
        options.add_cinder(parser)

    def take_action(self, parsed_args: argparse.Namespace) -> output.Output:
        options.require_cinder()
        from powervm_fileio_connector import cinder
        from powervm_fileio_connector.cli import cinder_audit
        from powervm_fileio_connector.cli.context import CommandContext

        audit = cinder_audit.CinderAudit(
            CommandContext(parsed_args),
            cinder.BlockStorage(parsed_args.os_cloud, parsed_args.cloud_timeout, parsed_args.host),
            parsed_args.all_projects)
        for sentence in audit.unseen:
            self.say(sentence)
        found = audit.findings()
        if found:
            self.exit_code = ExitCode.FINDINGS
        return cinder_audit.KEYS, [finding.row(parsed_args.host) for finding in found]
