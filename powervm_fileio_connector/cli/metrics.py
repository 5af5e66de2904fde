# SPDX-License-Identifier: Apache-2.0
"""The result of an audit as metrics of Prometheus, for node_exporter's textfile collector."""

from __future__ import annotations

import collections
import os

import prometheus_client

from powervm_fileio_connector.cli import audit_checks
from powervm_fileio_connector.cli import inventory
from powervm_fileio_connector.cli.errors import UsageError


def write(path: str, left: list[inventory.Disk], findings: list[audit_checks.Finding]) -> None:
    """Write the metrics to a file, in place of what it held, in one step.

    :param left: the disks that are left, and ``findings`` likewise
    :raises UsageError: the file cannot be written
    """
    registry = prometheus_client.CollectorRegistry()
    found = prometheus_client.Gauge(
        'powervm_fileio_findings', 'Problems that the last audit found.', ['finding'],
        registry=registry)
    # A problem that is gone is 0, so that alerts end.
    for finding in audit_checks.FINDINGS:
        found.labels(finding).set(0)
    for finding, count in collections.Counter(one.what for one in findings).items():
        found.labels(finding).set(count)
    disks = prometheus_client.Gauge(
        'powervm_fileio_disks', 'Disks of LPARs that are files.', ['file_state', 'mount_state'],
        registry=registry)
    for states, count in collections.Counter(
            (disk.health.file, disk.health.mount_state) for disk in left
            if disk.health is not None).items():
        disks.labels(*states).set(count)
    prometheus_client.Gauge(
        'powervm_fileio_audit_timestamp_seconds', 'When the last audit ended.',
        registry=registry).set_to_current_time()
    path = os.path.realpath(path)       # a link stays: the file that it leads to is replaced
    if os.path.exists(path) and not os.path.isfile(path):
        raise UsageError(f'--metrics {path} is no regular file.')
    try:
        prometheus_client.write_to_textfile(path, registry)
    except OSError as err:
        raise UsageError(f'--metrics {path} cannot be written: {err.strerror}.') from err
