# SPDX-License-Identifier: Apache-2.0
"""How many requests edits cost, alone and together, and that each gets its own result."""

import gc
import threading
import weakref

import pytest

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.simulator import Latency
from tests.contract.conftest import client_of
from tests.contract.conftest import committer_for
from tests.contract.conftest import deadline
from tests.waiting import wait_until


def together(*calls):
    """Call all at once; return what each gave or raised."""
    outcomes = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def run(i):
        barrier.wait()
        try:
            outcomes[i] = calls[i]()
        except exceptions.FileIOConnectorError as err:
            outcomes[i] = err

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.fixture
def add(vios, lpar, make_volume):
    """Submit the addition of a volume, by name."""
    def submit(name='volume-1', to=vios, seconds=20, uuid=lpar, **fields):
        return to.submit(AddMapping(uuid, make_volume(name), **fields), deadline(seconds))
    return submit


@pytest.fixture
def remove(vios, lpar, make_volume):
    def submit(name='volume-1', to=vios, seconds=20, uuid=lpar, **fields):
        return to.submit(RemoveMapping(uuid, paths=(make_volume(name),), **fields),
                         deadline(seconds))
    return submit


def cost(novalink, call):
    """Return the result, and the requests that are about the VIOS: ids are asked for in any case.
    """
    before = novalink.requests.count(path='VirtualIOServer')
    result = call()
    return result, [r.method for r in novalink.requests.records(path='VirtualIOServer')[before:]]


def test_the_first_edit_of_a_session_takes_three_requests(novalink, lpar, make_volume):
    adapter = novalink.adapter()

    def attach():
        partition = client_of(adapter).management_partition(deadline())
        return committer_for(adapter, partition.uuid).submit(
            AddMapping(lpar, make_volume()), deadline())

    record, requests = cost(novalink, attach)
    assert requests == ['GET', 'GET', 'POST']
    assert record.lua == 'lun1'


def test_every_further_edit_takes_one_request(novalink, add, remove):
    add('volume-0')
    assert cost(novalink, add)[1] == ['POST']
    assert cost(novalink, remove)[1] == ['POST']


def test_nothing_to_do_is_said_after_one_cheap_read(novalink, add, remove):
    first = add()
    again, requests = cost(novalink, add)
    assert (again, requests) == (first, ['GET'])
    assert novalink.requests.records(path='VirtualIOServer')[-1].status == 304
    remove()
    assert cost(novalink, remove) == ((), ['GET'])


def test_what_others_changed_meanwhile_is_seen(novalink, add, remove, lpar, make_volume):
    add('volume-0')
    foreign = committer_for(novalink.adapter(), novalink.vios_uuid)
    foreign.submit(AddMapping(lpar, make_volume('foreign')), deadline())
    assert add('volume-1').lua == 'lun3'
    foreign.submit(RemoveMapping(lpar, paths=(make_volume('volume-1'),)), deadline())
    assert remove('volume-1') == ()
    assert {m.path.rpartition('/')[2] for m in novalink.mappings(lpar)} == {'volume-0', 'foreign'}


def test_an_error_is_not_said_on_the_word_of_a_kept_document(novalink, add, lpar, make_volume):
    other = novalink.lpars[1].uuid
    add('volume-1')
    foreign = committer_for(novalink.adapter(), novalink.vios_uuid)
    foreign.submit(RemoveMapping(lpar, paths=(make_volume('volume-1'),)), deadline())
    assert add('volume-1', uuid=other).path == make_volume('volume-1')
    assert len(novalink.mappings(other)) == 1


@pytest.mark.parametrize('count', [8, 32, 128])
def test_edits_that_wait_go_out_in_one_post(novalink, vios, lpar, make_volume, count):
    novalink.faults.add(Latency(get_s=0.02, post_s=0.1))
    edits = [AddMapping(lpar, make_volume(f'volume-{i}')) for i in range(count)]
    records = together(*(lambda edit=edit: vios.submit(edit, deadline()) for edit in edits))
    assert [r.path for r in records] == [edit.path for edit in edits]
    assert len({(r.slot, r.lua) for r in records}) == count
    assert len({r.slot for r in records}) == -(-count // 32)
    assert novalink.requests.count('POST') <= (3 if count <= 32 else 4)


def test_attaches_and_detaches_for_several_lpars_go_together(novalink, vios, make_volume, add):
    one, two = (partition.uuid for partition in novalink.lpars)
    for i in range(4):
        add(f'old-{i}', uuid=one)
    novalink.faults.add(Latency(post_s=0.1))
    posts = novalink.requests.count('POST')
    outcomes = together(
        *(lambda i=i: vios.submit(RemoveMapping(one, paths=(make_volume(f'old-{i}'),)), deadline())
          for i in range(4)),
        *(lambda i=i: vios.submit(AddMapping(two, make_volume(f'new-{i}')), deadline())
          for i in range(4)))
    assert [len(removed) for removed in outcomes[:4]] == [1] * 4
    assert {r.path for r in outcomes[4:]} == {m.path for m in novalink.mappings(two)}
    assert novalink.mappings(one) == []
    assert novalink.requests.count('POST') - posts <= 3


def test_a_bad_edit_never_fails_its_neighbours(novalink, vios, lpar, make_volume):
    novalink.faults.add(Latency(post_s=0.05))
    good = [AddMapping(lpar, make_volume(f'volume-{i}')) for i in range(12)]
    bad = [AddMapping(lpar, '/dev/shm/does-not-exist-1'),
           AddMapping('4D2C1F61-8F2D-4C1C-9E4C-0E6C2B6D3A11', make_volume('lost')),
           AddMapping(lpar, make_volume('volume-a'), slot=1)]
    outcomes = together(*(lambda edit=edit: vios.submit(edit, deadline())
                          for edit in [*good[:6], *bad, *good[6:]]))
    assert [type(one) for one in outcomes[6:9]] == [
        exceptions.MappingFailed, exceptions.LPARNotFound, exceptions.SlotOrLUAConflict]
    assert {r.path for r in outcomes[:6] + outcomes[9:]} == {edit.path for edit in good}


def test_equal_edits_share_one_mapping(novalink, vios, lpar, make_volume):
    path = make_volume()
    records = together(*(lambda: vios.submit(AddMapping(lpar, path), deadline())
                         for _ in range(8)))
    assert len(set(records)) == 1
    assert novalink.requests.count('POST') == 1
    assert len(novalink.mappings(lpar)) == 1


def test_equal_edits_that_fail_get_an_exception_each(vios, lpar):
    errors = together(*(lambda: vios.submit(AddMapping(lpar, '/dev/shm/does-not-exist'), deadline())
                        for _ in range(4)))
    assert {type(error) for error in errors} == {exceptions.MappingFailed}
    assert len({id(error) for error in errors}) == 4


def test_edits_of_one_volume_keep_their_order(novalink, vios, lpar, make_volume, add):
    add('warm')
    path = make_volume()
    novalink.faults.add(Latency(post_s=0.2))
    seen = []

    def submit(edit):
        seen.append((edit, vios.submit(edit, deadline())))

    edits = [AddMapping(lpar, make_volume('first')), AddMapping(lpar, path),
             RemoveMapping(lpar, paths=(path,)), AddMapping(lpar, path, slot=77)]
    threads = []
    for i, edit in enumerate(edits):
        threads.append(threading.Thread(target=submit, args=(edit,)))
        threads[-1].start()
        # The first leads; the others have to be waiting in this order.
        wait_until(lambda i=i, edit=edit: not i or any(
            one.edit is edit for one in list(vios._state.queue._waiting)))
    for thread in threads:
        thread.join()
    assert [edit for edit, _ in seen[-3:]] == edits[1:]
    assert seen[-2][1][0].path == path
    assert [m.slot for m in novalink.mappings(lpar) if m.path == path] == [77]


def test_two_lpars_that_want_one_file_do_not_both_get_it(novalink, vios, make_volume):
    path = make_volume()
    outcomes = together(*(lambda uuid=p.uuid: vios.submit(AddMapping(uuid, path), deadline())
                          for p in novalink.lpars))
    assert len([one for one in outcomes if isinstance(one, exceptions.VolumeInUse)]) == 1
    assert len(novalink.mappings()) == 1


def test_writers_of_one_session_share_what_they_know(novalink, make_volume, lpar):
    adapter = novalink.adapter()
    committer_for(adapter, novalink.vios_uuid).submit(
        AddMapping(lpar, make_volume('a')), deadline())
    _, requests = cost(novalink, lambda: committer_for(
        adapter, novalink.vios_uuid.lower()).submit(AddMapping(lpar, make_volume('b')), deadline()))
    assert requests == ['POST']


def test_what_is_kept_does_not_keep_the_session(novalink, add):
    adapter = novalink.adapter()
    add(to=committer_for(adapter, novalink.vios_uuid))
    session = weakref.ref(adapter.session)
    session()._logged_in = False
    del adapter
    gc.collect()
    assert session() is None


def test_a_table_that_is_read_is_the_callers_alone(vios, add):
    add()
    table = vios.read_table(deadline())
    for entry in list(table.entries()):
        table.remove(entry)
    assert add().lua == 'lun1'
