# SPDX-License-Identifier: Apache-2.0
"""Edits as part of a pypowervm FeedTask, which sends them with all else that is in it."""

import pytest
from pypowervm import const
from pypowervm.utils import transaction
from pypowervm.wrappers import virtual_io_server

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import novalink as novalink_package
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.simulator import OmitLUA
from powervm_fileio_connector.simulator import StaleEtag412
from tests.contract.conftest import committer_for


def add(feed_task, edit, committer, on_result=None):
    novalink_package.add_to_feed_task(feed_task, edit, committer, 20.0, on_result)


@pytest.fixture
def feed_task(novalink):
    return transaction.FeedTask('feed', virtual_io_server.VIOS.getter(
        novalink.adapter(), xag=[const.XAG.VIO_SMAP]))


def test_adding_edits_sends_nothing(novalink, vios, feed_task, lpar, make_volume):
    before = novalink.requests.count()
    add(feed_task, AddMapping(lpar, make_volume()), vios)
    assert novalink.requests.count() == before


def test_edits_go_out_with_the_task_in_one_post(novalink, vios, feed_task, lpar, make_volume):
    old = make_volume('old')
    committer_for(novalink.adapter(), novalink.vios_uuid).submit(
        AddMapping(lpar, old), Deadline(20))
    novalink.requests.clear()
    results = []
    for edit in [AddMapping(lpar, make_volume('a')), AddMapping(lpar, make_volume('b')),
                 RemoveMapping(lpar, paths=(old,))]:
        add(feed_task, edit, vios, results.append)
    feed_task.execute()
    assert novalink.requests.count('POST') == 1
    assert {m.path.rpartition('/')[2] for m in novalink.mappings(lpar)} == {'a', 'b'}
    assert {results[0].path, results[1].path} == {m.path for m in novalink.mappings(lpar)}
    assert [record.path for record in results[2]] == [old]


def test_a_task_with_nothing_to_do_posts_nothing(novalink, vios, feed_task, lpar):
    results = []
    add(feed_task, RemoveMapping(lpar, paths=('/a',)), vios, results.append)
    feed_task.execute()
    assert results == [()]
    assert novalink.requests.count('POST') == 0


def test_a_task_that_is_driven_again_does_it_once(novalink, vios, feed_task, lpar, make_volume):
    novalink.faults.add(StaleEtag412(times=2), OmitLUA())
    results = []
    add(feed_task, AddMapping(lpar, make_volume()), vios, results.append)
    feed_task.execute()
    assert len(novalink.mappings(lpar)) == 1
    assert results[0].slot == novalink.mappings(lpar)[0].slot


def test_an_edit_that_cannot_be_fails_the_task(novalink, vios, feed_task, lpar, make_volume):
    path = make_volume()
    committer_for(novalink.adapter(), novalink.vios_uuid).submit(
        AddMapping(novalink.lpars[1].uuid, path), Deadline(20))
    add(feed_task, AddMapping(lpar, path), vios)
    with pytest.raises(exceptions.VolumeInUse):
        feed_task.execute()


@pytest.mark.parametrize('novalink', [{'other_vioses': 1}], indirect=True)
def test_a_task_that_does_not_concern_the_vios_says_so(novalink, vios, lpar, make_volume):
    others = [vios_w for vios_w in virtual_io_server.VIOS.get(
        novalink.adapter(), xag=[const.XAG.VIO_SMAP]) if vios_w.uuid != novalink.vios_uuid]
    feed_task = transaction.FeedTask('feed', others)
    add(feed_task, AddMapping(lpar, make_volume()), vios)
    with pytest.raises(exceptions.MappingFailed, match='does not include'):
        feed_task.execute()
    assert novalink.requests.count('POST') == 0
