# SPDX-License-Identifier: Apache-2.0
"""What ``NovaLinkProcess`` starts; for people there is ``powervm-fileio simulate``."""

from powervm_fileio_connector.simulator.process import main

main()
