# SPDX-License-Identifier: Apache-2.0
"""In the machine: try the connector with SMB; ``python -m tests.kernel.smb.run [WORD]``."""

import functools
import sys

from tests.kernel import cases
from tests.kernel.nfs import site as sites
from tests.kernel.smb import facts


def main(*words):
    facts.prepare()
    with sites.Site.started(None, cases.RESULTS / 'tables') as site:
        cases.run_facts(facts.FACTS, words, functools.partial(_tried, site))


def _tried(site, fact):
    try:
        fact(site)
    finally:
        site.detach_all()


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
