# SPDX-License-Identifier: Apache-2.0
"""An exception at any line of a probe, as signals or killed greenlets bring it, leaves nothing."""

import os
import random
import signal
import sys

import pytest

from powervm_fileio_connector.host import probe
from powervm_fileio_connector.host.probe import helper
from tests import effort
from tests.unit.host.probe.test_prober import guards
from tests.unit.host.probe.test_prober import helpers

DIRECTORY = os.path.dirname(probe.__file__)

# Each line that is tried costs the start of a process; the others are tried on demand.
STEP = int(os.environ.get('POWERVM_FILEIO_LINE_STEP', effort.of(5, 1)))


class Interrupted(BaseException):
    """What a signal's handler raises."""


def interrupted(call, number, step='line', directory=DIRECTORY):
    """Call something, and raise before that many steps of a directory's modules have been made.

    :param step: ``line``, or ``opcode`` for an instruction
    :returns: where it was raised; None: there were fewer steps
    """
    count = 0

    def trace_call(frame, event, arg):
        if not frame.f_code.co_filename.startswith(directory):
            return None
        frame.f_trace_opcodes = step == 'opcode'
        return trace_step

    def trace_step(frame, event, arg):
        nonlocal count
        if event == step:
            count += 1
            if count == number:
                raise Interrupted(f'{frame.f_code.co_filename}:{frame.f_lineno}')
        return trace_step

    before = sys.gettrace()
    sys.settrace(trace_call)
    try:
        call()
    except Interrupted as interruption:
        return str(interruption)
    finally:
        sys.settrace(before)
    return None


def left():
    return guards(), len(os.listdir('/proc/self/fd')), dict(helper.busy), len(helper._free)


def new_process(share):
    """Nothing is there that could be asked."""


def stopped_process(share):
    """An idle process is there, which does not answer any more."""
    assert probe.Prober(20).probe(probe.ListFiles(str(share))).facts
    (worker,) = helpers()
    os.kill(worker, signal.SIGSTOP)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
@pytest.mark.parametrize(('prepare', 'timeout_s'), [(new_process, 20), (stopped_process, 0.02)])
def test_an_exception_at_any_line_leaves_no_process_and_no_descriptor(prepare, timeout_s, share):
    def call():
        prober.probe(probe.ListFiles(str(share)))

    prober = probe.Prober(timeout_s)
    probe.close_idle()
    before = left()
    assert before[0] == set()
    line, where = random.randrange(STEP) + 1 - STEP, 'nowhere'
    while where is not None:
        line += STEP
        prepare(share)
        where = interrupted(call, line)
        probe.close_idle()
        assert left() == before, where
    assert line > 50
