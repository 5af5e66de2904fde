# SPDX-License-Identifier: Apache-2.0
"""Edits as part of a pypowervm FeedTask, which sends them with all else that is in it."""

import dataclasses
import gc
import os
import threading
import weakref

import pytest
from pypowervm import const
from pypowervm.utils import transaction
from pypowervm.wrappers import virtual_io_server

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.novalink.feed_task import add_to_feed_task
from powervm_fileio_connector.simulator import NoLPARLinks
from powervm_fileio_connector.simulator import NotShown
from powervm_fileio_connector.simulator import OmitLUA
from powervm_fileio_connector.simulator import StaleEtag412
from tests.contract.conftest import committer_for
from tests.contract.test_taking_back import OtherBackstore
from tests.contract.test_taking_back import OtherLUA


def add(feed_task, edit, committer, *on_result):
    add_to_feed_task(feed_task, edit, committer, 20.0, *on_result)


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


def test_an_edit_that_names_its_slot_gets_it_before_one_that_takes_any(
        novalink, vios, feed_task, lpar, make_volume):
    any_slot, named = make_volume('any'), make_volume('named')
    for edit in AddMapping(lpar, any_slot), AddMapping(lpar, named, slot=2, lua='lun1'):
        add(feed_task, edit, vios)
    feed_task.execute()
    assert {m.path: (m.slot, m.lua) for m in novalink.mappings(lpar)}[named] == (2, 'lun1')
    assert len(novalink.mappings(lpar)) == 2


@pytest.mark.parametrize('group', [const.XAG.VIO_STOR, const.XAG.NONE])
def test_a_task_that_was_read_without_the_mappings_replaces_none(novalink, vios, lpar, make_volume,
                                                                 group):
    paths, results = [make_volume('theirs'), make_volume('ours')], []
    vios.submit(AddMapping(novalink.lpars[1].uuid, paths[0]), Deadline(20))
    feed_task = transaction.FeedTask('feed', virtual_io_server.VIOS.getter(
        novalink.adapter(), xag=[group]))
    add(feed_task, AddMapping(lpar, paths[1]), vios, results.append)
    feed_task.execute()
    assert [record.path for record in results] == paths[1:]
    assert {mapping.path for mapping in novalink.mappings()} == {*paths}


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


def test_an_edit_that_is_refused_may_be_replaced_by_another_one(
        novalink, vios, feed_task, lpar, make_volume):
    image, path, results = make_volume('image'), make_volume('base'), []
    vios.submit(AddMapping(lpar, image, backstore='user:qcow'), Deadline(20))
    edit = AddMapping(lpar, path, directories=frozenset({os.path.dirname(image)}))
    known = dataclasses.replace(edit, unrelated=frozenset({image}))
    add_to_feed_task(feed_task, edit, vios, 20.0, results.append,
                     after_refusal=lambda _, outcome: (
                         known if isinstance(outcome, exceptions.VolumeInUse) else None))
    feed_task.execute()
    assert [record.path for record in results] == [path]
    assert {mapping.path for mapping in novalink.mappings()} == {image, path}


def test_one_of_which_no_other_edit_can_be_made_keeps_none_from_being_reported(
        novalink, vios, feed_task, lpar, make_volume):
    taken, results = make_volume('taken'), []
    committer_for(novalink.adapter(), novalink.vios_uuid).submit(
        AddMapping(novalink.lpars[1].uuid, taken), Deadline(20))

    def silent(edit, outcome):
        raise exceptions.MountNotResponding()

    add_to_feed_task(feed_task, AddMapping(lpar, taken), vios, 20.0, after_refusal=silent)
    add(feed_task, AddMapping(lpar, make_volume()), vios, results.append)
    with pytest.raises(exceptions.MountNotResponding):
        feed_task.execute()
    assert [record.path for record in results] == [make_volume()]


@pytest.mark.parametrize('novalink', [{'other_vioses': 1}], indirect=True)
def test_a_task_that_does_not_concern_the_vios_says_so(novalink, vios, lpar, make_volume):
    others = [vios_w for vios_w in virtual_io_server.VIOS.get(
        novalink.adapter(), xag=[const.XAG.VIO_SMAP]) if vios_w.uuid != novalink.vios_uuid]
    feed_task = transaction.FeedTask('feed', others)
    add(feed_task, AddMapping(lpar, make_volume()), vios)
    with pytest.raises(exceptions.MappingFailed, match='does not include'):
        feed_task.execute()
    assert novalink.requests.count('POST') == 0


@pytest.mark.parametrize('novalink', [{'other_vioses': 1}], indirect=True)
def test_a_vios_that_is_handled_later_takes_nothing_of_what_was_sent(
        novalink, vios, other, feed_task, lpar, make_volume):
    old, new, results, applied = make_volume('old'), make_volume('new'), [], threading.Event()
    other.submit(AddMapping(lpar, old), Deadline(20))
    assert len(feed_task.feed) == 2
    novalink.requests.clear()

    def is_ours(vios_w):
        return vios_w.uuid == novalink.vios_uuid

    feed_task.add_functor_subtask(lambda vios_w: is_ours(vios_w) or applied.wait(20),
                                  flag_update=False)
    add(feed_task, AddMapping(lpar, new), vios, results.append)
    add(feed_task, RemoveMapping(lpar, paths=(old,)), vios, results.append)
    feed_task.add_functor_subtask(lambda vios_w: is_ours(vios_w) and applied.set(),
                                  flag_update=False)
    feed_task.execute()
    assert applied.is_set()
    assert results[0].path == new
    assert [record.path for record in results[1]] == [old]
    assert [r.method for r in novalink.requests.records(path='VirtualIOServer')] == ['POST']


@pytest.fixture
def other(novalink):
    """A committer of another client, by which somebody changes mappings."""
    return committer_for(novalink.adapter(), novalink.vios_uuid)


@pytest.fixture
def old_task(feed_task):
    """A task whose feed has been read already."""
    assert feed_task.feed
    return feed_task


def test_a_detach_does_not_believe_an_old_feed_that_shows_no_mapping(
        novalink, vios, other, old_task, lpar, make_volume):
    path = make_volume()
    other.submit(AddMapping(lpar, path), Deadline(20))
    results = []
    add(old_task, RemoveMapping(lpar, paths=(path,)), vios, results.append)
    old_task.execute()
    assert novalink.mappings() == []
    assert [record.path for record in results[0]] == [path]


def test_an_attach_does_not_believe_an_old_feed_that_shows_its_mapping(
        novalink, vios, other, feed_task, lpar, make_volume):
    path, results = make_volume(), []
    other.submit(AddMapping(lpar, path), Deadline(20))
    assert feed_task.feed
    other.submit(RemoveMapping(lpar, paths=(path,)), Deadline(20))
    add(feed_task, AddMapping(lpar, path), vios, results.append)
    feed_task.execute()
    assert [one.path for one in novalink.mappings(lpar)] == [path] == [results[0].path]
    assert results[0].is_new


def test_an_attach_does_not_believe_an_old_feed_that_shows_the_file_in_use(
        novalink, vios, other, feed_task, lpar, make_volume):
    path, owner = make_volume(), novalink.lpars[1].uuid
    other.submit(AddMapping(owner, path), Deadline(20))
    assert feed_task.feed
    other.submit(RemoveMapping(owner, paths=(path,)), Deadline(20))
    add(feed_task, AddMapping(lpar, path), vios)
    feed_task.execute()
    assert [one.lpar_uuid for one in novalink.mappings()] == [lpar]


def test_what_an_old_feed_left_undone_is_committed_in_one_post(
        novalink, vios, other, old_task, lpar, make_volume):
    paths = [make_volume(name) for name in 'abc']
    for path in paths:
        other.submit(AddMapping(lpar, path), Deadline(20))
    novalink.requests.clear()
    for path in paths:
        add(old_task, RemoveMapping(lpar, paths=(path,)), vios)
    old_task.execute()
    assert novalink.mappings() == []
    assert novalink.requests.count('POST') == 1


def test_a_task_takes_one_post_where_mappings_have_no_link(novalink, vios, other, feed_task, lpar,
                                                           make_volume):
    other.submit(AddMapping(lpar, make_volume('old')), Deadline(20))
    novalink.faults.add(NoLPARLinks())
    novalink.requests.clear()
    for name in 'abc':
        add(feed_task, AddMapping(lpar, make_volume(name)), vios)
    add(feed_task, RemoveMapping(lpar, paths=(make_volume('old'),)), vios)
    feed_task.execute()
    assert novalink.requests.count('POST') == 1
    assert len(novalink.mappings(lpar)) == 3
    assert len({one.slot for one in novalink.mappings(lpar)}) == 1


def test_one_volume_that_fails_keeps_none_of_the_others_from_being_reported(
        novalink, vios, other, feed_task, lpar, make_volume):
    taken, results = make_volume('taken'), []
    other.submit(AddMapping(novalink.lpars[1].uuid, taken), Deadline(20))

    def fail(record):
        raise RuntimeError('the slot map is broken')

    add(feed_task, AddMapping(lpar, taken), vios, results.append)
    add(feed_task, AddMapping(lpar, make_volume('a')), vios, fail)
    add(feed_task, AddMapping(lpar, make_volume('b')), vios, results.append)
    novalink.faults.add(StaleEtag412(times=1))
    with pytest.raises(exceptions.FileIOConnectorError):
        feed_task.execute()
    assert [record.path for record in results] == [make_volume('b')]


def test_a_mapping_that_no_answer_shows_is_an_error_and_a_detach_leaves_nothing(
        novalink, vios, feed_task, lpar, make_volume):
    path = make_volume()
    novalink.faults.add(NotShown())
    add(feed_task, AddMapping(lpar, path), vios)
    with pytest.raises(exceptions.MappingFailed, match=r'does not show .* may yet appear'):
        feed_task.execute()
    vios.submit(RemoveMapping(lpar, paths=(path,)), Deadline(20))
    assert novalink.mappings() == []


def test_a_mapping_with_another_lua_than_asked_for_is_taken_back(novalink, vios, feed_task, lpar,
                                                                 make_volume):
    novalink.faults.add(OtherLUA(times=None))
    add(feed_task, AddMapping(lpar, make_volume(), lua='lun7'), vios)
    with pytest.raises(exceptions.SlotOrLUAConflict, match='lun7'):
        feed_task.execute()
    assert novalink.mappings() == []


def test_a_mapping_with_another_backstore_than_asked_for_is_taken_back(novalink, vios, feed_task,
                                                                       lpar, make_volume):
    novalink.faults.add(OtherBackstore(times=None))
    add(feed_task, AddMapping(lpar, make_volume(), is_backstore_explicit=True), vios)
    with pytest.raises(exceptions.MappingFailed, match='loop was asked for'):
        feed_task.execute()
    assert novalink.mappings() == []


@pytest.mark.parametrize('is_run', [True, False])
def test_a_task_that_its_own_edit_refers_to_is_not_kept(novalink, vios, lpar, make_volume, is_run):
    task = transaction.FeedTask('feed', virtual_io_server.VIOS.getter(
        novalink.adapter(), xag=[const.XAG.VIO_SMAP]))
    add(task, AddMapping(lpar, make_volume()), vios, lambda _, task=task: task.feed)
    if is_run:
        task.execute()
    kept = weakref.ref(task)
    del task
    gc.collect()
    assert kept() is None
