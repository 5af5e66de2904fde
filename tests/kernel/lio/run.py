# SPDX-License-Identifier: Apache-2.0
"""In the machine: hold facts about LIO against the kernel; ``python -m tests.kernel.lio.run``."""

import sys

from tests.kernel import cases
from tests.kernel.lio import facts
from tests.kernel.lio import target


def main(*words):
    target.start()
    facts.prepare()
    cases.run_facts(facts.FACTS, words)


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
