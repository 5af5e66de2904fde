# SPDX-License-Identifier: Apache-2.0
"""Edits as part of a pypowervm FeedTask, which sends them with all else that is in it."""

import pytest
from pypowervm import const
from pypowervm.utils import transaction
from pypowervm.wrappers import virtual_io_server

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.novalink import writer
from powervm_fileio_connector.simulator import OmitLUA
from powervm_fileio_connector.simulator import StaleEtag412


@pytest.fixture
def feed_task(novalink):
    return transaction.FeedTask('feed', virtual_io_server.VIOS.getter(
        novalink.adapter(), xag=[const.XAG.VIO_SMAP]))


def test_adding_edits_sends_nothing(novalink, feed_task, lpar, make_volume):
    before = novalink.requests.count()
    writer.add_to_feed_task(feed_task, AddMapping(lpar, make_volume()), novalink.vios_uuid)
    assert novalink.requests.count() == before


def test_edits_go_out_with_the_task_in_one_post(novalink, feed_task, lpar, make_volume):
    old = make_volume('old')
    writer.writer_for(novalink.adapter(), novalink.vios_uuid).submit(
        AddMapping(lpar, old), Deadline(20))
    novalink.requests.clear()
    results = []
    for edit in [AddMapping(lpar, make_volume('a')), AddMapping(lpar, make_volume('b')),
                 RemoveMapping(lpar, paths=(old,))]:
        writer.add_to_feed_task(feed_task, edit, novalink.vios_uuid.lower(), results.append)
    feed_task.execute()
    assert novalink.requests.count('POST') == 1
    assert {m.path.rpartition('/')[2] for m in novalink.mappings(lpar)} == {'a', 'b'}
    assert {results[0].path, results[1].path} == {m.path for m in novalink.mappings(lpar)}
    assert [record.path for record in results[2]] == [old]


def test_a_task_with_nothing_to_do_posts_nothing(novalink, feed_task, lpar):
    results = []
    writer.add_to_feed_task(feed_task, RemoveMapping(lpar, paths=('/a',)), novalink.vios_uuid,
                            results.append)
    feed_task.execute()
    assert results == [()]
    assert novalink.requests.count('POST') == 0


def test_a_task_that_is_driven_again_does_it_once(novalink, feed_task, lpar, make_volume):
    novalink.faults.add(StaleEtag412(times=2), OmitLUA())
    results = []
    writer.add_to_feed_task(feed_task, AddMapping(lpar, make_volume()), novalink.vios_uuid,
                            results.append)
    feed_task.execute()
    assert len(novalink.mappings(lpar)) == 1
    assert results[0].slot == novalink.mappings(lpar)[0].slot


def test_an_edit_that_cannot_be_fails_the_task(novalink, feed_task, lpar, make_volume):
    path = make_volume()
    writer.writer_for(novalink.adapter(), novalink.vios_uuid).submit(
        AddMapping(novalink.lpars[1].uuid, path), Deadline(20))
    writer.add_to_feed_task(feed_task, AddMapping(lpar, path), novalink.vios_uuid)
    with pytest.raises(exceptions.VolumeInUse):
        feed_task.execute()


@pytest.mark.parametrize('novalink', [{'other_vioses': 1}], indirect=True)
def test_a_task_that_does_not_concern_the_vios_says_so(novalink, lpar, make_volume):
    others = [vios_w for vios_w in virtual_io_server.VIOS.get(
        novalink.adapter(), xag=[const.XAG.VIO_SMAP]) if vios_w.uuid != novalink.vios_uuid]
    feed_task = transaction.FeedTask('feed', others)
    writer.add_to_feed_task(feed_task, AddMapping(lpar, make_volume()), novalink.vios_uuid)
    with pytest.raises(exceptions.MappingFailed, match='does not concern'):
        feed_task.execute()
    assert novalink.requests.count('POST') == 0
