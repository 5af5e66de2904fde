# SPDX-License-Identifier: Apache-2.0
"""This host: its mount table, the file of a volume on a mount, and probes of both."""
