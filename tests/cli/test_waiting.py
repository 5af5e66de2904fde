# SPDX-License-Identifier: Apache-2.0
"""The user is told when NovaLink is waited for, and until when."""

import re

from tests.contract.test_waiting import Outage
from tests.contract.test_waiting import Starting

WAITS = re.compile(r'^NovaLink at 127\.0\.0\.1 does not serve requests \(Service is unavailable\); '
                   r'trying again until \d\d:\d\d:\d\d at the latest\.$', re.MULTILINE)


def test_a_command_that_waits_for_novalink_says_so_and_goes_on(operate, novalink):
    novalink.faults.add(Starting(times=None, outage=Outage(3.0)))
    outcome = operate('list')
    assert outcome.code == 0, outcome
    assert WAITS.search(outcome.err), outcome
