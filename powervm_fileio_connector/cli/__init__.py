# SPDX-License-Identifier: Apache-2.0
"""The command ``powervm-fileio``: each command is a module, imported when it is needed."""
