# SPDX-License-Identifier: Apache-2.0
"""What ``NovaLinkProcess`` starts; for people there is ``powervm-fileio simulate``."""

from .process import main

if __name__ == '__main__':  # pragma: no cover: a process of its own
    main()
