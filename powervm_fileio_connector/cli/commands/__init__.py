# SPDX-License-Identifier: Apache-2.0
"""The commands of ``powervm-fileio``: each module is one command, with its parser."""
