# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio check``: would attaching work?"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from powervm_fileio_connector.cli import options
from powervm_fileio_connector.cli import output
from powervm_fileio_connector.cli.errors import ExitCode


class Check(output.Table):
    """Check whether a volume could be attached, and change nothing.

    Looks at NovaLink, the management partition, the share (with the time it took), the file, its
    format, the LPAR, and who has the file already. Without a volume: NovaLink, and every share that
    is mounted where Nova and Cinder mount them or that a disk lies on.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        options.add_volume(parser, is_optional=True)
        options.add_lpar(parser, 'the LPAR that would get it')
        parser.add_argument('--multiattach', action='store_true',
                            help='another LPAR may have it too')
        options.add_novalink(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        from powervm_fileio_connector.cli import checks
        from powervm_fileio_connector.cli import preflight

        rows = preflight.rows(parsed_args)
        failed = [row for row in rows if row.verdict == checks.FAILED]
        if failed:
            self.exit_code = ExitCode.FINDINGS
            overall = ('overall', checks.FAILED, f'{len(failed)} of {len(rows)} checks failed')
        else:
            overall = ('overall', checks.OK, 'all checks passed')
        return ('Check', 'Verdict', 'Detail'), [
            *((row.what, row.verdict, row.detail) for row in rows), overall]
