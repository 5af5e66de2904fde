# SPDX-License-Identifier: Apache-2.0
"""The report of a qualification: JSON without anything that identifies the host."""

from __future__ import annotations

import time
from typing import Any

from powervm_fileio_connector.cli.qualification.lines import Finding
from powervm_fileio_connector.cli.qualification.lines import Line
from powervm_fileio_connector.cli.qualification.redaction import Redaction
from powervm_fileio_connector.cli.qualification.site import Exchange

FORMAT = 'powervm-fileio-qualification-1'


def report_of(findings: list[tuple[Line, Finding]], exchanges: list[Exchange],
              documents: list[bytes], directory: str) -> dict[str, Any]:
    """Return the report as plain data.

    :param documents: what a simulator can start from: the feeds of VIOS, LPARs and the machine
    :param directory: of the files that were made
    """
    redaction = Redaction(directory)
    shown = [redaction.xml(document) for document in documents]
    sent = [{'method': one.method, 'path': redaction.path(one.path), 'status': one.status,
             'seconds': round(one.took_s, 3), 'request': redaction.body(one.request),
             'answer': redaction.body(one.answer)} for one in exchanges]
    return {
        'format': FORMAT, 'date': time.strftime('%Y-%m-%d'),
        'lines': [{'key': line.key, 'statement': line.statement, 'verdict': found.verdict.value,
                   'seen': found.error or redaction.seen(found.seen)} for line, found in findings],
        'documents': shown, 'exchanges': sent}
