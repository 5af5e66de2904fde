# SPDX-License-Identifier: Apache-2.0
"""Answers that show less than they might."""

import dataclasses
import re

import pytest

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.simulator import Fault
from tests.contract.conftest import committer_for
from tests.contract.conftest import deadline


@dataclasses.dataclass(frozen=True)
class Without(Fault):
    """Leaves out of answers what fits an expression."""

    pattern: bytes = b''

    def on_answer(self, exchange, answer):
        return dataclasses.replace(answer, body=re.sub(self.pattern, b'', answer.body, flags=re.S))


MAPPINGS = rb'<VirtualSCSIMapping .*</VirtualSCSIMapping>'
SECTION = rb'<VirtualSCSIMappings.*</VirtualSCSIMappings>'
LINKS = rb'<AssociatedLogicalPartition [^>]*>'


@pytest.mark.parametrize('pattern', [MAPPINGS, SECTION])
def test_an_answer_that_does_not_show_the_mapping_is_followed_by_a_read(novalink, vios, lpar,
                                                                        make_volume, pattern):
    novalink.faults.add(Without(method='POST', pattern=pattern))
    assert vios.submit(AddMapping(lpar, make_volume()), deadline()).lua == 'lun1'
    assert [r.method for r in novalink.requests.records(path='VirtualIOServer')[-2:]] == [
        'POST', 'GET']


def test_a_mapping_that_is_never_shown_has_failed(novalink, vios, lpar, make_volume):
    vios.submit(AddMapping(lpar, make_volume('warm')), deadline())
    novalink.faults.add(Without(times=None, pattern=MAPPINGS))
    with pytest.raises(exceptions.MappingFailed, match='does not show'):
        vios.submit(AddMapping(lpar, make_volume()), deadline())


def test_an_empty_answer_is_followed_by_a_read(novalink, vios, lpar, make_volume):
    vios.submit(AddMapping(lpar, make_volume('warm')), deadline())
    novalink.faults.add(Without(method='POST', pattern=rb'.*'))
    assert vios.submit(AddMapping(lpar, make_volume()), deadline()).lua == 'lun2'


@dataclasses.dataclass(frozen=True)
class NoEtag(Fault):
    """A server whose answers to changes have no etag."""

    def on_answer(self, exchange, answer):
        body = re.sub(rb'<etag:etag .*?</etag:etag>', b'', answer.body, flags=re.S)
        headers = {name: value for name, value in answer.headers.items() if name.lower() != 'etag'}
        return dataclasses.replace(answer, body=body, headers=headers)


def test_nothing_is_posted_without_the_etag_of_what_was_read(novalink, vios, lpar, make_volume):
    novalink.faults.add(NoEtag(times=None, method='POST'))
    mine, others, next_one = (make_volume(name) for name in ('mine', 'others', 'next'))
    vios.submit(AddMapping(lpar, mine), deadline())
    committer_for(novalink.adapter(), novalink.vios_uuid).submit(
        AddMapping(lpar, others), deadline())
    vios.submit(AddMapping(lpar, next_one), deadline())
    assert [mapping.path for mapping in novalink.mappings()] == [mine, others, next_one]
    # The simulator refuses a change without an etag; another server may not.
    assert {record.status for record in novalink.requests.records('POST')} == {200}


@dataclasses.dataclass(frozen=True)
class Garbled(Fault):
    """A server that writes what no XML can hold into the names of targets."""

    def on_answer(self, exchange, answer):
        return dataclasses.replace(answer, body=answer.body.replace(b'>FILEIO-', b'>&#0;'))


@pytest.mark.parametrize('method', ['GET', 'POST'])
def test_a_mapping_that_is_no_xml_is_our_error(novalink, vios, lpar, make_volume, method):
    path = make_volume()
    vios.submit(AddMapping(lpar, path), deadline())
    vios.forget()
    novalink.faults.add(Garbled(times=None, method=method))
    with pytest.raises(exceptions.NovaLinkUnavailable, match='no XML'):
        vios.submit(AddMapping(lpar, path if method == 'GET' else make_volume('other')), deadline())


def test_the_id_of_an_lpar_is_asked_for_where_mappings_have_no_link(novalink, vios, lpar,
                                                                    make_volume):
    path = make_volume()
    committer_for(novalink.adapter(), novalink.vios_uuid).submit(
        AddMapping(lpar, path), deadline())
    novalink.faults.add(Without(times=None, pattern=LINKS))
    novalink.requests.clear()
    assert vios.submit(AddMapping(lpar, path), deadline()).slot is not None
    assert novalink.requests.count(path='LogicalPartition') == 1
    assert len(vios.submit(RemoveMapping(lpar, paths=(path,)), deadline())) == 1
    # Ids are reused, so that one is not kept for the next edit.
    assert novalink.requests.count(path='LogicalPartition') == 2
    assert novalink.mappings() == []


def test_a_mapping_without_link_is_found_by_the_id_of_its_lpar(novalink, vios, lpar, make_volume):
    path = make_volume()
    vios.submit(AddMapping(lpar, path), deadline())
    novalink.faults.add(Without(times=None, pattern=LINKS))
    found = committer_for(novalink.adapter(), novalink.vios_uuid).find(
        lpar, [path], None, deadline())
    assert found.path == path


def test_mappings_without_link_whose_lpar_is_gone_are_in_use_and_stay(
        novalink, vios, lpar, lpar_uuid, make_volume):
    path = make_volume()
    vios.submit(AddMapping(lpar, path), deadline())
    novalink.faults.add(Without(times=None, pattern=LINKS))
    vios.forget()
    assert vios.submit(RemoveMapping(lpar_uuid, paths=(path,)), deadline()) == ()
    with pytest.raises(exceptions.VolumeInUse):
        vios.submit(AddMapping(lpar_uuid, path), deadline())
    assert len(novalink.mappings()) == 1
