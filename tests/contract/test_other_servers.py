# SPDX-License-Identifier: Apache-2.0
"""Servers that answer a change with less than all mappings, or make another than was asked for."""

import dataclasses
import re
import uuid

import pytest
from pypowervm import const
from pypowervm.utils import transaction
from pypowervm.wrappers import virtual_io_server

import powervm_fileio_connector as pfc
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.novalink.feed_task import add_to_feed_task
from powervm_fileio_connector.simulator import Fault
from tests.contract.conftest import committer_for
from tests.contract.conftest import deadline
from tests.contract.test_incomplete_mappings import CLIENTS
from tests.contract.test_writer_answers import Without

_MAPPING = re.compile(rb'<VirtualSCSIMapping .*?</VirtualSCSIMapping>', re.S)


@dataclasses.dataclass(frozen=True)
class OnlyWhatIsNew(Fault):
    """A server whose answers to changes show no mapping that was there before."""

    def on_answer(self, exchange, answer):
        return dataclasses.replace(answer, body=_MAPPING.sub(
            lambda found: found[0] if found[0] in exchange.made else b'', answer.body))


@dataclasses.dataclass(frozen=True)
class ForAnotherLPAR(Fault):
    """A server that makes each mapping for another LPAR than the one that was asked for."""

    asked: str = ''
    other: str = ''

    def on_request(self, exchange):
        old, new = self.asked.encode(), self.other.encode()
        exchange.request = dataclasses.replace(
            exchange.request, body=re.sub(re.escape(old), new, exchange.request.body, flags=re.I))


@dataclasses.dataclass(frozen=True)
class OtherClientId(Fault):
    """A server that shows the adapter of a file's mapping as that of another LPAR."""

    file: str = ''
    old: int = 0
    new: int = 0

    def on_answer(self, exchange, answer):
        return dataclasses.replace(answer, body=_MAPPING.sub(
            lambda found: re.sub(rb'(<LocalPartitionID[^>]*>)%d<' % self.old,
                                 rb'\g<1>%d<' % self.new, found[0])
            if self.file.encode() in found[0] else found[0], answer.body))


@dataclasses.dataclass(frozen=True)
class OtherLink(Fault):
    """A server whose mappings have another link to their client."""

    href: str = ''

    def on_answer(self, exchange, answer):
        return dataclasses.replace(answer, body=re.sub(
            rb'(<AssociatedLogicalPartition [^>]*href=")[^"]*', rb'\g<1>' + self.href.encode(),
            answer.body))


@dataclasses.dataclass(frozen=True)
class Keeps(Fault):
    """A server that never removes the mapping of a file."""

    file: str = ''
    mapping: list = dataclasses.field(default_factory=list)

    def on_request(self, exchange):
        if exchange.request.method == 'POST':
            body = exchange.request.body
            exchange.request = dataclasses.replace(exchange.request, body=re.sub(
                rb'(?=</[^<>]*VirtualSCSIMappings>)', lambda _: self.mapping[0], body))

    def on_answer(self, exchange, answer):
        self.mapping.extend(one for one in _MAPPING.findall(answer.body)
                            if self.file.encode() in one)
        return answer


@dataclasses.dataclass(frozen=True)
class NothingWithout(Fault):
    """A server that refuses changes which do not have a file in them."""

    file: str = ''

    def on_request(self, exchange):
        if self.file.encode() in exchange.request.body:
            return None
        return exchange.error(400, 'Invalid input.', 'Not now.')


@dataclasses.dataclass(frozen=True)
class CaseSensitive(Fault):
    """A server that writes UUIDs of LPARs in small letters, and knows no others."""

    def on_request(self, exchange):
        asked = re.search(r'/LogicalPartition/([0-9A-Fa-f-]{36})', exchange.request.path)
        if asked is not None and asked[1] != asked[1].lower():
            return exchange.error(404, 'Unknown', 'There is no such LPAR.')
        return None

    def on_answer(self, exchange, answer):
        return dataclasses.replace(answer, body=re.sub(
            rb'/LogicalPartition/[0-9A-Fa-f-]{36}', lambda found: (
                b'/LogicalPartition/' + found[0][-36:].lower()), answer.body))


@pytest.fixture
def others(novalink, lpar, make_volume):
    """The files of mappings that were there before."""
    paths = [make_volume(f'others{i}') for i in range(3)]
    theirs = committer_for(novalink.adapter(), novalink.vios_uuid)
    for path in paths:
        theirs.submit(AddMapping(novalink.lpars[1].uuid, path), deadline())
    return paths


def paths_of(novalink):
    return sorted(mapping.path for mapping in novalink.mappings())


@pytest.mark.parametrize('fault', [OnlyWhatIsNew(method='POST', times=None),
                                   Without(method='POST', times=None, pattern=_MAPPING.pattern)])
def test_mappings_that_an_answer_leaves_out_are_not_removed(novalink, vios, lpar, make_volume,
                                                            others, fault):
    novalink.faults.add(fault)
    mine = [make_volume(name) for name in ('first', 'second')]
    for path in mine:
        vios.submit(AddMapping(lpar, path), deadline())
    assert paths_of(novalink) == sorted([*others, *mine])
    for path in mine:
        assert len(vios.submit(RemoveMapping(lpar, paths=(path,)), deadline())) == 1
    assert paths_of(novalink) == others


def test_a_feed_task_does_not_take_such_an_answer_for_a_removal(novalink, vios, lpar, make_volume,
                                                                others):
    path = make_volume()
    vios.submit(AddMapping(lpar, path), deadline())
    adapter = novalink.adapter()
    novalink.faults.add(Keeps(times=None, file=path))
    novalink.faults.add(OnlyWhatIsNew(method='POST'))
    task = transaction.FeedTask('t', virtual_io_server.VIOS.getter(
        adapter, xag=[const.XAG.VIO_SMAP]))
    add_to_feed_task(task, RemoveMapping(lpar, paths=(path,)),
                     committer_for(adapter, novalink.vios_uuid), 20)
    with pytest.raises(Exception, match='still shows'):
        task.execute()
    assert paths_of(novalink) == sorted([*others, path])


@pytest.mark.parametrize('novalink', [{'links_of_files': True}], indirect=True)
def test_a_mapping_that_was_made_for_another_lpar_is_taken_back(novalink, vios, lpar, make_volume,
                                                                others):
    novalink.faults.add(ForAnotherLPAR(method='POST', asked=lpar, other=novalink.lpars[1].uuid))
    with pytest.raises(exceptions.MappingFailed,
                       match=f'but to LPAR {novalink.lpars[1].uuid.upper()}; it was taken back'):
        vios.submit(AddMapping(lpar, make_volume()), deadline())
    assert paths_of(novalink) == others


@pytest.mark.parametrize('novalink', [{'links_of_files': True}], indirect=True)
def test_a_feed_task_says_for_whom_a_mapping_was_made(novalink, vios, lpar, make_volume, others):
    other = novalink.lpars[1].uuid
    task = transaction.FeedTask('t', virtual_io_server.VIOS.getter(
        novalink.adapter(), xag=[const.XAG.VIO_SMAP]))
    add_to_feed_task(task, AddMapping(lpar, make_volume()), vios, 20)
    novalink.faults.add(ForAnotherLPAR(method='POST', asked=lpar, other=other))
    with pytest.raises(exceptions.MappingFailed,
                       match=f'it was made for LPAR {other.upper()}, so detach it there'):
        task.execute()


@pytest.mark.parametrize('novalink', [{'links_of_files': True}], indirect=True)
def test_one_that_cannot_be_taken_back_is_said_to_remain(novalink, vios, lpar, make_volume, others):
    other = novalink.lpars[1].uuid
    novalink.faults.add(ForAnotherLPAR(method='POST', asked=lpar, other=other))
    path = make_volume()
    novalink.faults.add(NothingWithout(method='POST', times=None, file=path))
    with pytest.raises(exceptions.MappingFailed,
                       match=f'it remains, for LPAR {other.upper()}, so detach it there'):
        vios.submit(AddMapping(lpar, path), deadline())
    assert len(novalink.mappings()) == len(others) + 1


def test_the_id_tells_that_it_is_another_lpars_where_it_is_known(novalink, vios, lpar, make_volume,
                                                                 others):
    vios.submit(AddMapping(lpar, make_volume('bus')), deadline())
    edit = AddMapping(lpar, make_volume())
    ids = {one.uuid: one.id for one in novalink.lpars}
    novalink.faults.add(OtherClientId(
        times=None, old=ids[lpar], new=ids[novalink.lpars[1].uuid], file=edit.path))
    with pytest.raises(exceptions.MappingFailed, match='but to the LPAR with id'):
        vios.submit(edit, deadline())


@pytest.mark.parametrize('novalink', [{'links_of_files': True}], indirect=True)
def test_one_that_stays_without_client_adapter_is_taken_back(novalink, vios, lpar, make_volume,
                                                             others):
    novalink.faults.add(Without(times=None, pattern=CLIENTS))
    with pytest.raises(exceptions.MappingFailed, match='it was taken back'):
        vios.submit(AddMapping(lpar, make_volume()), deadline())
    assert paths_of(novalink) == others


@pytest.mark.parametrize('novalink', [{'links_of_files': True}], indirect=True)
def test_an_lpar_that_is_known_in_small_letters_only_is_not_taken_for_gone(
        novalink, config, connector, make_volume):
    path = make_volume()
    pfc.FileIOConnector('sudo', adapter=novalink.adapter(), conf=config,
                        lpar_uuid=novalink.lpars[1].uuid).connect_volume({'path': path})
    novalink.faults.add(Without(times=None, pattern=CLIENTS))
    novalink.faults.add(CaseSensitive(times=None))
    with pytest.raises(exceptions.VolumeInUse, match='being mapped'):
        connector.connect_volume({'path': path})
    assert len(novalink.mappings()) == 1


@pytest.mark.parametrize('link', ['VirtualIOServer/{}', '/rest/api/uom/virtualioserver/{}',
                                  'http://host/rest/api/uom/VirtualIOServer/{}?group=None'])
@pytest.mark.parametrize('novalink', [{'links_of_files': True}], indirect=True)
def test_what_is_being_made_for_an_io_server_stays_however_its_link_is_written(
        novalink, config, connector, make_volume, link):
    path = make_volume()
    pfc.FileIOConnector('sudo', adapter=novalink.adapter(), conf=config,
                        lpar_uuid=novalink.lpars[1].uuid).connect_volume({'path': path})
    novalink.faults.add(Without(times=None, pattern=CLIENTS))
    novalink.faults.add(OtherLink(times=None, href=link.format(str(uuid.uuid4()).upper())))
    with pytest.raises(exceptions.VolumeInUse, match='being mapped'):
        connector.connect_volume({'path': path})
    assert len(novalink.mappings()) == 1
