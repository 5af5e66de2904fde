# SPDX-License-Identifier: Apache-2.0
"""All forms in which a server may write a document: others' mappings go back as they came."""

import dataclasses

import pytest
from lxml import etree
from pypowervm import const
from pypowervm.utils import transaction
from pypowervm.wrappers import virtual_io_server
from requests import models

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.novalink.feed_task import add_to_feed_task
from powervm_fileio_connector.simulator import EtagOnlyIn
from powervm_fileio_connector.simulator import Fault
from powervm_fileio_connector.simulator import LPARLinksWithoutUUID
from powervm_fileio_connector.simulator import MixedCaseUUIDs
from powervm_fileio_connector.simulator import NoLPARLinks
from powervm_fileio_connector.simulator import NoSectionMetadata
from powervm_fileio_connector.simulator import ProcessingInstructions

MAPPING = f'{{{const.UOM_NS}}}VirtualSCSIMapping'


@dataclasses.dataclass(frozen=True)
class Record(Fault):
    """Keeps the mappings of all documents that were answered and sent, as canonical XML."""

    times: int | None = dataclasses.field(default=None, kw_only=True)
    answered: list = dataclasses.field(default_factory=list)
    sent: list = dataclasses.field(default_factory=list)

    def concerns(self, request):
        return 'ViosSCSIMapping' in request.target

    def on_request(self, exchange):
        if exchange.request.body:
            self.sent.append(mappings_in(exchange.request.body))

    def on_answer(self, exchange, answer):
        if answer.body:
            self.answered.append(mappings_in(answer.body))
        return answer


def mappings_in(body):
    return [etree.tostring(element, method='c14n', with_tail=False)
            for element in etree.fromstring(body).iter(MAPPING)]


@pytest.mark.parametrize('novalink', [{}, {'links_of_files': True}], indirect=True,
                         ids=['unlinked', 'linked'])
@pytest.mark.parametrize('form', [
    ProcessingInstructions(), NoSectionMetadata(), MixedCaseUUIDs(), LPARLinksWithoutUUID(),
    NoLPARLinks(), EtagOnlyIn(place='header'), EtagOnlyIn(place='metadata')], ids=str)
def test_a_volume_comes_and_goes_and_others_stay_as_they_were(novalink, connector, make_volume,
                                                              form):
    record = Record()
    novalink.faults.add(form, record)
    infos = [connector.connect_volume({'path': make_volume(name)}) for name in 'ab']
    assert connector.connect_volume({'path': make_volume('a')}) == infos[0]
    others = record.answered[0]
    assert len(others) > 5
    for sent in record.sent:
        assert sent[:len(others)] == others
    connector.disconnect_volume({'path': make_volume('a')}, infos[0])
    connector.disconnect_volume({'path': make_volume('b')}, None)
    assert record.sent[-1] == others
    assert novalink.mappings() == []


def test_nothing_is_written_where_no_answer_has_an_etag(novalink, connector, make_volume):
    novalink.faults.add(EtagOnlyIn(place='neither'))
    with pytest.raises(exceptions.NovaLinkUnavailable, match='no etag'):
        connector.connect_volume({'path': make_volume()})
    assert novalink.requests.count('POST') == 0


def test_a_feed_task_writes_nothing_where_no_answer_has_an_etag(novalink, vios, lpar, make_volume):
    feed_task = transaction.FeedTask('feed', virtual_io_server.VIOS.getter(
        novalink.adapter(), xag=[const.XAG.VIO_SMAP]))
    novalink.faults.add(EtagOnlyIn(place='neither'))
    add_to_feed_task(feed_task, AddMapping(lpar, make_volume()), vios, 20.0)
    with pytest.raises(exceptions.NovaLinkUnavailable, match='no etag'):
        feed_task.execute()
    assert novalink.requests.count('POST') == 0


def test_the_charset_of_an_answer_is_never_guessed(novalink, connector, make_volume, monkeypatch):
    adapter = novalink.adapter()

    def guess(response):
        raise AssertionError('the charset of an answer was guessed')

    monkeypatch.setattr(models.Response, 'apparent_encoding', property(guess))
    with pytest.raises(AssertionError, match='guessed'):
        adapter.read('VirtualIOServer', novalink.vios_uuid, xag=['ViosSCSIMapping'])
    info = connector.connect_volume({'path': make_volume()})
    connector.disconnect_volume({'path': make_volume()}, info)
    novalink.state.check_invariants()
