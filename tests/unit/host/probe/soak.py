# SPDX-License-Identifier: Apache-2.0
"""Many probes while their processes and callers are disturbed: ``python soak.py MODE PROBES SEED``.

``native``: threads; workers and guards are killed and stopped, time-outs are short, the process
forks, and a signal's handler raises at any point of the main thread. ``eventlet``: the same with
greenlets, which are killed and run into ``eventlet.Timeout``. ``mixed``: greenlets, and native
threads of ``eventlet.tpool``.

In the end nothing may be left: no process (they are told by an environment variable, whatever is
their parent), no child or zombie, no descriptor, no thread, and no process that counts as busy.
What happened is printed as JSON.
"""

import collections
import contextlib
import gc
import json
import os
import pathlib
import random
import signal
import sys
import tempfile
import time
import uuid

MODE, PROBES, SEED = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
TAG = f'SOAK={uuid.uuid4()}'
os.environ.update([TAG.split('=')])

if MODE != 'native':
    import eventlet
    import eventlet.tpool
    eventlet.monkey_patch()

import threading  # noqa: E402  patched, where eventlet is to patch it

from powervm_fileio_connector.host import probe  # noqa: E402
from powervm_fileio_connector.host.probe import helper  # noqa: E402
from powervm_fileio_connector.host.probe import root_helper  # noqa: E402

WORKERS = 6             # threads or greenlets that probe
LONG_S, SHORT_S = 2.0, 0.03
LEFT_S = 20.0           # in which what was killed has to be gone

chance = random.Random(SEED)
outcomes = collections.Counter()
overrun_s = 0.0


class Interrupted(BaseException):
    """Raised by a signal's handler, or in a greenlet, wherever that is."""


def main():
    with tempfile.TemporaryDirectory() as directory:
        for name in 'abc':
            pathlib.Path(directory, name).touch()
        probe_once(directory, 20)               # imports, and starts what a process keeps
        probe.close_idle()
        if MODE == 'mixed':
            eventlet.tpool.execute(len, '')     # starts its threads
        before = left_over()
        run(directory)
        assert probe_once(directory, 60), 'a probe after all that has no answer'
    probe.close_idle()
    gc.collect()
    until = time.monotonic() + LEFT_S
    while (after := left_over()) != before and time.monotonic() < until:
        time.sleep(0.05)
        helper.reap()
    assert after == before, (before, after)
    print(json.dumps({'mode': MODE, 'probes': PROBES, 'overrun_s': round(overrun_s, 3),
                      **outcomes}))


def run(directory):
    """Make all probes, from several threads or greenlets, while others disturb them."""
    ended = threading.Event()
    disturber = threading.Thread(target=disturb, args=(ended,))
    disturber.start()
    # Signals are handled in the main thread, which probes too.
    shares = [PROBES // WORKERS] * (WORKERS - 1)
    threads = [threading.Thread(target=call, args=(directory, count)) for count in shares]
    for thread in threads:
        thread.start()
    call(directory, PROBES - sum(shares), is_main=True)
    for thread in threads:
        thread.join()
    while not outcomes['disturbed']:        # a quick machine may be through before that
        call(directory, 1, is_main=True)
    ended.set()
    disturber.join()


def call(directory, count, is_main=False):
    for _ in range(count):
        timeout_s = SHORT_S * chance.random() if chance.random() < 0.2 else LONG_S
        how = 'fork' if chance.random() < 0.01 else 'interrupt' if chance.random() < 0.2 else ''
        if how == 'fork':
            fork(directory)
        elif MODE == 'mixed' and not is_main and chance.random() < 0.5:
            outcomes[eventlet.tpool.execute(probe_once, directory, timeout_s)] += 1
        elif how == 'interrupt' and MODE != 'native':
            interrupt_greenlet(directory, timeout_s)
        elif how == 'interrupt' and is_main:
            interrupt_by_signal(directory, timeout_s)
        else:
            outcomes[probe_once(directory, timeout_s)] += 1


def probe_once(directory, timeout_s):
    """Return the outcome of a probe, or of one that asks for several things."""
    global overrun_s
    requests = [probe.ListFiles(directory), probe.PathProbe(f'{directory}/a', is_directory=False),
                probe.FileProbe(directory, 'b')][:chance.randint(1, 3)]
    started = time.monotonic()
    answer = probe.Prober(timeout_s).probe_all(requests)[0]
    overrun_s = max(overrun_s, time.monotonic() - started - timeout_s)
    if answer.facts is not None:
        assert sorted(answer.facts.names) == ['a', 'b', 'c'], answer
        return 'answered'
    assert answer.is_hung or answer.failure, answer
    return 'hung' if answer.is_hung else 'failed'


def interrupt_by_signal(directory, timeout_s):
    def handler(number, frame):
        raise Interrupted

    previous = signal.signal(signal.SIGALRM, handler)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, chance.choice([0.0005, 0.003, 0.03, 0.1])
                             * chance.random() + 1e-6)
            outcomes[probe_once(directory, timeout_s)] += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
    except Interrupted:
        outcomes['interrupted'] += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def interrupt_greenlet(directory, timeout_s):
    after_s = chance.choice([0.0, 0.001, 0.01, 0.05]) * chance.random()
    if chance.random() < 0.5:
        try:
            with eventlet.Timeout(after_s):
                outcomes[probe_once(directory, timeout_s)] += 1
        except eventlet.Timeout:
            outcomes['timed out'] += 1
        return
    greenlet = eventlet.spawn(probe_once, directory, timeout_s)
    eventlet.sleep(after_s)
    greenlet.kill()
    with contextlib.suppress(eventlet.greenlet.GreenletExit):
        greenlet.wait()
    outcomes['killed'] += 1


def fork(directory):
    """Fork; the child probes for itself, or, where it would need its parent's hub, just ends."""
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            signal.setitimer(signal.ITIMER_REAL, 0)
            if MODE == 'native':
                probe_once(directory, 20)
                probe.close_idle()
            os._exit(0 if not children() else 3)
        os._exit(4)
    while True:
        # Without a wait that a signal's handler could end, or that holds up other greenlets.
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        time.sleep(0.005)
    assert os.waitstatus_to_exitcode(status) == 0, status
    outcomes['forks'] += 1


def disturb(ended):
    while not ended.wait(0.1 * chance.random()):
        found = children()
        found += [worker for guard in found for worker in children(guard)]
        if found:
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):     # it has ended
                pid = chance.choice(found)
                if b'probe/worker.py' in pathlib.Path(f'/proc/{pid}/cmdline').read_bytes():
                    os.kill(pid, chance.choice([signal.SIGKILL, signal.SIGSTOP]))
                    outcomes['disturbed'] += 1


def children(pid='self'):
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in pathlib.Path(f'/proc/{pid}/task').iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, (task / 'children').read_text().split())
    return found


def left_over():
    """Return all that may not grow: other processes, children, descriptors and threads."""
    processes = []
    for entry in pathlib.Path('/proc').iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if TAG.encode() in (entry / 'environ').read_bytes().split(b'\0'):
                    processes.append((entry / 'cmdline').read_text().replace('\0', ' '))
    return {'processes': processes, 'children': children(),
            'descriptors': descriptors(),
            'threads': len(os.listdir('/proc/self/task')),
            'busy': len(helper.busy), 'helpers free': len(helper._free),
            'root helper threads': len(root_helper._free)}


def descriptors():
    """Return what is open, but for the hubs that eventlet keeps, one for each native thread."""
    found = []
    for number in os.listdir('/proc/self/fd'):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f'/proc/self/fd/{number}'))
    return sorted(what for what in found if 'eventpoll' not in what)


if __name__ == '__main__':
    main()
