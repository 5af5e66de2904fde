# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio check``: would attaching work?"""

from __future__ import annotations

import argparse

from powervm_fileio_connector.cli import options
from powervm_fileio_connector.cli import output
from powervm_fileio_connector.cli.errors import ExitCode


class Check(output.Table):
    """Check whether a volume could be attached, and change nothing.

    Checks NovaLink, the management partition, the share (with the time it took to answer), the
    file, its format, the LPAR, and to which LPARs the file is attached. Without a volume: NovaLink,
    and every share that is mounted where Nova and Cinder mount them or that a disk lies on.
    """

    example = 'powervm-fileio check volume.json --lpar web01'
    in_table = ('check', 'verdict', 'detail')

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        options.add_volume(parser, is_optional=True)
        options.add_lpar(parser, 'LPAR to attach to')
        parser.add_argument('--multiattach', action='store_true',
                            help='other LPARs may have the volume too')
        options.add_place(parser)

    def take_action(self, parsed_args: argparse.Namespace) -> output.Output:
        from powervm_fileio_connector.cli import preflight
        from powervm_fileio_connector.cli import shares as checks

        rows = preflight.rows(parsed_args)
        failed = [row for row in rows if row.verdict == checks.FAILED]
        if failed:
            self.exit_code = ExitCode.FINDINGS
            overall = checks.CheckResult('overall', checks.FAILED,
                                         f'{len(failed)} of {len(rows)} checks failed')
        else:
            overall = checks.CheckResult('overall', checks.OK, 'all checks passed')
        return checks.KEYS, [
            (row.what, row.verdict, row.detail,
             None if row.seconds is None else output.Seconds(round(row.seconds, 3)),
             row.error_type) for row in (*rows, overall)]
