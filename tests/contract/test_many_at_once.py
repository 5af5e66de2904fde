# SPDX-License-Identifier: Apache-2.0
"""What many calls at once cost in requests, and that each gets its own result or error."""

import contextlib
import dataclasses
import threading
import time
from concurrent import futures

import pytest

import powervm_fileio_connector as pfc
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.novalink import lpar_lookups
from powervm_fileio_connector.novalink import refusal
from powervm_fileio_connector.simulator import Busy503
from powervm_fileio_connector.simulator import Fault
from powervm_fileio_connector.simulator import Forbidden403
from powervm_fileio_connector.simulator import Latency
from tests.contract.conftest import committer_for
from tests.contract.conftest import deadline
from tests.contract.test_writer_batches import together


@pytest.fixture
def attach(novalink, connector, make_volume):
    """Make a call that attaches a volume of a name to an LPAR, by a connector of one session."""
    def attach(name, lpar_uuid):
        path = make_volume(name)
        return lambda: connector.connect_volume({'path': path, 'lpar_uuid': lpar_uuid})
    return attach


def test_24_first_attaches_read_the_vios_at_most_three_times(novalink, attach, lpar):
    novalink.faults.add(Latency(get_s=0.2, post_s=0.2))
    infos = together(*(attach(f'volume-{i}', lpar) for i in range(24)))
    assert len({info['path'] for info in infos}) == 24
    assert novalink.requests.count('GET', path='VirtualIOServer') <= 3


@pytest.mark.parametrize('are_several', [False, True])
def test_lpars_that_are_not_ready_fail_alone_and_cost_few_requests(novalink, attach, lpar,
                                                                   are_several):
    unready = [novalink.add_lpar(rmc_state='inactive').uuid
               for _ in range(12 if are_several else 1)]
    novalink.faults.add(Latency(post_s=0.1))
    outcomes = together(*(
        attach(f'volume-{i}', unready[i // 3 % len(unready)] if i % 10 < 3 else lpar)
        for i in range(40)))
    failed = [one for one in outcomes if isinstance(one, exceptions.LPARNotReady)]
    assert len(failed) == 12
    assert len([one for one in outcomes if isinstance(one, dict)]) == 28
    assert novalink.requests.count('POST') <= 8


@pytest.mark.parametrize('fault', [Busy503, Forbidden403])
def test_an_lpar_that_cannot_be_asked_for_fails_its_own_edit_alone(novalink, vios, lpar,
                                                                   make_volume, fault):
    other = novalink.lpars[1].uuid
    committer_for(novalink.adapter(), novalink.vios_uuid).submit(
        AddMapping(lpar, make_volume('old')), deadline())
    committer_for(novalink.adapter(), novalink.vios_uuid).submit(
        AddMapping(other, make_volume('others')), deadline())
    novalink.faults.add(fault(times=None, path=f'LogicalPartition/{other}'))
    edits = [AddMapping(lpar, make_volume('a')), AddMapping(other, make_volume('b')),
             RemoveMapping(lpar, paths=(make_volume('old'),))]
    start = time.monotonic()
    record, error, removed = vios.submit_all(edits, deadline(4))
    assert time.monotonic() - start < 5
    assert record.path == make_volume('a')
    assert isinstance(error, exceptions.FileIOConnectorError)
    assert [one.path for one in removed] == [make_volume('old')]
    assert {one.path for one in novalink.mappings()} == {make_volume('a'), make_volume('others')}


@dataclasses.dataclass(frozen=True)
class Silent(Fault):
    """A server that does not answer for a while; ``reached`` is set while it does not."""

    reached: threading.Event = dataclasses.field(default_factory=threading.Event)

    def on_request(self, exchange):
        self.reached.set()
        exchange.wait(60)


@pytest.fixture
def brief_lookups(monkeypatch):
    for module, name in [(lpar_lookups, 'LOOKUP_S'), (lpar_lookups, '_LEAST_LOOKUP_S'),
                         (refusal, 'LOOKUP_S')]:
        monkeypatch.setattr(module, name, 0.2)


@pytest.fixture
def with_adapters(novalink, lpar, make_volume):
    """Mappings by which both LPARs have adapters, made by others."""
    for uuid in lpar, novalink.lpars[1].uuid:
        committer_for(novalink.adapter(), novalink.vios_uuid).submit(
            AddMapping(uuid, make_volume(f'old-{uuid}')), deadline())


@pytest.mark.parametrize('are_together', [True, False])
def test_an_lpar_that_is_not_answered_for_holds_up_no_other_lpar(
        novalink, vios, lpar, make_volume, brief_lookups, with_adapters, are_together):
    other = novalink.lpars[1].uuid
    silent = AddMapping(other, make_volume('silent'))
    fault = Silent(times=None, path=f'LogicalPartition/{other}')
    novalink.faults.add(fault)
    with futures.ThreadPoolExecutor() as pool:
        first = pool.submit(vios.submit_all, [
            silent, *([AddMapping(lpar, make_volume('b'))] if are_together else [])], deadline(4))
        assert fault.reached.wait(5)
        vios.submit(AddMapping(lpar, make_volume('a')), deadline(3))
        assert not first.done()
        error = first.result()[0]
    assert isinstance(error, exceptions.NovaLinkBusy)
    assert make_volume('silent') not in {one.path for one in novalink.mappings()}


class WatchedDeadline(Deadline):
    """``asked`` is set once an edit that has it waits for others."""

    def __init__(self, seconds):
        super().__init__(seconds)
        self.asked = threading.Event()

    def left(self):
        self.asked.set()
        return super().left()


def test_edits_that_join_a_batch_share_the_time_of_its_lookups(
        novalink, vios, lpar, make_volume, with_adapters, monkeypatch):
    other = novalink.lpars[1].uuid
    novalink.faults.add(Silent(times=None, path=f'LogicalPartition/{other}'))
    monkeypatch.setattr(lpar_lookups, 'LOOKUP_S', 4.0)
    monkeypatch.setattr(lpar_lookups, '_LEAST_LOOKUP_S', 0.2)
    taken, is_leading, may_go_on = vios.turn.taken, threading.Event(), threading.Event()

    @contextlib.contextmanager
    def taken_when_told(clock):
        is_leading.set()
        assert may_go_on.wait(20)
        with taken(clock):
            yield

    monkeypatch.setattr(vios.turn, 'taken', taken_when_told)
    with futures.ThreadPoolExecutor() as pool:
        first = pool.submit(vios.submit, AddMapping(other, make_volume('silent')), deadline(5))
        assert is_leading.wait(5)
        clock = WatchedDeadline(3)
        joining = pool.submit(vios.submit_all, [
            AddMapping(lpar, make_volume(f'{number}')) for number in range(9)], clock)
        assert clock.asked.wait(5)
        may_go_on.set()
        paths = {getattr(one, 'path', one) for one in joining.result()}
        assert paths == {make_volume(f'{number}') for number in range(9)}
    assert isinstance(first.exception(), exceptions.NovaLinkBusy)


@pytest.mark.parametrize('novalink', [{'links_of_files': True}], indirect=True)
def test_a_refusal_is_told_though_its_lpar_is_not_answered_for(
        novalink, vios, lpar, make_volume, brief_lookups):
    novalink.faults.add(Forbidden403(method='POST', times=None))
    novalink.faults.add(Silent(times=None, path=f'LogicalPartition/{lpar}'))
    clock = deadline()
    with pytest.raises(exceptions.MappingFailed, match='no authority'):
        vios.submit(AddMapping(lpar, make_volume()), clock)
    assert clock.left() > 10


@dataclasses.dataclass(frozen=True)
class SilentOnce(Silent):
    """A server that leaves the first request unanswered."""

    def on_request(self, exchange):
        if not self.reached.is_set():
            super().on_request(exchange)


@pytest.mark.parametrize('novalink', [{'links_of_files': True}], indirect=True)
def test_an_lpar_that_is_not_ready_is_told_though_another_was_not_answered_for(
        novalink, vios, lpar, make_volume, brief_lookups):
    unready = novalink.add_lpar(rmc_state='inactive').uuid
    novalink.faults.add(SilentOnce(times=None, path=f'LogicalPartition/{lpar}'))
    record, error = vios.submit_all([AddMapping(lpar, make_volume('a')),
                                     AddMapping(unready, make_volume('b'))], deadline())
    assert record.path == make_volume('a')
    assert isinstance(error, exceptions.LPARNotReady)


@pytest.mark.parametrize('fault', [Busy503, Forbidden403])
def test_a_new_mapping_is_known_by_its_file_where_its_lpar_cannot_be_asked_for(
        novalink, vios, lpar, make_volume, fault):
    novalink.faults.add(fault(times=None, path='LogicalPartition'))
    record = vios.submit(AddMapping(lpar, make_volume()), deadline(4))
    assert [one.path for one in novalink.mappings(lpar)] == [record.path]


def test_edits_that_name_their_place_come_before_those_that_leave_it_open(novalink, vios, lpar,
                                                                          make_volume):
    vios.submit(AddMapping(lpar, make_volume('first')), deadline())
    edits = [AddMapping(lpar, make_volume(name), **place) for name, place in [
        ('a', {}), ('b', {'slot': 2}), ('c', {'slot': 2, 'lua': 'lun2'}), ('d', {'lua': 'lun3'})]]
    records = vios.submit_all(edits, deadline())
    assert (records[2].slot, records[2].lua) == (2, 'lun2')
    assert records[3].lua == 'lun3'
    assert len({(one.slot, one.lua) for one in records}) == 4


def test_sessions_of_one_process_take_turns(novalink, config, make_volume):
    novalink.faults.add(Latency(post_s=0.02))
    end, counts = time.monotonic() + 2.0, [0] * 4
    begin = threading.Barrier(4)

    def work(i):
        connector = pfc.FileIOConnector('sudo', adapter=novalink.adapter(), conf=config,
                                        lpar_uuid=novalink.lpars[i % 2].uuid)
        properties = {'path': make_volume(f'volume-{i}')}
        begin.wait()
        while time.monotonic() < end:
            connector.disconnect_volume(properties, connector.connect_volume(properties))
            counts[i] += 1

    together(*(lambda i=i: work(i) for i in range(4)))
    statuses = [one.status for one in novalink.requests.records('POST')]
    assert min(counts) >= max(counts) / 2
    assert statuses.count(412) <= 0.5 * statuses.count(200)
