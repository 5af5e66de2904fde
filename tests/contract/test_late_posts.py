# SPDX-License-Identifier: Apache-2.0
"""A change that NovaLink makes after its caller has given up, or makes and does not show."""

import dataclasses
import threading

import pytest

import powervm_fileio_connector as pfc
from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.simulator import HeldPost
from powervm_fileio_connector.simulator import NotShown
from powervm_fileio_connector.simulator import StaleEtag412
from tests.contract.test_writer_answers import MAPPINGS
from tests.contract.test_writer_answers import Without


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
    while novalink.requests.count('POST') < posts + 2:
        pass
    assert [one.path for one in novalink.mappings()] == [make_volume('other')]


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
