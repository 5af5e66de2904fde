# SPDX-License-Identifier: Apache-2.0
"""The helper processes: kept, replaced, shared by threads, not by forks, and gone in the end."""

import concurrent.futures
import contextlib
import os
import pathlib
import select
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.host.probe import helper as helper_module
from powervm_fileio_connector.host.probe import pool
from powervm_fileio_connector.host.probe import protocol
from tests.waiting import wait_until


def guards():
    """Return the ids of our children that guard a helper."""
    return {pid for pid in children('self')
            if b'probe/worker.py' in pathlib.Path(f'/proc/{pid}/cmdline').read_bytes()}


def helpers():
    """Return the ids of the helper processes, which the guards have for children."""
    return {worker for guard in guards() for worker in children(guard)}


def open_files(pid):
    links = set()
    for descriptor in os.listdir(f'/proc/{pid}/fd'):
        with contextlib.suppress(FileNotFoundError):
            links.add(os.readlink(f'/proc/{pid}/fd/{descriptor}'))
    return links


def children(pid):
    found = set()
    for task in pathlib.Path(f'/proc/{pid}/task').iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.update(map(int, (task / 'children').read_text().split()))
    return found


def ended(pid):
    """Wait until a process has ended."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            assert select.select([descriptor], [], [], 10)[0]
        finally:
            os.close(descriptor)


@pytest.fixture
def prober():
    probe.close_idle()
    yield probe.Prober(timeout_s=20)
    probe.close_idle()
    assert guards() == set()


@pytest.fixture
def list_share(prober, share):
    (share / 'volume-1').touch()

    def list_share():
        return list(prober.probe(probe.ListFiles(str(share))).facts.names)
    return list_share


def test_a_helper_is_kept_for_the_next_probe(list_share):
    assert list_share() == ['volume-1']
    kept = helpers()
    assert len(kept) == 1
    assert list_share() == ['volume-1']
    assert helpers() == kept


def test_a_warm_probe_costs_at_most_3_ms_children_counted(list_share):
    def cpu_s():
        mine = os.times()
        theirs = sum(
            sum(map(int, pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[
                11:13])) for pid in helpers() | guards()) / os.sysconf('SC_CLK_TCK')
        return mine.user + mine.system + theirs

    list_share()
    rounds = 500
    cpu, wall = cpu_s(), time.perf_counter()
    for _ in range(rounds):
        list_share()
    cpu, wall = cpu_s() - cpu, time.perf_counter() - wall
    # The machine may be busy with other things; what is left of the wall's limit is enough anyway.
    assert cpu / rounds < 0.003
    assert min(wall, cpu) / rounds < 0.003


def test_a_helper_that_ended_while_idle_is_replaced(list_share):
    for which in (helpers, guards):
        list_share()
        (guard,), (helper,) = guards(), helpers()
        os.kill(*which(), signal.SIGKILL)
        ended(guard)
        assert list_share() == ['volume-1']
        ended(helper)
        assert guards().isdisjoint({guard})


def test_helpers_are_ended_when_idle_ones_are_closed(list_share):
    list_share()
    (pid,) = helpers()
    probe.close_idle()
    assert guards() == set()
    ended(pid)


def test_a_helper_has_its_own_session_and_none_of_our_descriptors(list_share, share):
    with open(share / 'ours', 'w') as ours:
        os.set_inheritable(ours.fileno(), True)
        list_share()
        (guard,) = guards()
        for pid in (guard, *helpers()):
            assert os.getsid(pid) == guard
            assert os.readlink(f'/proc/{pid}/cwd') == '/'
            assert ours.name not in open_files(pid)


def test_probes_of_many_threads_share_the_helpers_and_few_are_kept(list_share):
    with concurrent.futures.ThreadPoolExecutor(30) as threads:
        for names in threads.map(lambda _: list_share(), range(300)):
            assert names == ['volume-1']
    assert 1 <= len(helpers()) <= helper_module.MOST


@pytest.fixture
def busy(prober):
    """As many helpers at work as there may be."""
    taken = [pool.take(Deadline(20)) for _ in range(helper_module.MOST)]
    wait_until(lambda: len(helpers()) >= len(taken))     # until their guards have started them
    yield taken
    pool.end(taken)


@pytest.fixture
def long_busy(busy):
    for key, (taken_at, helper) in helper_module.busy.items():
        helper_module.busy[key] = taken_at - 60, helper
    return busy


def test_where_many_are_at_work_one_of_them_is_waited_for(busy, monkeypatch):
    monkeypatch.setattr(pool, '_SOON_S', 30)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(pool.take, Deadline(20))
        assert not concurrent.futures.wait([waiting], 0.3).done
        pool.give_back(busy[3])
        assert waiting.result(10) is busy[3]


def test_helpers_that_have_been_at_work_for_long_are_shared(long_busy, list_share):
    before = guards()
    for _ in range(20):
        assert list_share() == ['volume-1']
    assert guards() == before
    assert not any(helper.shared or helper.is_held for helper in long_busy)


def test_a_probe_that_shares_a_helper_is_made_elsewhere_when_that_is_killed(
        long_busy, prober, share):
    (share / 'volume-1').touch()
    for pid in helpers():
        os.kill(pid, signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(prober.probe, probe.ListFiles(str(share)))
        while not any(helper.shared for helper in long_busy):
            assert not waiting.done()
        pool.end(long_busy)
        assert waiting.result(20).facts.names == ('volume-1',)


def test_a_helper_that_a_shared_probe_hangs_in_is_not_kept(long_busy, share):
    for pid in helpers():
        os.kill(pid, signal.SIGSTOP)
    assert probe.Prober(0.3).probe(probe.ListFiles(str(share))).is_hung
    [held] = [helper for helper in long_busy if helper.is_held]
    guard = held.pid
    pool.give_back(held)
    assert guard not in guards()


def test_no_call_waits_for_its_own_helpers(long_busy, prober, share):
    answers = prober.probe_all([probe.ListFiles(str(share))] * 700)
    assert {answer.facts.names for answer in answers} == {()}


def test_more_probes_than_run_at_once_are_all_answered(prober, share):
    requests = [probe.ListFiles(f'{share}/{number}') for number in range(50)]
    for number in range(50):
        (share / f'{number}' / f'only-{number}').parent.mkdir()
        (share / f'{number}' / f'only-{number}').touch()
    answers = prober.probe_all(requests)
    assert [answer.facts.names for answer in answers] == [
        (f'only-{number}',) for number in range(50)]


def test_a_helper_that_does_not_answer_is_killed_and_replaced(list_share, share):
    list_share()
    (pid,) = helpers()
    os.kill(pid, signal.SIGSTOP)
    answer = probe.Prober(0.2).probe(probe.ListFiles(str(share)))
    assert (answer.is_hung, answer.errno) == (True, None)
    assert guards() == set()
    ended(pid)
    assert list_share() == ['volume-1']


def sockets():
    return {link for link in open_files('self') if link.startswith('socket:')}


def test_a_fork_takes_no_helper_of_its_parent(list_share):
    others = sockets()
    list_share()
    before = helpers()
    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException):
            ok = sockets() == others and list_share() == ['volume-1'] and len(helpers()) == 1
            probe.close_idle()
            os._exit(0 if ok and guards() == set() else 1)
        os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    assert list_share() == ['volume-1']
    assert helpers() == before


def run(program, *arguments):
    return subprocess.run([sys.executable, '-c', textwrap.dedent(program), *arguments],
                          check=True, capture_output=True, text=True).stdout.split()


def test_helpers_end_with_their_parent_however_that_ends():
    for how in ('pass', 'os._exit(0)', 'os.kill(os.getpid(), 9)'):
        program = f'''
            import os
            from powervm_fileio_connector.host import probe
            probe.Prober(20).probe(probe.ListFiles('/'))
            (guard,) = open('/proc/thread-self/children').read().split()
            print(guard, open(f'/proc/{{guard}}/task/{{guard}}/children').read(), flush=True)
            {how}
        '''
        done = subprocess.run([sys.executable, '-W', 'always::ResourceWarning', '-c',
                               textwrap.dedent(program)], text=True, capture_output=True)
        guard, helper = map(int, done.stdout.split())
        ended(guard)
        ended(helper)
        assert 'still running' not in done.stderr


@pytest.mark.filterwarnings('ignore')
def test_probes_work_where_eventlet_has_patched_everything(share):
    pytest.importorskip('eventlet')
    (share / 'volume-1').touch()
    assert run('''
        import eventlet
        eventlet.monkey_patch()
        import os
        import signal
        import sys
        from powervm_fileio_connector.host import probe
        prober = probe.Prober(20)
        pool = eventlet.GreenPool(10)
        request = probe.ListFiles(sys.argv[1])
        for answer in pool.imap(lambda _: prober.probe(request), range(50)):
            assert answer.facts.names == ("volume-1",), answer
        probe.close_idle()
        print('done')
    ''', str(share)) == ['done']


def test_a_helper_that_cannot_be_started_is_no_fault_of_the_share(prober, share, monkeypatch):
    monkeypatch.setattr(sys, 'executable', str(share / 'no-python'))
    answer = prober.probe(probe.ListFiles('/'))
    assert 'cannot start a share probe process' in answer.failure
    assert (answer.facts, answer.errno, answer.is_hung) == (None, None, False)


def test_a_helper_that_always_ends_by_itself_is_told(prober, share, monkeypatch):
    monkeypatch.setattr(sys, 'executable', '/bin/false')
    assert 'exited unexpectedly' in prober.probe(probe.ListFiles('/')).failure


def test_a_fault_of_the_worker_is_told_with_its_text(prober):
    class Unknown(probe.ListFiles):
        KIND = 'unknown'

    assert 'KeyError' in prober.probe(Unknown('/')).failure


def test_the_first_of_equally_good_probes_is_preferred(prober, share):
    for name in ('a', 'b'):
        (share / name).mkdir()
    requests = [probe.ListFiles(f'{share}/{name}') for name in ('gone', 'a', 'b')]
    for _ in range(10):
        assert prober.probe_any(requests[1:], lambda answer: answer.errno is None)[0] == 0
    index, answer = prober.probe_any(requests, lambda answer: answer.errno is None)
    assert index in (1, 2)
    assert answer.facts.names == ()
    index, answer = prober.probe_any(requests[:1], lambda answer: answer.errno is None)
    assert (index, answer.errno) == (0, 2)


@pytest.mark.parametrize('name', ['volume-ä€𝄞', 'volume-\udcff', 'volume-\n"\\'])
def test_names_of_any_bytes_come_back_as_they_are(name, prober, share):
    (share / name).touch()
    assert prober.probe(probe.ListFiles(str(share))).facts.names == (name,)
    (share / f'{name}.d').mkdir()
    assert prober.probe(probe.PathProbe(f'{share}/{name}.d')).facts.path == (
        f'{share}/{name}.d')


def test_probes_for_which_no_time_is_left_accuse_no_share(prober):
    requests = [probe.ListFiles('/'), probe.ListFiles('/dev')]
    for answer in (*prober.probe_all(requests, Deadline(0)),
                   prober.probe_any(requests, lambda answer: True, Deadline(0))[1]):
        assert not answer.is_hung
        assert 'was used up by others' in answer.failure
    assert guards() == set()


def test_probes_of_one_share_are_made_in_turn_by_one_process(prober, share):
    requests = [probe.ListFiles(str(share), share=number % 70) for number in range(700)]
    assert all(answer.facts == probe.Listing(()) for answer in prober.probe_all(requests))
    assert len(guards()) == 2       # 64 shares each


@pytest.mark.parametrize('told', [
    {'names': [], 'more': 1}, {'name': []}, {'refusal': ['path', 'why', 'more']}])
def test_an_answer_of_another_version_is_a_failure_that_says_so(told):
    """Helpers that start after an upgrade are of the new version, and their caller is not."""
    answer = protocol.answer_of(probe.ListFiles('/'), told, 0.1)
    assert 'of another version' in answer.failure
