# SPDX-License-Identifier: Apache-2.0
"""All statements tried, one after the other; whatever was made is removed in the end."""

from __future__ import annotations

import contextlib
import functools
import signal
import subprocess
from collections.abc import Callable

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.cli import signals
from powervm_fileio_connector.cli.qualification import disk_lines
from powervm_fileio_connector.cli.qualification import refusal_lines
from powervm_fileio_connector.cli.qualification import rest_lines
from powervm_fileio_connector.cli.qualification.lines import Finding
from powervm_fileio_connector.cli.qualification.lines import Line
from powervm_fileio_connector.cli.qualification.lines import Verdict
from powervm_fileio_connector.cli.qualification.lines import differs
from powervm_fileio_connector.cli.qualification.lines import expect
from powervm_fileio_connector.cli.qualification.site import Site
from powervm_fileio_connector.novalink.failures import RequestFailed

UNTOUCHED = Line('untouched', 'all other mappings are left as they were, byte for byte',
                 lambda site: differs('it is tried last'))

ALL_LINES: list[Line] = [*disk_lines.LINES, *refusal_lines.LINES, *rest_lines.LINES, UNTOUCHED]

Told = Callable[[Line, Finding], None]


def qualify(site: Site, tell: Told) -> tuple[list[tuple[Line, Finding]], list[str]]:
    """Try all statements; what was made is removed, also after Ctrl-C, SIGTERM and SIGHUP.

    :param tell: is given each line with its verdict
    :returns: the lines with their verdicts, and what could not be removed
    :raises UsageError: nothing can be made in the directory
    :raises FileIOConnectorError: no file there may be attached, whatever NovaLink says
    """
    before = site.others()
    findings: list[tuple[Line, Finding]] = []
    ignore = functools.partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    with signals.ending_cleanly(), contextlib.ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
        try:
            try:
                site.make_directory()
                for line in ALL_LINES[:-1]:
                    findings.append((line, _tried(line, site)))
                    tell(*findings[-1])
            finally:
                ignore()        # Ctrl-C, which must not stop what removes mappings and files
        finally:
            # Again: one that came a moment before has ended the block above.
            ignore()
            remaining = site.clean_up()
    findings.append((UNTOUCHED, expect(site.others() == before, '')))
    tell(*findings[-1])
    return findings, remaining


def _tried(line: Line, site: Site) -> Finding:
    try:
        return line.check(site)
    except (exceptions.FileIOConnectorError, RequestFailed) as err:
        return Finding(Verdict.DIFFERS, str(err), type(err).__name__)
    except (OSError, subprocess.SubprocessError) as err:    # of this host, and not of NovaLink
        return Finding(Verdict.NOT_TRIED, str(err), type(err).__name__)
