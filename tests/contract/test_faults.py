# SPDX-License-Identifier: Apache-2.0
"""What goes wrong between us and NovaLink: carried out once all the same, or a clear error."""

import concurrent.futures
import dataclasses
import gc
import http.server
import os
import re
import socket
import threading
import time
import uuid

import pytest
from oslo_config import cfg

from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.novalink import client_for
from powervm_fileio_connector.novalink import retry
from powervm_fileio_connector.novalink import session
from powervm_fileio_connector.simulator import Busy500
from powervm_fileio_connector.simulator import Busy503
from powervm_fileio_connector.simulator import DropAfterApply
from powervm_fileio_connector.simulator import DropBeforeApply
from powervm_fileio_connector.simulator import ExpiredSession
from powervm_fileio_connector.simulator import InternalError500
from powervm_fileio_connector.simulator import Latency
from powervm_fileio_connector.simulator import LogonRefused
from powervm_fileio_connector.simulator import OmitLUA
from powervm_fileio_connector.simulator import RefuseConnection
from powervm_fileio_connector.simulator import Restart
from powervm_fileio_connector.simulator import Slow
from powervm_fileio_connector.simulator import StaleEtag412
from powervm_fileio_connector.simulator import TruncatedAnswer
from tests.contract.conftest import client_of
from tests.contract.conftest import committer_for
from tests.contract.conftest import deadline
from tests.contract.conftest import end_fork
from tests.waiting import wait_until

PASSING = [
    [Busy503(times=2)], [Busy503(times=2, body='html')], [Busy503(times=2, body='empty')],
    [Busy500(times=2)], [InternalError500(times=2)], [StaleEtag412(times=3)],
    [RefuseConnection(times=2)], [DropBeforeApply(times=2)], [DropAfterApply(times=2)],
    [TruncatedAnswer(times=2)], [TruncatedAnswer(fraction=0.0)], [TruncatedAnswer(fraction=0.99)],
    [ExpiredSession(times=2)], [Slow(seconds=0.3)], [Restart()], [OmitLUA()],
    [DropAfterApply(method='POST'), Busy503(method='GET', times=2)],
    [TruncatedAnswer(method='POST'), StaleEtag412(), ExpiredSession(method='GET')],
    [Restart(method='POST'), RefuseConnection(), DropAfterApply(method='POST')],
    [StaleEtag412(), Busy500(method='POST'), DropBeforeApply(method='POST')],
]


def name(faults):
    return '+'.join(f'{type(f).__name__}{f.method or ""}' for f in faults)


@pytest.mark.parametrize('faults', PASSING, ids=name)
@pytest.mark.parametrize('is_warm', [True, False], ids=['warm', 'cold'])
def test_a_fault_that_passes_is_not_noticed(novalink, vios, lpar, make_volume, faults, is_warm):
    path = make_volume()
    other = AddMapping(lpar, make_volume('other'))
    if is_warm:
        vios.submit(other, deadline())
    novalink.faults.add(*faults)
    record = vios.submit(AddMapping(lpar, path, tag='t'), deadline())
    assert (record.path, record.lua) == (path, 'lun2' if is_warm else 'lun1')
    assert [m.path for m in novalink.mappings(lpar) if m.path == path] == [path]
    novalink.faults.clear()
    novalink.faults.add(*faults)
    removed = vios.submit(RemoveMapping(lpar, paths=(path,)), deadline())
    assert [r.path for r in removed] == [path]
    assert [m.path for m in novalink.mappings(lpar)] == ([other.path] if is_warm else [])


@pytest.mark.parametrize('fault', [DropAfterApply(method='POST'), TruncatedAnswer(method='POST')])
def test_what_was_carried_out_is_never_posted_again(novalink, vios, lpar, make_volume, fault):
    novalink.faults.add(fault)
    vios.submit(AddMapping(lpar, make_volume()), deadline())
    assert novalink.requests.count('POST') == 1


@pytest.mark.parametrize(('fault', 'error'), [
    (Busy503(times=None), exceptions.NovaLinkBusy),
    (Busy503(times=None, body='html'), exceptions.NovaLinkBusy),
    (Busy500(times=None), exceptions.NovaLinkBusy),
    (StaleEtag412(times=None), exceptions.NovaLinkBusy),
    (RefuseConnection(times=None), exceptions.NovaLinkUnavailable),
    (DropBeforeApply(times=None), exceptions.NovaLinkUnavailable),
    (TruncatedAnswer(times=None), exceptions.NovaLinkUnavailable),
    (Slow(times=None, seconds=30), exceptions.NovaLinkUnavailable),
    (Slow(times=None, seconds=30, method='POST'), exceptions.NovaLinkUnavailable),
], ids=lambda value: type(value).__name__ if not isinstance(value, type) else '')
def test_a_fault_that_stays_ends_in_a_clear_error_by_the_deadline(novalink, vios, lpar,
                                                                  make_volume, fault, error):
    path = make_volume()
    novalink.faults.add(fault)
    start = time.monotonic()
    # On a slow machine the deadline may cut a try off, and then nobody knows what it did.
    with pytest.raises((error, exceptions.NovaLinkUnavailable)) as caught:
        vios.submit(AddMapping(lpar, path), deadline(1.0))
    assert isinstance(caught.value, exceptions.Retryable)
    assert time.monotonic() - start < 3
    novalink.faults.clear()
    assert vios.submit(AddMapping(lpar, path), deadline()).path == path
    assert len(novalink.mappings(lpar)) == 1


@pytest.mark.parametrize('fault', [DropBeforeApply(times=None), Slow(times=None, seconds=30)])
@pytest.mark.parametrize('lost', ['GET', 'POST'])
def test_only_a_change_may_have_been_carried_out(novalink, vios, lpar, make_volume, fault, lost):
    path = make_volume()
    novalink.faults.add(dataclasses.replace(fault, method=lost))
    with pytest.raises(exceptions.NovaLinkUnavailable) as caught:
        vios.submit(AddMapping(lpar, path), deadline(1.0))
    assert ('may or may not have been carried out' in str(caught.value)) == (lost == 'POST')


def test_a_read_that_fails_after_a_change_says_that_it_may_have_been_carried_out(
        novalink, vios, lpar, make_volume):
    path = make_volume()
    vios.submit(AddMapping(lpar, make_volume('warm')), deadline())
    novalink.faults.add(DropAfterApply(method='POST'),
                        DropBeforeApply(method='GET', path='VirtualIOServer', times=None))
    with pytest.raises(exceptions.NovaLinkUnavailable, match='may or may not'):
        vios.submit(AddMapping(lpar, path), deadline(1.0))


def test_an_unreachable_server_is_given_up_before_a_long_deadline(novalink, vios, lpar,
                                                                  make_volume, monkeypatch):
    monkeypatch.setattr(retry, 'PATIENCE_S', 0.3)
    novalink.faults.add(RefuseConnection(times=None))
    start = time.monotonic()
    with pytest.raises(exceptions.NovaLinkUnavailable):
        vios.submit(RemoveMapping(lpar, paths=(make_volume(),)), deadline(600))
    assert time.monotonic() - start < 3


def test_a_failure_of_the_server_is_not_tried_for_ever(novalink, vios, lpar, make_volume):
    vios.submit(AddMapping(lpar, make_volume('other')), deadline())
    novalink.faults.add(InternalError500(times=None, method='POST'))
    with pytest.raises(exceptions.MappingFailed, match='An unexpected error occurred'):
        vios.submit(AddMapping(lpar, make_volume()), deadline(600))


def test_each_call_waits_until_its_own_deadline_only(novalink, vios, lpar, make_volume):
    vios.submit(AddMapping(lpar, make_volume('warm')), deadline())
    novalink.faults.add(Slow(seconds=1.5, method='POST'))
    ended = {}

    def submit(name, seconds):
        edit = AddMapping(lpar, make_volume(name))
        start = time.monotonic()
        try:
            vios.submit(edit, deadline(seconds))
        except exceptions.FileIOConnectorError as err:
            ended[name] = type(err)
        else:
            ended[name] = None
        ended[f'{name} took'] = time.monotonic() - start

    threads = [threading.Thread(target=submit, args=args)
               for args in [('patient', 20), ('hasty', 0.4), ('patient-2', 20)]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended['hasty'] in (exceptions.NovaLinkBusy, exceptions.NovaLinkUnavailable)
    assert ended['hasty took'] < 1.2
    assert ended['patient'] is None
    assert ended['patient-2'] is None


class Trickle(http.server.BaseHTTPRequestHandler):
    """Answers one byte at a time, for ever."""

    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Type', 'application/atom+xml')
        self.end_headers()
        try:
            while not self.server.is_over.wait(0.05):
                self.wfile.write(b' ')
        except OSError:
            pass

    def log_message(self, *args):
        pass


def test_a_server_that_trickles_holds_no_call_past_its_deadline(novalink, lpar):
    server = http.server.ThreadingHTTPServer(('localhost', 0), Trickle)
    server.is_over = threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    adapter = novalink.adapter()
    port, adapter.session.dest = adapter.session.dest, f'http://localhost:{server.server_port}'
    start = time.monotonic()
    try:
        with pytest.raises(exceptions.NovaLinkUnavailable):
            committer_for(adapter, novalink.vios_uuid).submit(
                RemoveMapping(lpar, paths=('/a',)), deadline(0.5))
        with pytest.raises(exceptions.NovaLinkUnavailable):
            client_of(adapter).lpar(lpar, deadline(0.5))
        assert time.monotonic() - start < 3
        assert_no_request_thread_remains()
    finally:
        server.is_over.set()
        server.shutdown()
        server.server_close()
        adapter.session.dest = port


WAITING = retry.Waiting('localhost')


class Interrupt(BaseException):
    """Like KeyboardInterrupt, but none that pytest ends for."""


def test_a_leader_that_is_interrupted_hands_over(novalink, vios, lpar, make_volume):
    novalink.faults.add(Latency(post_s=0.3))
    post, interrupted = vios._documents.post, []

    def interrupt_the_first(*args):
        answer = post(*args)
        if not interrupted:
            interrupted.append(args)
            raise Interrupt
        return answer

    vios._documents.post = interrupt_the_first
    outcomes = []

    def submit(i):
        try:
            outcomes.append(vios.submit(AddMapping(lpar, make_volume(f'volume-{i}')), deadline()))
        except Interrupt as err:
            outcomes.append(err)

    threads = [threading.Thread(target=submit, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sum(isinstance(one, Interrupt) for one in outcomes) == 1
    others = [one for one in outcomes if not isinstance(one, Interrupt)]
    assert [one.is_new for one in others] == [True] * 5


def open_client(settings):
    """A client whose session is its own."""
    return client_for(dataclasses.replace(settings, novalink_certpath=str(uuid.uuid4())))


class TestSession:
    def test_a_session_that_cannot_be_renewed_is_a_clear_error(self, novalink, lpar):
        adapter = novalink.adapter()
        vios = committer_for(adapter, novalink.vios_uuid)
        vios.read_table(deadline())
        logons = novalink.requests.count('PUT')
        novalink.faults.add(ExpiredSession(), LogonRefused(times=None))
        for _ in range(3):
            with pytest.raises(exceptions.NovaLinkUnavailable, match='passed in'):
                vios.submit(RemoveMapping(lpar, paths=('/a',)), deadline())
        assert novalink.requests.count('PUT') - logons == 1

    @pytest.fixture
    def settings(self, novalink):
        return conf.Settings(novalink_host='localhost', novalink_port=novalink.port,
                             novalink_protocol='http', novalink_username='admin',
                             novalink_password='hunter2', rest_timeout_s=20.0)

    def test_a_session_of_ours_is_opened_anew_once(self, novalink, settings, lpar):
        client = open_client(settings)
        client.lpar(lpar, deadline())
        logons = novalink.requests.count('PUT')
        novalink.faults.add(ExpiredSession(), LogonRefused())
        assert client.lpar(lpar, deadline()).uuid == lpar
        assert novalink.requests.count('PUT') - logons == 2

    def test_a_session_of_ours_that_is_refused_is_left_alone_for_a_while(
            self, novalink, settings, lpar, monkeypatch):
        client = open_client(settings)
        client.lpar(lpar, deadline())
        novalink.faults.add(ExpiredSession(), LogonRefused(times=None))
        logons = novalink.requests.count('PUT')
        for _ in range(3):
            with pytest.raises(exceptions.NovaLinkUnavailable, match='session of the connector'):
                client.lpar(lpar, deadline())
        assert novalink.requests.count('PUT') - logons == 2
        novalink.faults.clear()
        monkeypatch.setattr(session, 'REFUSAL_PAUSE_S', 0.0)
        assert client.lpar(lpar, deadline()).uuid == lpar

    def test_callers_that_wait_for_a_logon_share_what_became_of_it(
            self, novalink, settings, monkeypatch):
        ours = session.LazyAdapter(settings)
        arrivals = threading.Semaphore(0)

        class Clock:
            def monotonic(self):
                arrivals.release()
                return time.monotonic()

        class RefusedOnceAllAreThere(LogonRefused):
            def on_request(self, exchange):
                assert all(arrivals.acquire(timeout=10) for _ in range(5))
                return super().on_request(exchange)

        novalink.faults.add(RefusedOnceAllAreThere())
        monkeypatch.setattr(session, 'time', Clock())
        with concurrent.futures.ThreadPoolExecutor(5) as pool:
            errors = [call.exception() for call in
                      [pool.submit(ours.get, deadline(), WAITING) for _ in range(5)]]
        assert {type(error) for error in errors} == {exceptions.NovaLinkUnavailable}
        assert len(set(map(id, errors))) == 5
        assert novalink.requests.count('PUT') == 1
        assert ours.get(deadline(), WAITING) is ours.get(deadline(), WAITING)

    def test_that_a_caller_had_no_time_left_is_not_shared(self, monkeypatch):
        value, arrivals, patient = session.SharedValue(), threading.Semaphore(0), []

        class Clock:
            def monotonic(self):
                arrivals.release()
                return time.monotonic()

        def make_in_vain():
            patient.append(pool.submit(value.get, lambda: 'made', deadline(), 'trying'))
            assert all(arrivals.acquire(timeout=10) for _ in range(2))
            raise exceptions.NovaLinkUnavailable(reason='no answer within 0.0 s')

        monkeypatch.setattr(session, 'time', Clock())
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            with pytest.raises(exceptions.NovaLinkUnavailable, match='no answer within'):
                value.get(make_in_vain, deadline(0.0), 'trying')
            assert patient[0].result() == 'made'

    def test_a_call_waits_no_longer_than_allowed_for_the_logon_of_another(self, novalink, settings):
        ours = session.LazyAdapter(settings)
        novalink.faults.add(Slow(path='/rest/api/web/Logon', seconds=1.0))
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            slow = pool.submit(ours.get, deadline(), WAITING)
            while not ours._own._turn._queue:
                assert not slow.done()
            with pytest.raises(exceptions.NovaLinkUnavailable, match='another caller'):
                ours.get(deadline(0.05), WAITING)
            assert slow.result().session is not None

    def test_a_refused_logon_says_so_without_the_password(self, novalink, settings, caplog):
        novalink.faults.add(LogonRefused(times=None))
        with caplog.at_level(0), pytest.raises(exceptions.NovaLinkUnavailable) as caught:
            open_client(settings).lpars(deadline())
        assert 'password is wrong' in str(caught.value)
        assert caught.value.__cause__ is None
        assert 'hunter2' not in f'{caught.value!r} {caught.value.kwargs} {caplog.text}'

    @pytest.mark.parametrize('body', [b'', b'<html><br></html>', b'{}', b'<a/>', None])
    def test_a_logon_answer_without_a_session_is_our_error(
            self, novalink, settings, monkeypatch, body):
        class Answering(LogonRefused):
            def on_request(self, exchange):
                return None

            def on_answer(self, exchange, answer):
                changed = re.sub(b'<X-API-Session.*</X-API-Session>', b'', answer.body, flags=re.S)
                return dataclasses.replace(answer, body=changed if body is None else body)

        monkeypatch.setattr(retry, 'PATIENCE_S', 0.1)
        novalink.faults.add(Answering(times=None))
        with pytest.raises(exceptions.NovaLinkUnavailable, match='log on'):
            open_client(settings).lpars(deadline())

    def test_no_server_listens_where_the_session_should_be_opened(self, monkeypatch):
        monkeypatch.setattr(retry, 'PATIENCE_S', 0.2)
        with socket.socket() as taken:
            taken.bind(('localhost', 0))
            settings = conf.Settings(novalink_port=taken.getsockname()[1], rest_timeout_s=20.0)
            with pytest.raises(exceptions.NovaLinkUnavailable, match='log on'):
                open_client(settings).lpars(deadline())


class TestRefusals:
    def test_an_lpar_that_cannot_change_its_io_is_named(self, novalink, vios, lpar, make_volume):
        novalink.change_lpar(lpar, rmc_state='inactive')
        with pytest.raises(exceptions.LPARNotReady, match='RMC') as caught:
            vios.submit(AddMapping(lpar, make_volume()), deadline())
        assert isinstance(caught.value, exceptions.Retryable)

    def test_a_slot_that_something_else_has_is_a_conflict(self, vios, lpar, make_volume):
        with pytest.raises(exceptions.SlotOrLUAConflict, match='slot 1 '):
            vios.submit(AddMapping(lpar, make_volume(), slot=1), deadline())

    @pytest.mark.parametrize(('slot', 'lua', 'named'), [
        (5, 'lun0', 'slot 5 with LUA lun0 was asked for'), (None, 'lun0', 'LUA lun0 was asked for'),
        (1, None, 'slot 1 was asked for'), (1, 'lun1', 'slot 1 with LUA lun1 was asked for')])
    @pytest.mark.parametrize('has_disks', [False, True])
    def test_a_refused_slot_or_lua_is_named(self, novalink, vios, lpar, make_volume, slot, lua,
                                            named, has_disks):
        if has_disks:
            vios.submit(AddMapping(lpar, make_volume('first'), slot=5), deadline())
        path, before = make_volume(), novalink.mappings()
        with pytest.raises(exceptions.SlotOrLUAConflict, match=named) as caught:
            vios.submit(AddMapping(lpar, path, slot=slot, lua=lua), deadline())
        assert caught.value.kwargs.get('slot') == slot
        assert caught.value.kwargs.get('lua') == lua
        assert caught.value.kwargs['path'] == path
        assert novalink.mappings() == before

    def test_a_refusal_blames_no_slot_that_the_server_has_not_named(self, vios, lpar):
        with pytest.raises(exceptions.SlotOrLUAConflict) as caught:
            vios.submit(AddMapping(lpar, '/dev/shm/none', slot=5), deadline())
        assert 'not available' not in str(caught.value)
        assert '/dev/shm/none does not exist' in caught.value.kwargs['reason']
        assert 'otherwise act on' in caught.value.kwargs['remedy']

    def test_a_refusal_in_a_slot_that_the_lpar_has_is_not_about_the_slot(self, vios, lpar,
                                                                         make_volume):
        vios.submit(AddMapping(lpar, make_volume(), slot=5), deadline())
        with pytest.raises(exceptions.MappingFailed, match='/dev/shm/none does not exist'):
            vios.submit(AddMapping(lpar, '/dev/shm/none', slot=5), deadline())

    def test_the_words_of_the_server_are_passed_on(self, vios, lpar):
        with pytest.raises(exceptions.MappingFailed, match='/dev/shm/none does not exist'):
            vios.submit(AddMapping(lpar, '/dev/shm/none'), deadline())

    def test_an_lpar_that_is_gone_is_detached(self, novalink, vios, lpar, make_volume):
        path = make_volume()
        vios.submit(AddMapping(lpar, path), deadline())
        novalink.remove_lpar(lpar)
        assert vios.submit(RemoveMapping(lpar, paths=(path,)), deadline())[0].is_orphan
        assert vios.submit(RemoveMapping(lpar, paths=(path,)), deadline()) == ()
        assert novalink.mappings() == []

    @pytest.mark.parametrize('is_mapped', [True, False])
    def test_the_next_tenant_of_an_id_gets_no_orphan(self, novalink, vios, lpar, make_volume,
                                                     is_mapped):
        path = make_volume()
        vios.submit(AddMapping(lpar, path), deadline())
        number = novalink.lpars[0].id
        novalink.remove_lpar(lpar)
        new = novalink.add_lpar(id=number).uuid
        if is_mapped:
            vios.submit(AddMapping(new, make_volume('other')), deadline())
        vios.submit(AddMapping(new, path), deadline())
        assert [m.lpar_uuid for m in novalink.mappings() if m.path == path] == [new]


class TestLock:
    @pytest.fixture
    def lock_path(self, tmp_path):
        cfg.CONF.set_override('lock_path', str(tmp_path), group='oslo_concurrency')
        yield tmp_path
        cfg.CONF.clear_override('lock_path', group='oslo_concurrency')

    def test_edits_hold_a_file_lock_of_the_vios(self, novalink, vios, lpar, make_volume, lock_path):
        vios.submit(AddMapping(lpar, make_volume()), deadline())
        name = f'powervm-fileio-{novalink.vios_uuid.lower()}'
        assert sorted(path.name for path in lock_path.iterdir()) == [name, f'{name}-next']

    def test_a_session_that_keeps_its_turn_is_passed_by(self, novalink, vios, lpar, make_volume):
        vios.submit(AddMapping(lpar, make_volume()), deadline())
        with vios.turn.taken(deadline()):
            assert vios.submit(AddMapping(lpar, make_volume('b')), deadline(1)).lua == 'lun2'

    def test_a_lock_path_that_cannot_be_used_is_done_without(self, vios, lpar, make_volume):
        cfg.CONF.set_override('lock_path', '/proc/none', group='oslo_concurrency')
        try:
            assert vios.submit(AddMapping(lpar, make_volume()), deadline()).lua == 'lun1'
        finally:
            cfg.CONF.clear_override('lock_path', group='oslo_concurrency')


def test_no_thread_outlives_its_call(novalink, vios, lpar, make_volume):
    novalink.faults.add(Slow(seconds=0.5, times=None, method='POST'))
    with pytest.raises(exceptions.NovaLinkUnavailable):
        vios.submit(AddMapping(lpar, make_volume()), deadline(0.3))
    gc.collect()
    assert_no_request_thread_remains()


def assert_no_request_thread_remains():
    leftover = [t for t in threading.enumerate() if t.name == 'powervm-fileio-request']
    for thread in leftover:
        thread.join(1)
    assert not any(thread.is_alive() for thread in leftover)


def test_a_given_session_that_hangs_while_it_is_renewed_is_let_go(novalink, lpar):
    adapter = novalink.adapter()
    novalink.faults.add(ExpiredSession(), Slow(path='/rest/api/web/Logon', seconds=30))
    with pytest.raises(exceptions.NovaLinkUnavailable):
        client_of(adapter).lpar(lpar, deadline(0.5))
    assert_no_request_thread_remains()
    assert client_of(adapter).lpar(lpar, deadline()).uuid == lpar


def test_a_forked_child_waits_for_no_leader_in_its_parent(novalink, vios, lpar, make_volume):
    novalink.faults.add(Slow(seconds=1.0, method='POST'))
    leader = threading.Thread(
        target=vios.submit, args=(AddMapping(lpar, make_volume()), deadline()))
    leader.start()
    wait_until(lambda: vios._state.queue.is_led)
    child = os.fork()
    if not child:
        end_fork(vios._state.queue.is_led)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    leader.join()
