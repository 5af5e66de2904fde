# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio audit``: what is left over, lost or suspicious."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from powervm_fileio_connector.cli import options
from powervm_fileio_connector.cli import output
from powervm_fileio_connector.cli.errors import ExitCode

if TYPE_CHECKING:
    from powervm_fileio_connector.cli import audit_checks
    from powervm_fileio_connector.cli.context import CommandContext


class Audit(output.Table):
    """Find disks whose LPAR, file or mount is gone, and files that several LPARs have.

    Also shares that do not answer, and tags that fit no file name. Changes nothing, unless --fix is
    given: then orphans (disks of files whose LPAR is gone) are removed, after they were shown and
    you agreed. No file is ever deleted.
    """

    nothing = 'Nothing was found.'

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('--fix', action='store_true',
                            help='remove the orphans, and nothing else')
        parser.add_argument('--yes', action='store_true', help='with --fix: do not ask')
        options.add_novalink(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        from powervm_fileio_connector.cli import audit_checks
        from powervm_fileio_connector.cli.context import CommandContext

        host = CommandContext(parsed_args)
        found = audit_checks.audit(host)
        if parsed_args.fix:
            found = self._fixed(host, found, parsed_args.yes)
        if any(not finding.is_fixed for finding in found):
            self.exit_code = ExitCode.FINDINGS
        return audit_checks.COLUMNS, [finding.row for finding in found]

    def _fixed(self, host: CommandContext, found: list[audit_checks.Finding],
               is_agreed: bool) -> list[audit_checks.Finding]:
        from powervm_fileio_connector.cli import audit_checks

        orphans = [finding for finding in found if finding.is_fixable]
        if not orphans:
            self.say('There are no orphans to remove.')
            return found
        if not is_agreed:
            for orphan in orphans:
                self.say(f'orphan: {orphan.path} (server slot {orphan.record.server_slot})')
            if not self._agrees(len(orphans)):
                self.say('Nothing was removed.')
                return found
        try:
            found = audit_checks.remove_orphans(host, found)
        except KeyboardInterrupt:
            self.say('\nInterrupted while the orphans were being removed: all of them are gone, or '
                     'none is. "powervm-fileio audit" tells.')
            raise
        self.was_done = f'{sum(finding.is_fixed for finding in found)} removed'
        return found

    def _agrees(self, count: int) -> bool:
        self.app.stderr.write(f'Remove {count} orphan{"s" if count > 1 else ""}? [y/N] ')
        self.app.stderr.flush()
        answer = self.app.stdin.readline()
        if not self.app.stdin.isatty():
            self.say('')
        return answer.strip().lower() in ('y', 'yes')
