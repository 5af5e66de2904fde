# SPDX-License-Identifier: Apache-2.0
"""Faults happen when, as often and to what they are told to."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait

import pytest
from pypowervm import const
from pypowervm import exceptions
from pypowervm.tasks import scsi_mapper
from pypowervm.wrappers import logical_partition
from pypowervm.wrappers import storage
from pypowervm.wrappers import virtual_io_server as vios

from powervm_fileio_connector import simulator as s
from powervm_fileio_connector.simulator.faults import KNOWN
from powervm_fileio_connector.simulator.faults import from_json
from powervm_fileio_connector.simulator.faults import to_json
from tests.waiting import wait_until


def read(sim, adapter):
    return vios.VIOS.get(adapter, uuid=sim.vios_uuid, xag=[const.XAG.VIO_SMAP])


def post(sim, adapter, path, wrapper=None, **kwargs):
    """One POST of one new mapping, without pypowervm's own retries."""
    wrapper = wrapper or read(sim, adapter)
    wrapper.scsi_mappings.append(scsi_mapper.build_vscsi_mapping(
        None, wrapper, sim.lpars[0].uuid, storage.FileIO.bld(adapter, path)))
    return wrapper.update(**kwargs)


def status_of(call, *args):
    with pytest.raises(exceptions.HttpError) as caught:
        call(*args)
    return caught.value.response.status


@pytest.mark.parametrize(('fault', 'status'), [
    (s.Busy503(), 503), (s.Busy503(body='html'), 503), (s.Busy503(body='empty'), 503),
    (s.Busy500(), 500), (s.InternalError500(), 500)], ids=str)
def test_error_answers_happen_once_and_change_nothing(novalink, make_file, fault, status):
    adapter, path = novalink.adapter(), make_file()
    wrapper = read(novalink, adapter)
    novalink.faults.add(fault)
    assert status_of(post, novalink, adapter, path, wrapper) == status
    assert novalink.mappings() == []
    post(novalink, adapter, path)
    assert len(novalink.mappings()) == 1


def test_busy_500_is_known_to_pypowervm_as_a_busy_vios(novalink):
    adapter = novalink.adapter()
    novalink.faults.add(s.Busy500())
    with pytest.raises(exceptions.HttpError) as caught:
        read(novalink, adapter)
    from pypowervm.wrappers import http_error
    assert http_error.HttpError.wrap(caught.value.response.entry).is_vios_busy()


def test_stale_etag_is_said_of_a_current_one(novalink, make_file):
    adapter = novalink.adapter()
    novalink.faults.add(s.StaleEtag412())
    assert status_of(post, novalink, adapter, make_file()) == 412


def test_refused_connection_is_a_connection_error(novalink):
    adapter = novalink.adapter()
    novalink.faults.add(s.RefuseConnection(times=1))
    with pytest.raises(exceptions.ConnectionError):
        read(novalink, adapter)
    read(novalink, adapter)


@pytest.mark.parametrize(('fault', 'applied'), [(s.DropBeforeApply(method='POST'), 0),
                                                (s.DropAfterApply(method='POST'), 1)], ids=str)
def test_drop_is_before_or_after_the_change(novalink, make_file, fault, applied):
    adapter = novalink.adapter()
    novalink.faults.add(fault)
    with pytest.raises(exceptions.ConnectionError):
        post(novalink, adapter, make_file())
    assert len(novalink.mappings()) == applied
    assert novalink.requests.records('POST')[-1].status == 0


def test_truncated_answer_is_an_error_though_the_change_is_made(novalink, make_file):
    adapter = novalink.adapter()
    novalink.faults.add(s.TruncatedAnswer(method='POST'))
    with pytest.raises(exceptions.Error):
        post(novalink, adapter, make_file())
    assert len(novalink.mappings()) == 1


def test_expired_session_is_renewed_by_pypowervm(novalink):
    adapter = novalink.adapter()
    novalink.faults.add(s.ExpiredSession())
    novalink.requests.clear()
    read(novalink, adapter)
    assert [r.status for r in novalink.requests] == [401, 200, 200]


def test_refused_logon_ends_the_session_for_good(novalink):
    adapter = novalink.adapter()
    novalink.faults.add(s.ExpiredSession(), s.LogonRefused())
    assert status_of(read, novalink, adapter) == 401
    assert adapter.session._relogin_unsafe


def test_restart_makes_sessions_and_etags_invalid(novalink, make_file):
    adapter = novalink.adapter()
    wrapper = read(novalink, adapter)
    novalink.faults.add(s.Restart(times=1))
    assert status_of(post, novalink, adapter, make_file(), wrapper) == 412
    assert novalink.requests.count('PUT', 'Logon') == 2


def test_omitted_lua_is_there_on_the_next_read(novalink, make_file):
    adapter = novalink.adapter()
    novalink.faults.add(s.OmitLUA())
    answer = post(novalink, adapter, make_file())
    assert answer.scsi_mappings[0].target_dev.lua is None
    again = answer.refresh()
    assert again.scsi_mappings[0].target_dev.lua == 'lun1'


def test_faults_combine_and_keep_to_their_method(novalink, make_file):
    adapter = novalink.adapter()
    novalink.faults.add(s.Busy503(method='POST', times=2), s.Slow(0.01, times=None))
    read(novalink, adapter)
    assert novalink.requests.records('GET')[-1].seconds >= 0.01
    path = make_file()
    assert [status_of(post, novalink, adapter, path) for _ in range(2)] == [503, 503]
    post(novalink, adapter, path)


def test_probability_is_repeatable_by_its_seed(novalink):
    adapter = novalink.adapter()

    def pattern():
        novalink.faults.clear()
        novalink.faults.add(s.InternalError500(times=None, probability=0.5, seed=3))
        novalink.requests.clear()
        for _ in range(12):
            try:
                read(novalink, adapter)
            except exceptions.HttpError:
                continue
        return [r.status for r in novalink.requests]

    first = pattern()
    assert set(first) == {200, 500}
    assert pattern() == first


class Held(s.Fault):
    """Holds changes just before they are made, and counts them."""

    reached = threading.Event()
    released = threading.Event()
    count = 0

    def on_apply(self, exchange):
        Held.count += 1
        self.reached.set()
        assert self.released.wait(30)


def test_changes_wait_for_each_other_and_reads_do_not(novalink, make_file):
    adapter, path = novalink.adapter(), make_file()
    first, second = read(novalink, adapter), read(novalink, adapter)
    novalink.faults.add(Held(times=None))
    with ThreadPoolExecutor(2) as pool:
        made = pool.submit(post, novalink, adapter, path, first)
        assert Held.reached.wait(30)
        refused = pool.submit(status_of, post, novalink, adapter, path, second)
        read(novalink, adapter)
        assert novalink.mappings() == []
        assert not wait([made, refused], 0.3).done
        Held.released.set()
        made.result(30)
        assert refused.result(30) == 412
    assert len(novalink.mappings()) == 1
    # The second was refused as soon as its turn came.
    assert Held.count == 1


@pytest.mark.parametrize('in_turn', [True, False])
def test_held_change_is_made_after_its_client_has_gone(novalink, make_file, in_turn):
    adapter = novalink.adapter()
    held = s.HeldPost(in_turn=in_turn)
    novalink.faults.add(held)
    with pytest.raises(exceptions.TimeoutError):
        post(novalink, adapter, make_file(), timeout=0.2)
    assert held.reached.is_set()
    assert novalink.mappings() == []
    etag = read(novalink, adapter).etag
    held.release()
    wait_until(lambda: read(novalink, adapter).etag != etag)
    assert len(novalink.mappings()) == 1


def test_change_that_is_held_out_of_turn_is_overtaken(novalink, make_file):
    adapter = novalink.adapter()
    held = s.HeldPost(in_turn=False)
    first, path, other = read(novalink, adapter), make_file(), make_file('other')
    novalink.faults.add(held)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(status_of, post, novalink, adapter, path, first)
        assert held.reached.wait(30)
        post(novalink, adapter, other)
        held.release()
        assert late.result(30) == 412
    assert [m.path for m in novalink.mappings()] == [other]


def test_forbidden_request_is_403(novalink):
    novalink.faults.add(s.Forbidden403(path='VirtualIOServer'))
    assert status_of(read, novalink, novalink.adapter()) == 403


def test_request_for_one_lpar_fails_while_others_are_answered(novalink):
    adapter = novalink.adapter()
    one, other = novalink.lpars
    novalink.faults.add(s.InternalError500(path=f'LogicalPartition/{one.uuid}', times=None))
    assert status_of(adapter.read, 'LogicalPartition', one.uuid) == 500
    assert adapter.read('LogicalPartition', other.uuid).status == 200


def test_trickling_answer_arrives_whole_and_ends_with_the_simulator(make_file):
    with s.NovaLinkSimulator() as sim:
        adapter = sim.adapter()
        sim.faults.add(s.Trickle(size=1000, pause_s=0.001))
        assert read(sim, adapter).name == 'novalink'
        sim.faults.add(s.Trickle(size=1, pause_s=60))
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(read, sim, adapter)
            wait_until(lambda: sim.requests.count('GET') == 2)
            sim.stop()
            assert isinstance(answer.exception(30), exceptions.Error)


@pytest.mark.parametrize(('keep', 'status', 'names'), [(1, 200, ['lpar1']), (0, 204, [])])
def test_list_of_lpars_is_cut_short(novalink, keep, status, names):
    adapter = novalink.adapter()
    novalink.faults.add(s.LPARListCutShort(keep))
    answer = adapter.read('LogicalPartition')
    assert answer.status == status
    assert [p.name for p in logical_partition.LPAR.wrap(answer)] == names
    assert adapter.read('LogicalPartition', novalink.lpars[1].uuid).status == 200


def test_mapping_that_is_not_shown_is_made_and_shown_later(novalink, make_file):
    adapter = novalink.adapter()
    novalink.faults.add(s.NotShown())
    assert len(post(novalink, adapter, make_file()).scsi_mappings) == 0
    assert len(read(novalink, adapter).scsi_mappings) == 0
    assert len(novalink.mappings()) == 1
    novalink.faults.clear()
    assert len(read(novalink, adapter).scsi_mappings) == 1


FORMS = {
    s.NoLPARLinks(): lambda uuid: None,
    s.LPARLinksWithoutUUID(): lambda uuid: 'LogicalPartition/',
    s.MixedCaseUUIDs(): lambda uuid: f'LogicalPartition/{uuid[:18].lower()}{uuid[18:]}',
    s.ProcessingInstructions(): lambda uuid: f'LogicalPartition/{uuid}',
    s.NoSectionMetadata(): lambda uuid: f'LogicalPartition/{uuid}',
}


@pytest.mark.parametrize('form', FORMS, ids=lambda form: type(form).__name__)
def test_other_form_of_the_document_comes_back_as_the_same_mappings(novalink, make_file, form):
    adapter = novalink.adapter()
    post(novalink, adapter, make_file('first'))
    before = novalink.mappings()
    plain_text = read(novalink, adapter).toxmlstring()
    novalink.faults.add(form)
    wrapper = read(novalink, adapter)
    assert wrapper.toxmlstring() != plain_text
    link = wrapper.scsi_mappings[0].client_lpar_href
    expected = FORMS[form](before[0].lpar_uuid)
    assert (link or '').endswith(expected or '')
    assert (link is None) == (expected is None)
    wrapper.update()
    assert novalink.mappings() == before


@pytest.mark.parametrize(('place', 'header', 'metadata'), [
    ('header', True, False), ('metadata', False, True), ('neither', False, False)])
def test_etag_is_only_where_the_fault_says(novalink, place, header, metadata):
    adapter = novalink.adapter()
    novalink.faults.add(s.EtagOnlyIn(place))
    answer = adapter.read('VirtualIOServer', novalink.vios_uuid)
    assert ('etag' in answer.headers, '<etag:etag' in answer.body) == (header, metadata)


@pytest.mark.parametrize('name', KNOWN)
def test_every_fault_survives_the_way_to_another_process(name):
    fault = KNOWN[name](times=3, method='GET', probability=0.5, seed=9)
    assert from_json(to_json(fault)) == fault


@pytest.mark.parametrize(('name', 'field'), [
    ('Busy503', 'times'), ('Busy503', 'probability'), ('Slow', 'seconds'), ('Latency', 'post_s'),
    ('LPARListCutShort', 'keep')])
@pytest.mark.parametrize('number', ['-1', '-1.5', 'NaN', 'Infinity', '1e300'])
def test_numbers_of_faults_are_those_that_can_be_counted_or_waited_for(name, field, number):
    with pytest.raises(ValueError, match=f'{field} of {name}'):
        from_json({'fault': name, field: json.loads(number)})


def test_unknown_fault_names_the_known_ones():
    with pytest.raises(ValueError, match='Busy503'):
        from_json({'fault': 'Earthquake'})
