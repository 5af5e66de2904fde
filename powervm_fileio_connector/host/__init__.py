# SPDX-License-Identifier: Apache-2.0
"""This host: its mount table, the file of a volume on a mount, and probes of both."""

from __future__ import annotations

from powervm_fileio_connector.host.finder import VolumeFile
from powervm_fileio_connector.host.finder import find
from powervm_fileio_connector.host.finder import recheck
from powervm_fileio_connector.host.listing import list_files
from powervm_fileio_connector.host.mapped_paths import MappedNames
from powervm_fileio_connector.host.mapped_paths import images_over
from powervm_fileio_connector.host.mapped_paths import leading_elsewhere
from powervm_fileio_connector.host.mapped_paths import names_among
from powervm_fileio_connector.host.namespace import require_same_namespace
from powervm_fileio_connector.host.spellings import candidate_paths
from powervm_fileio_connector.host.spellings import probed_paths
from powervm_fileio_connector.host.spellings import resolved_paths
from powervm_fileio_connector.host.spellings import spellings_of
from powervm_fileio_connector.host.spellings import unbound

__all__ = ['MappedNames', 'VolumeFile', 'candidate_paths', 'find', 'images_over',
           'leading_elsewhere', 'list_files', 'names_among', 'probed_paths', 'recheck',
           'require_same_namespace', 'resolved_paths', 'spellings_of', 'unbound']
