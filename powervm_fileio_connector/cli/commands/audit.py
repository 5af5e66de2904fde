# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio audit``: what is left over, lost or suspicious."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from powervm_fileio_connector.cli import output
from powervm_fileio_connector.cli.errors import ExitCode

if TYPE_CHECKING:
    from powervm_fileio_connector.cli import audit_checks
    from powervm_fileio_connector.cli.context import CommandContext


class Audit(output.Table):
    """Find disks whose LPAR, file or mount is gone.

    Also files that several LPARs have, shares that do not answer, and tags that fit no file name.
    Changes nothing, unless --fix is given: then orphans (disks of files whose LPAR is gone) are
    removed, after they were shown and you agreed. Doubtful ones, whose LPAR id another LPAR has,
    are asked for separately. Nothing is removed if NovaLink's list of LPARs is empty or incomplete.
    No file is ever deleted.
    """

    example = 'powervm-fileio audit'
    nothing = 'No problems found.'
    in_table = ('finding', 'lpar', 'slot', 'path', 'detail')

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument('--fix', action='store_true',
                            help='remove the orphans, and nothing else')
        parser.add_argument('--yes', action='store_true', help='with --fix: do not ask')
        parser.add_argument('--metrics', metavar='FILE',
                            help='also write metrics for Prometheus to FILE, such as '
                                 '/var/lib/node_exporter/powervm_fileio.prom')

    def take_action(self, parsed_args: argparse.Namespace) -> output.Output:
        from powervm_fileio_connector.cli import audit_checks
        from powervm_fileio_connector.cli.context import CommandContext

        host = CommandContext(parsed_args)
        report = audit_checks.audit(host)
        found = report.findings
        if parsed_args.fix:
            found = self._fixed(host, report, parsed_args.yes)
        left = [finding for finding in found if not finding.is_fixed]
        if left:
            self.exit_code = ExitCode.FINDINGS
        if parsed_args.metrics is not None:
            from powervm_fileio_connector.cli import metrics

            fixed = [finding.disk for finding in found if finding.is_fixed]
            metrics.write(parsed_args.metrics, [disk for disk in report.disks
                                                if disk not in fixed], left)
        return audit_checks.KEYS, [finding.row for finding in found]

    def _fixed(self, host: CommandContext, report: audit_checks.Report,
               is_agreed: bool) -> list[audit_checks.Finding]:
        from powervm_fileio_connector.cli import audit_checks

        found = report.findings
        orphans = [finding for finding in found if finding.is_fixable]
        doubtful = [finding for finding in found if finding.is_doubtful]
        if not orphans and not doubtful:
            self.say('There are no orphans to remove.')
            return found
        if report.not_fixable:
            self.exit_code = ExitCode.FINDINGS
            self.say(f'Nothing was removed: {report.not_fixable}, so that nothing tells which '
                     'LPARs are gone. Use a NovaLink user that may see all LPARs.')
            return found
        wants_orphans = bool(orphans) and (is_agreed or self._agrees_to_remove(orphans))
        # An LPAR may have taken the id over, or be just getting the disk: never without a question.
        wants_doubtful = bool(doubtful) and not is_agreed and self._agrees_to_remove(doubtful)
        if not (wants_orphans or wants_doubtful):
            self.say('Nothing was removed.')
            return found
        chosen = [finding if wants_orphans or not finding.is_fixable
                  else dataclasses.replace(finding, is_fixable=False) for finding in found]
        try:
            found = audit_checks.remove_orphans(host, chosen, wants_doubtful)
        except KeyboardInterrupt:
            self.say('\nInterrupted while the orphans were being removed: all of them are gone, or '
                     'none is. "powervm-fileio audit" tells.')
            raise
        self.was_done = f'{sum(finding.is_fixed for finding in found)} removed'
        return found

    def _agrees_to_remove(self, findings: list[audit_checks.Finding]) -> bool:
        for one in findings:
            why = f': {one.detail.removesuffix("; --fix asks")}' if one.is_doubtful else ''
            self.say(f'{one.what}: {one.path} (server slot {one.record.server_slot}){why}')
        several = 's' if len(findings) > 1 else ''
        return self.agrees(f'Remove {len(findings)} {findings[0].what}{several}?')
