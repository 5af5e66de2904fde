# SPDX-License-Identifier: Apache-2.0
"""The user is told when NovaLink is waited for, and until when."""

import re

import pytest

from powervm_fileio_connector.simulator import Busy503

WAITS = re.compile(r'Warning: NovaLink at 127\.0\.0\.1 does not serve requests '
                   r'\(Service is unavailable\); trying again until \d\d:\d\d:\d\d '
                   r'at the latest\.\n')


def test_a_command_that_waits_for_novalink_says_so_and_goes_on(begin, novalink):
    novalink.faults.add(Busy503(times=None))
    process = begin('list')
    said = process.stderr.readline()
    novalink.faults.clear()
    assert WAITS.fullmatch(said), said
    assert process.outcome().code == 0


@pytest.mark.parametrize('novalink', [{'latency': 0.4}], indirect=True)
def test_the_timeout_is_for_all_requests_of_a_command(operate, novalink, make_volume):
    outcome = operate('attach', make_volume(), '--lpar', 'lpar1', '--timeout', '1.0')
    assert outcome.code in (6, 10), outcome     # late, or not sent since it would be
    assert operate('attach', make_volume(), '--lpar', 'lpar1', '--timeout', '20').code == 0
