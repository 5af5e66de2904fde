# SPDX-License-Identifier: Apache-2.0
"""The sockets to share probe processes."""

import os
import sys
import warnings

import pytest

from powervm_fileio_connector.host.probe import channel
from tests.unit.host.probe.test_interrupted import interrupted


@pytest.mark.parametrize('first', [0, channel._FIRST_DESCRIPTOR])
def test_an_exception_at_any_instruction_leaves_no_descriptor(first, monkeypatch):
    def make():
        for made in channel.socket_pair(channel.socket.SOCK_SEQPACKET):
            made.close()

    # A number that is not reached at once stands for a standard stream that is closed.
    lowest = os.dup(0)
    os.close(lowest)
    monkeypatch.setattr(channel, '_FIRST_DESCRIPTOR', lowest + 3 if first else 0)
    before = {*os.listdir('/proc/self/fd')}     # others may close some of theirs meanwhile
    number = 1
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ResourceWarning)
        # Python 3.12 and later trace a function's instructions from its second traced call on.
        assert interrupted(make, sys.maxsize, 'opcode', directory='') is None
        while interrupted(make, number, 'opcode', directory=''):
            assert before.issuperset(os.listdir('/proc/self/fd')), number
            number += 1
    assert number > 50
