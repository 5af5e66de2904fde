# SPDX-License-Identifier: Apache-2.0
"""A change that NovaLink makes after its caller has given up, or makes and does not show."""

import dataclasses
import threading
from concurrent import futures

import pytest
from pypowervm import const
from pypowervm import exceptions as pvm_exceptions
from pypowervm.utils import transaction
from pypowervm.wrappers import virtual_io_server

import powervm_fileio_connector as pfc
from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.novalink import retry
from powervm_fileio_connector.novalink.feed_task import add_to_feed_task
from powervm_fileio_connector.simulator import DropBeforeApply
from powervm_fileio_connector.simulator import HeldPost
from powervm_fileio_connector.simulator import NotShown
from powervm_fileio_connector.simulator import StaleEtag412
from tests.contract.test_writer_answers import MAPPINGS
from tests.contract.test_writer_answers import Without
from tests.waiting import wait_until


@pytest.fixture
def make_connector(novalink, config):
    """Make connectors of one session, or each with a session of its own."""
    shared = novalink.adapter()

    def make(is_same_session=True):
        adapter = shared if is_same_session else novalink.adapter()
        return pfc.FileIOConnector('sudo', adapter=adapter, conf=config,
                                   lpar_uuid=novalink.lpars[0].uuid)
    return make


@pytest.fixture
def held(novalink, config, make_connector, make_volume):
    """A change that is held, and whose caller has given up."""
    make_connector().connect_volume({'path': make_volume('other')})
    held = HeldPost()
    novalink.faults.add(held)
    config.set_override('rest_timeout_s', 1.0, group=conf.GROUP)
    with pytest.raises(exceptions.NovaLinkUnavailable):
        make_connector().connect_volume({'path': make_volume('late')})
    config.set_override('rest_timeout_s', 30.0, group=conf.GROUP)
    assert held.reached.is_set()
    return held


@pytest.mark.parametrize('is_same_session', [True, False])
def test_a_detach_leaves_nothing_that_a_late_change_could_map(
        novalink, held, make_connector, make_volume, is_same_session):
    connector = make_connector(is_same_session)
    detach = threading.Thread(
        target=connector.disconnect_volume, args=({'path': make_volume('late')}, None))
    posts = novalink.requests.count('POST')
    detach.start()
    detach.join(0.3)
    held.release()
    detach.join(20)
    assert not detach.is_alive()
    wait_until(lambda: novalink.requests.count('POST') >= posts + 2)
    assert [one.path for one in novalink.mappings()] == [make_volume('other')]


def test_a_late_change_is_known_by_whatever_address_its_server_is_asked(
        novalink, held, config, make_volume):
    adapter = novalink.adapter()
    adapter.session.dest = f'http://127.1:{novalink.port}'
    connector = pfc.FileIOConnector('sudo', adapter=adapter, conf=config,
                                    lpar_uuid=novalink.lpars[0].uuid)
    with futures.ThreadPoolExecutor() as pool:
        detach = pool.submit(connector.disconnect_volume, {'path': make_volume('late')}, None)
        futures.wait([detach], 0.3)
        assert not detach.done()
        held.release()
        detach.result(20)
    assert [one.path for one in novalink.mappings()] == [make_volume('other')]


def test_detaches_leave_nothing_that_one_of_several_late_changes_could_map(
        novalink, held, config, make_connector, make_volume):
    config.set_override('rest_timeout_s', 1.0, group=conf.GROUP)
    with pytest.raises(exceptions.NovaLinkUnavailable):
        make_connector(False).connect_volume({'path': make_volume('late-2')})
    config.set_override('rest_timeout_s', 30.0, group=conf.GROUP)
    connector = make_connector()
    with futures.ThreadPoolExecutor() as pool:
        detaches = [pool.submit(connector.disconnect_volume, {'path': make_volume(name)}, None)
                    for name in ('late', 'late-2')]
        futures.wait(detaches, 1.0)
        held.release()
        for detach in detaches:
            detach.result(20)
    assert [one.path for one in novalink.mappings()] == [make_volume('other')]


def test_a_lost_answer_to_what_makes_a_late_change_harmless_is_not_believed(novalink, vios, lpar,
                                                                            make_volume):
    vios.submit(AddMapping(lpar, make_volume('other')), Deadline(20))
    novalink.faults.add(DropBeforeApply(times=None, method='POST'))
    with pytest.raises(exceptions.NovaLinkUnavailable):
        vios.submit(AddMapping(lpar, make_volume()), Deadline(1.0))
    novalink.faults.clear()
    novalink.faults.add(DropBeforeApply(method='POST'))
    novalink.requests.clear()
    detach = RemoveMapping(lpar, paths=(make_volume(),))
    assert vios.submit(detach, Deadline(20)) == ()
    assert [one.status for one in novalink.requests.records('POST')][1:] == [200]
    assert vios.submit(detach, Deadline(20)) == ()
    assert novalink.requests.count('POST') == 2


@pytest.fixture
def held_detach(novalink, config, make_connector, make_volume):
    """A detach of a volume in slot 5 that is held, and whose caller has given up."""
    make_connector().connect_volume({'path': make_volume('late'), 'slot': 5})
    held = HeldPost()
    novalink.faults.add(held)
    config.set_override('rest_timeout_s', 1.0, group=conf.GROUP)
    with pytest.raises(exceptions.NovaLinkUnavailable):
        make_connector().disconnect_volume({'path': make_volume('late')}, None)
    config.set_override('rest_timeout_s', 30.0, group=conf.GROUP)
    assert held.reached.is_set()
    return held


@pytest.mark.parametrize('is_same_session', [True, False])
@pytest.mark.parametrize(('number', 'slot'), [
    pytest.param(0, None, id='nothing-to-do'), pytest.param(0, 6, id='slot-taken'),
    pytest.param(1, None, id='volume-in-use')])
def test_an_attach_believes_no_mapping_that_a_late_detach_could_remove(
        novalink, held_detach, make_connector, make_volume, is_same_session, number, slot):
    lpar = novalink.lpars[number].uuid
    wanted = {'path': make_volume('late'), 'lpar_uuid': lpar}
    if slot is not None:
        wanted['slot'] = slot
    connector = make_connector(is_same_session)
    with futures.ThreadPoolExecutor() as pool:
        attach = pool.submit(connector.connect_volume, wanted)
        # Without the wait for the change that is held, it would have ended by then.
        futures.wait([attach], 0.3)
        held_detach.release()
        info = attach.result(20)
    assert info['slot'] == (slot or info['slot'])
    assert [(one.path, one.lpar_uuid, one.slot) for one in novalink.mappings()] == [
        (make_volume('late'), lpar, info['slot'])]


def test_a_change_is_not_sent_when_no_time_is_left_for_its_answer(novalink, vios, lpar,
                                                                  make_volume, monkeypatch):
    # So much that there is time to read the mappings, on a busy machine as well.
    monkeypatch.setattr(retry, 'LEAST_S', 2)
    vios.submit(AddMapping(lpar, make_volume('other')), Deadline(20))
    posts = novalink.requests.count('POST')
    deadline = Deadline(4)
    deadline.end -= 2.2
    with pytest.raises(exceptions.NovaLinkBusy):
        vios.submit(AddMapping(lpar, make_volume('late')), deadline)
    assert novalink.requests.count('POST') == posts


def test_a_detach_posts_nothing_once_no_change_is_outstanding(novalink, held, make_connector,
                                                              make_volume):
    held.release()
    make_connector().disconnect_volume({'path': make_volume('late')}, None)
    posts = novalink.requests.count('POST')
    make_connector().disconnect_volume({'path': make_volume('late')}, None)
    assert novalink.requests.count('POST') == posts


def test_a_mapping_that_no_answer_shows_is_taken_back(novalink, connector, make_volume):
    connector.connect_volume({'path': make_volume('other')})
    novalink.faults.add(NotShown())
    with pytest.raises(exceptions.MappingFailed, match=r'does not show .* taken back'):
        connector.connect_volume({'path': make_volume()})
    assert [one.path for one in novalink.mappings()] == [make_volume('other')]


def test_a_detach_leaves_nothing_that_a_late_change_of_a_task_could_map(novalink, vios, lpar,
                                                                        make_volume):
    path, held = make_volume(), HeldPost()
    task = transaction.FeedTask('feed', virtual_io_server.VIOS.getter(
        novalink.adapter(), xag=[const.XAG.VIO_SMAP]), update_timeout=1)
    add_to_feed_task(task, AddMapping(lpar, path), vios, 20.0)
    novalink.faults.add(held)
    with pytest.raises(pvm_exceptions.TimeoutError):
        task.execute()
    with futures.ThreadPoolExecutor() as pool:
        detach = pool.submit(vios.submit, RemoveMapping(lpar, paths=(path,)), Deadline(20))
        futures.wait([detach], 0.3)
        held.release()
        assert [record.path for record in detach.result(20)] == [path]
    assert novalink.mappings() == []


@dataclasses.dataclass(frozen=True)
class NoTakingBack(StaleEtag412):
    """The etag of each change is stale, except where this volume is being mapped."""

    volume: bytes = b''

    def concerns(self, request):
        return super().concerns(request) and self.volume not in request.body


def test_a_detach_leaves_nothing_of_a_mapping_that_no_answer_shows(novalink, connector,
                                                                   make_volume):
    connector.connect_volume({'path': make_volume('other')})
    hidden = NotShown()
    novalink.faults.add(hidden, NoTakingBack(times=None, method='POST', volume=b'volume-1'))
    with pytest.raises(exceptions.MappingFailed, match='may yet appear'):
        connector.connect_volume({'path': make_volume('volume-1')})
    assert len(novalink.mappings()) == 2
    novalink.faults.clear()
    novalink.faults.add(hidden)
    connector.disconnect_volume({'path': make_volume('volume-1')}, None)
    assert [one.path for one in novalink.mappings()] == [make_volume('other')]


def test_an_answer_that_shows_nothing_at_all_never_removes_others(novalink, connector,
                                                                  make_volume):
    connector.connect_volume({'path': make_volume('other')})
    novalink.faults.add(Without(times=None, pattern=MAPPINGS))
    with pytest.raises(exceptions.MappingFailed, match='may yet appear'):
        connector.connect_volume({'path': make_volume()})
    novalink.faults.clear()
    assert len(novalink.mappings()) == 2
