# SPDX-License-Identifier: Apache-2.0
"""Tries on a real NovaLink what this package, and its simulator, take for granted."""

from powervm_fileio_connector.cli.qualification.lines import Line
from powervm_fileio_connector.cli.qualification.lines import Verdict
from powervm_fileio_connector.cli.qualification.redaction import report_of
from powervm_fileio_connector.cli.qualification.run import ALL_LINES
from powervm_fileio_connector.cli.qualification.run import qualify

__all__ = ['ALL_LINES', 'Line', 'Verdict', 'qualify', 'report_of']
