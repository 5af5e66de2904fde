# SPDX-License-Identifier: Apache-2.0
"""Edits of a VIOS document, on both forms of it."""

import dataclasses
import types

import pytest
from lxml import etree
from pypowervm.tasks import scsi_mapper
from pypowervm.wrappers import storage

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.mappings import find
from powervm_fileio_connector.mappings import in_order
from powervm_fileio_connector.mappings.edit import NotConfirmed
from powervm_fileio_connector.mappings.edit import Outcome
from powervm_fileio_connector.mappings.record import record_of
from powervm_fileio_connector.mappings.table import LPARIdNeeded
from tests.unit.mappings import vios_documents
from tests.unit.mappings.vios_documents import ONE
from tests.unit.mappings.vios_documents import TWO
from tests.unit.mappings.vios_documents import mapping


@pytest.fixture(params=['tree', 'text'])
def make(request):
    """Make a document of some mappings."""
    def make_document(*mappings):
        # The text form needs one mapping that stays; a disk of another kind disturbs nobody.
        return vios_documents.document(vios_documents.entry(
            mapping('lv1', TWO, 9, kind='LogicalVolume', server_slot=99), *mappings), request.param)
    return make_document


def paths(doc):
    return [record_of(element).path for element in vios_documents.sent(doc)][1:]


def added(doc):
    return record_of(vios_documents.sent(doc)[-1])


def test_a_file_that_is_not_mapped_gets_a_new_pair_of_adapters(make):
    doc = make()
    assert AddMapping(ONE, '/mnt/a', tag='t1').apply(doc).outcome is Outcome.CHANGED
    record = added(doc)
    assert (record.path, record.kind) == ('/mnt/a', 'file')
    assert (record.tag, record.backstore) == ('t1', 'loop')
    assert record.lpar_uuid == ONE
    assert record.server_slot is None
    assert b'UseNextAvailableSlotID' in doc.body()


def test_the_pair_that_the_lpar_has_is_used_again(make):
    doc = make(mapping('/mnt/a', ONE, slot=3, server_slot=10))
    AddMapping(ONE, '/mnt/b').apply(doc)
    record = added(doc)
    assert (record.path, record.slot, record.server_slot, record.lua) == ('/mnt/b', 3, 10, None)


@pytest.mark.parametrize('slot_and_lua', [(None, None), (None, 'lun7'), (3, 'lun7'), (8, 'lun7')])
def test_what_is_sent_is_what_pypowervm_would_send(slot_and_lua):
    slot, lua = slot_and_lua
    existing = [mapping('/mnt/a', ONE, slot=3, server_slot=10)] if slot != 8 else []
    answer = vios_documents.entry(mapping('/mnt/z', TWO, 6, server_slot=11), *existing)
    doc = vios_documents.document(answer, 'text')
    AddMapping(ONE, '/mnt/b', tag='t', slot=slot, lua=lua).apply(doc)
    theirs = vios_documents.document(answer).vios_w
    file = storage.FileIO.bld_ref(theirs.adapter, '/mnt/b', backstore_type='loop', tag='t')
    theirs.scsi_mappings.append(scsi_mapper.build_vscsi_mapping(
        None, theirs, ONE, file, lpar_slot_num=slot if slot == 8 else None, lua=lua))
    assert (etree.tostring(etree.fromstring(doc.body()), method='c14n')
            == etree.tostring(etree.fromstring(theirs.toxmlstring()), method='c14n'))


@pytest.mark.parametrize('spelling', ['/mnt/a', '/mnt//a', '/mnt/a/', '//mnt/./a'])
def test_the_same_file_twice_is_one_mapping_however_it_is_spelled(make, spelling):
    doc = make(mapping(spelling, ONE))
    change = AddMapping(ONE.lower(), '/mnt/a').apply(doc)
    assert change.outcome is Outcome.UNCHANGED
    assert change.records[0].slot == 3


@pytest.mark.parametrize('path', ['/x/../mnt/a', '/mnt/x/../a'])
def test_a_path_that_goes_back_up_is_another_file(make, path):
    doc = make(mapping(path, TWO, 6))
    assert AddMapping(ONE, '/mnt/a').apply(doc).outcome is Outcome.CHANGED
    assert RemoveMapping(TWO, paths=('/mnt/a',)).apply(make(
        mapping(path, TWO))).outcome is Outcome.UNCHANGED


@pytest.mark.parametrize('path', ['/x/../mnt/a', '/mnt/x/../a'])
def test_a_path_that_goes_back_up_has_to_be_known_to_lead_elsewhere(make, path):
    with pytest.raises(exceptions.VolumeInUse) as caught:
        AddMapping(ONE, '/mnt/a', elsewhere=()).apply(make(mapping(path, TWO, 6)))
    assert caught.value.kwargs['unresolved'] == (path,)
    assert AddMapping(ONE, '/mnt/a', elsewhere=(path,)).apply(
        make(mapping(path, TWO, 6))).outcome is Outcome.CHANGED


def test_a_file_is_known_by_its_other_spellings_too(make):
    doc = make(mapping('/real/a', ONE))
    assert AddMapping(ONE, '/link/a', ('/real/a',)).apply(doc).outcome is Outcome.UNCHANGED


@pytest.mark.parametrize('label', ['', 'a', 'my disk'])
def test_a_file_whose_label_is_no_path_is_known_by_its_name(make, label):
    doc = make(mapping('/mnt/a', ONE, label=label))
    assert AddMapping(ONE, '/mnt/a').apply(doc).outcome is Outcome.UNCHANGED


def test_a_lookalike_of_another_lpar_refuses_a_second_one(make):
    doc = make(mapping('/mnt/b', TWO, 6))
    with pytest.raises(exceptions.VolumeInUse, match=r'/mnt/b is mapped .* may be the same file'):
        AddMapping(ONE, '/mnt/a', lookalikes=frozenset({'/mnt/b'})).apply(doc)
    edit = AddMapping(ONE, '/mnt/a', lookalikes=frozenset({'/mnt/b'}), multiattach=True)
    assert edit.apply(doc).outcome is Outcome.CHANGED


@pytest.mark.parametrize('lpar', [ONE, TWO])
@pytest.mark.parametrize('is_multiattach', [False, True])
def test_what_no_lpar_may_have_beside_a_file_refuses_it(make, lpar, is_multiattach):
    doc = make(mapping('/mnt//b', lpar))
    edit = AddMapping(ONE, '/mnt/a', conflicts=(('/mnt/b', 'has data of /mnt/a'),),
                      multiattach=is_multiattach)
    with pytest.raises(exceptions.VolumeInUse, match=r'/mnt//b is mapped .* has data of /mnt/a'):
        edit.apply(doc)
    assert edit.apply(make(mapping('/mnt/c', lpar))).outcome is Outcome.CHANGED


def test_an_image_beside_a_file_has_to_be_known_not_to_have_it_as_backing_file(make):
    images = [mapping('/mnt/b', TWO, 6, backstore='user:qcow'), mapping('/mnt/a', ONE),
              mapping('/mnt/raw', TWO, 6), mapping('/elsewhere/b', TWO, 6, backstore='user:qcow')]
    edit = AddMapping(ONE, '/mnt/base', directories=frozenset({'/mnt'}))
    with pytest.raises(exceptions.VolumeInUse, match='may have /mnt/base as a backing') as caught:
        edit.apply(make(*images))
    assert caught.value.kwargs['images'] == ('/mnt/b',)
    known = dataclasses.replace(edit, unrelated=frozenset({'/mnt/b'}))
    assert known.apply(make(*images)).outcome is Outcome.CHANGED
    assert edit.apply(make(*images[1:])).outcome is Outcome.CHANGED


def test_a_lookalike_is_never_taken_for_the_file(make):
    doc = make(mapping('/mnt/b', ONE), mapping('/mnt/b', has_link=False, has_client=False))
    edit = AddMapping(ONE, '/mnt/a', lookalikes=frozenset({'/mnt/b'}))
    assert edit.apply(doc).outcome is Outcome.CHANGED
    assert paths(doc) == ['/mnt/b', '/mnt/b', '/mnt/a']


@pytest.mark.parametrize('path', ['/mnt/a&b', '/mnt/a<b>', "/mnt/a'b\"c", '/mnt/ä ö', '/mnt/日本'])
def test_a_path_may_have_any_character(make, path):
    doc = make(mapping(path, ONE))
    assert AddMapping(ONE, path).apply(doc).outcome is Outcome.UNCHANGED
    AddMapping(ONE, f'{path}2').apply(doc)
    assert added(doc).path == f'{path}2'
    assert paths(doc) == [path, f'{path}2']


def test_a_file_of_another_lpar_is_in_use(make):
    doc = make(mapping('/mnt/a', TWO, 6))
    with pytest.raises(exceptions.VolumeInUse, match=TWO) as caught:
        AddMapping(ONE, '/mnt/a').apply(doc)
    assert caught.value.kwargs['lpar'] == TWO
    assert not doc.is_edited


def test_multiattach_maps_a_file_to_another_lpar_too(make):
    doc = make(mapping('/mnt/a', TWO, 6))
    AddMapping(ONE, '/mnt/a', multiattach=True).apply(doc)
    assert paths(doc) == ['/mnt/a', '/mnt/a']


def test_a_file_on_a_wild_card_adapter_is_in_use(make):
    doc = make(mapping('/mnt/a', has_link=False, has_client=False, remote_slot=65535))
    with pytest.raises(exceptions.VolumeInUse, match='wild-card'):
        AddMapping(ONE, '/mnt/a').apply(doc)


def test_orphans_of_a_file_are_removed_with_its_new_mapping(make):
    # The orphan's client had the id that this LPAR has now: an orphan's id says nothing.
    orphan = mapping('/mnt/a', lpar_id=5, server_slot=20, has_link=False, has_client=False)
    other = mapping('/mnt/b', lpar_id=5, server_slot=21, has_link=False, has_client=False)
    doc = make(orphan, mapping('/mnt/c', ONE, 5), other)
    AddMapping(ONE, '/mnt/a').apply(doc)
    assert paths(doc) == ['/mnt/c', '/mnt/b', '/mnt/a']
    assert added(doc).server_slot == 10


def test_another_kind_of_disk_with_the_same_name_is_none_of_ours(make):
    doc = make(mapping('/mnt/a', TWO, 6, kind='LogicalVolume'))
    assert AddMapping(ONE, '/mnt/a').apply(doc).outcome is Outcome.CHANGED


class TestSlotAndLUA:
    def test_a_slot_that_is_no_bus_of_ours_makes_one(self, make):
        doc = make(mapping('/mnt/a', ONE, slot=3))
        AddMapping(ONE, '/mnt/b', slot=8, lua='lun4').apply(doc)
        assert (added(doc).slot, added(doc).lua, added(doc).server_slot) == (8, 'lun4', None)

    def test_a_slot_that_is_a_bus_of_ours_is_used(self, make):
        doc = make(mapping('/mnt/a', ONE, slot=3), mapping('/mnt/b', ONE, slot=4, server_slot=11))
        AddMapping(ONE, '/mnt/c', slot=4, lua='lun2').apply(doc)
        assert (added(doc).slot, added(doc).server_slot) == (4, 11)

    def test_a_slot_asked_for_is_honoured_past_the_guideline(self, make):
        doc = make(mapping('/mnt/a', ONE, slot=3), mapping('/mnt/b', ONE, slot=3, lua='lun2'))
        AddMapping(ONE, '/mnt/c', slot=3, max_per_bus=2).apply(doc)
        assert added(doc).server_slot == 10

    def test_a_taken_lua_is_refused(self, make):
        doc = make(mapping('/mnt/a', ONE, slot=3, lua='0x8100000000AB0000'))
        with pytest.raises(exceptions.SlotOrLUAConflict, match='/mnt/a'):
            AddMapping(ONE, '/mnt/b', slot=3, lua='0x8100000000ab0000').apply(doc)
        assert not doc.is_edited

    def test_a_lua_without_slot_goes_where_it_is_free(self, make):
        doc = make(mapping('/mnt/a', ONE, slot=3), mapping('/mnt/b', ONE, slot=4, server_slot=11,
                                                           lua='lun2'))
        AddMapping(ONE, '/mnt/c', lua='lun1').apply(doc)
        assert (added(doc).server_slot, added(doc).lua) == (11, 'lun1')

    def test_a_full_bus_makes_another(self, make):
        doc = make(mapping('/mnt/a', ONE), mapping(None, ONE))
        AddMapping(ONE, '/mnt/c', max_per_bus=2).apply(doc)
        assert added(doc).server_slot is None

    @pytest.mark.parametrize('wanted', [{'slot': 4}, {'lua': 'lun9'}, {'slot': 3, 'lua': 'lun9'}])
    def test_a_mapping_elsewhere_than_asked_for_is_a_conflict(self, make, wanted):
        doc = make(mapping('/mnt/a', ONE, slot=3, lua='lun1'))
        with pytest.raises(exceptions.SlotOrLUAConflict, match='slot 3 as lun1'):
            AddMapping(ONE, '/mnt/a', **wanted).apply(doc)

    def test_another_backstore_than_asked_for_is_refused(self, make):
        doc = make(mapping('/mnt/a', ONE, backstore='loop'))
        with pytest.raises(exceptions.MappingFailed, match='loop, but fileio'):
            AddMapping(ONE, '/mnt/a', backstore='fileio', is_backstore_explicit=True).apply(doc)
        assert AddMapping(ONE, '/mnt/a', backstore='fileio').apply(doc).records

    @pytest.mark.parametrize(('there', 'asked'), [
        ('user:qcow', 'loop'), ('user:qcow', 'fileio'), ('loop', 'user:qcow')])
    def test_raw_and_qcow2_are_never_taken_for_each_other(self, make, there, asked):
        doc = make(mapping('/mnt/a', ONE, backstore=there))
        with pytest.raises(exceptions.MappingFailed, match=f'{there}, but {asked}'):
            AddMapping(ONE, '/mnt/a', backstore=asked).apply(doc)
        assert AddMapping(ONE, '/mnt/a', backstore=there).apply(doc).records

    def test_the_second_edit_of_a_new_bus_waits_for_it(self, make):
        doc = make()
        outcomes = [AddMapping(ONE, f'/mnt/{i}', max_per_bus=2).apply(doc).outcome.name
                    for i in range(5)]
        assert outcomes == ['CHANGED', 'DEFERRED', 'CHANGED', 'DEFERRED', 'CHANGED']

    def test_an_edit_without_a_later_document_does_not_wait(self, make):
        doc = make()
        for i in range(2):
            AddMapping(ONE, f'/mnt/{i}').apply(doc, may_defer=False)
        assert paths(doc) == ['/mnt/0', '/mnt/1']


class TestRemoving:
    def test_every_mapping_of_the_file_to_the_lpar_is_removed_and_no_other(self, make):
        wild = mapping('/mnt/a', has_link=False, has_client=False, remote_slot=65535,
                       server_slot=30)
        doc = make(mapping('/mnt/a', ONE, slot=3), mapping('/mnt/a', TWO, 6), wild,
                   mapping('/mnt//a', ONE, slot=4), mapping('/mnt/b', ONE),
                   mapping('/mnt/a', ONE, kind='LogicalVolume'))
        change = RemoveMapping(ONE, paths=('/mnt/a',)).apply(doc)
        assert {record.slot for record in change.records} == {3, 4}
        assert paths(doc) == ['/mnt/a', '/mnt/a', '/mnt/b', None]

    def test_orphans_of_the_file_go_with_it(self, make):
        doc = make(mapping('/mnt/a', has_link=False, has_client=False), mapping('/mnt/a', ONE))
        assert len(RemoveMapping(ONE, paths=('/mnt/a',)).apply(doc).records) == 2
        assert paths(doc) == []

    def test_orphans_go_even_where_the_lpar_is_gone(self, make):
        doc = make(mapping('/mnt/a', has_link=False, has_client=False))
        assert RemoveMapping(ONE, paths=('/mnt/a',)).apply(doc).outcome is Outcome.CHANGED

    def test_what_is_gone_needs_nothing(self, make):
        doc = make(mapping('/mnt/a', TWO, 6))
        change = RemoveMapping(ONE, paths=('/mnt/a',), udid='u', tag='t').apply(doc)
        assert change.outcome is Outcome.UNCHANGED
        assert change.records == ()

    @pytest.mark.parametrize(('known', 'expected'), [
        ({'udid': 'UDID-1', 'paths': ('/mnt/b',), 'tag': 't3'}, '/mnt/a'),
        ({'udid': 'gone', 'paths': ('/mnt/z', '/mnt/b'), 'tag': 't3'}, '/mnt/b'),
        ({'udid': 'gone', 'paths': ('/mnt/z',), 'tag': 't3'}, '/mnt/h/c'),
        ({'paths': ('/mnt/z',), 'file_name': 'c', 'export_hash': 'h'}, '/mnt/h/c'),
    ])
    def test_the_surest_criterion_that_finds_something_counts(self, make, known, expected):
        doc = make(mapping('/mnt/a', ONE, udid='udid-1', tag='t1'),
                   mapping('/mnt/b', ONE, udid='udid-2', tag='t2'),
                   mapping('/mnt/h/c', ONE, udid='udid-3', tag='t3'))
        assert [r.path for r in RemoveMapping(ONE, **known).apply(doc).records] == [expected]

    @pytest.mark.parametrize('places', [['/mnt/x/c'], ['/mnt/h/c', '/mnt/x/c'],
                                        ['/mnt/h/c', '/srv/h/c']])
    def test_a_name_that_fits_other_places_is_an_error_that_names_them(self, make, places):
        doc = make(*(mapping(path, ONE) for path in places))
        with pytest.raises(exceptions.MappingFailed) as caught:
            RemoveMapping(ONE, file_name='c', export_hash='h').apply(doc)
        assert all(path in str(caught.value) for path in places)
        assert not doc.is_edited

    def test_a_name_that_fits_a_mapping_tagged_as_another_volume_is_gone(self, make):
        doc = make(mapping('/mnt/h/c', ONE, tag='other'))
        known = {'file_name': 'c', 'export_hash': 'h'}
        assert RemoveMapping(ONE, tag='mine', **known).apply(doc).outcome is Outcome.UNCHANGED
        assert RemoveMapping(ONE, **known).apply(doc).outcome is Outcome.CHANGED

    def test_a_name_that_fits_nothing_is_gone(self, make):
        doc = make(mapping('/mnt/x/d', ONE))
        change = RemoveMapping(ONE, file_name='c', export_hash='h').apply(doc)
        assert change.outcome is Outcome.UNCHANGED

    def test_a_mapping_that_is_yet_to_be_made_is_removed_later(self, make):
        doc = make()
        AddMapping(ONE, '/mnt/a').apply(doc)
        assert RemoveMapping(ONE, paths=('/mnt/a',)).apply(doc).outcome is Outcome.DEFERRED


class TestMappingsWithoutLink:
    def test_the_id_is_learnt_from_other_mappings(self, make):
        doc = make(mapping('/mnt/a', lpar_id=5, has_link=False), mapping('/mnt/b', ONE, 5))
        assert RemoveMapping(ONE, paths=('/mnt/a',)).apply(doc).records[0].path == '/mnt/a'

    def test_the_id_is_asked_for_where_nothing_tells_it(self, make):
        doc = make(mapping('/mnt/a', lpar_id=5, has_link=False))
        with pytest.raises(LPARIdNeeded):
            RemoveMapping(ONE, paths=('/mnt/a',)).apply(doc)
        doc.lpar_ids[ONE] = 5
        assert RemoveMapping(ONE, paths=('/mnt/a',)).apply(doc).outcome is Outcome.CHANGED

    def test_one_with_the_id_of_another_is_left_alone(self, make):
        doc = make(mapping('/mnt/a', lpar_id=5, has_link=False))
        doc.lpar_ids[ONE] = 6
        assert RemoveMapping(ONE, paths=('/mnt/a',)).apply(doc).outcome is Outcome.UNCHANGED

    def test_no_id_is_asked_for_in_vain(self, make):
        doc = make(mapping('/mnt/a', lpar_id=5, has_link=False))
        assert RemoveMapping(ONE, paths=('/mnt/c',)).apply(doc).outcome is Outcome.UNCHANGED
        linked = make(mapping('/mnt/a', lpar_id=5, has_link=False), mapping('/mnt/b', ONE, 6))
        assert AddMapping(ONE, '/mnt/c').apply(linked).outcome is Outcome.CHANGED
        assert AddMapping(ONE, '/mnt/c').apply(make(mapping('/mnt/a', TWO, 6))).records == ()

    def test_the_id_is_asked_for_to_find_the_bus(self, make):
        doc = make(mapping('/mnt/a', lpar_id=5, has_link=False))
        with pytest.raises(LPARIdNeeded):
            AddMapping(ONE, '/mnt/b').apply(doc)
        assert not doc.is_edited

    def test_an_id_that_two_links_tell_differently_is_asked_for(self, make):
        doc = make(mapping('/mnt/a', ONE, 5), mapping('/mnt/b', ONE, 6, slot=4),
                   mapping('/mnt/c', lpar_id=6, has_link=False))
        with pytest.raises(LPARIdNeeded):
            RemoveMapping(ONE, paths=('/mnt/c',)).apply(doc)

    def test_one_of_another_lpar_is_in_use(self, make):
        doc = make(mapping('/mnt/a', lpar_id=6, has_link=False), mapping('/mnt/b', ONE, 5))
        with pytest.raises(exceptions.VolumeInUse, match='id 6'):
            AddMapping(ONE, '/mnt/a').apply(doc)

    def test_one_of_ours_is_found_again(self, make):
        doc = make(mapping('/mnt/a', lpar_id=5, has_link=False), mapping('/mnt/b', ONE, 5))
        assert AddMapping(ONE, '/mnt/a').apply(doc).outcome is Outcome.UNCHANGED

    def test_its_bus_is_used_where_the_id_is_known(self, make):
        doc = make(mapping('/mnt/a', lpar_id=5, has_link=False, server_slot=12))
        doc.lpar_ids[ONE] = 5
        AddMapping(ONE, '/mnt/b').apply(doc)
        assert added(doc).server_slot == 12


class TestResults:
    def test_a_mapping_is_what_the_answer_shows(self, make):
        edit = AddMapping(ONE, '/mnt/a')
        change = edit.apply(make())
        record = edit.result(make(mapping('/mnt/a', ONE, slot=7, lua='lun5')), change)
        assert (record.slot, record.lua) == (7, 'lun5')

    @pytest.mark.parametrize('answer', [[], [mapping('/mnt/a', TWO, 6)],
                                        [mapping('/mnt/a', ONE, slot=9)]])
    def test_an_answer_that_shows_something_else_proves_nothing(self, make, answer):
        edit = AddMapping(ONE, '/mnt/a', slot=3)
        change = edit.apply(make())
        with pytest.raises(NotConfirmed):
            edit.result(make(*answer), change)

    def test_a_mapping_that_is_still_shown_is_not_removed(self, make):
        edit = RemoveMapping(ONE, udid='udid-of-/mnt/a')
        change = edit.apply(make(mapping('/mnt/a', ONE)))
        assert edit.result(make(), change) == change.records
        with pytest.raises(NotConfirmed):
            edit.result(make(mapping('/mnt/a', ONE)), change)


def test_edits_of_one_volume_share_a_key():
    add = AddMapping(ONE, '/mnt/a', tag='T')
    assert add.keys & RemoveMapping(TWO, paths=('/other/b', '/mnt//a')).keys
    assert add.keys & RemoveMapping(TWO, spellings=('/mnt/a',)).keys
    assert add.keys & RemoveMapping(ONE, tag='t').keys
    # Nexenta calls every volume's file "volume".
    assert not add.keys & AddMapping(ONE, '/other/a').keys
    assert not add.keys & AddMapping(ONE, '/mnt/b').keys
    # d9b9278c… is what a recording shows for this path.
    assert 'd9b9278c-9772-3b1e-ae4e-358002eda5bd' in AddMapping(
        ONE, '/var/lib/pvm/fileio/vios_msp_1').keys


def test_a_mapping_is_found_by_path_or_else_by_tag():
    document = vios_documents.document(vios_documents.entry(
        mapping('/mnt/a', ONE, tag='t1'), mapping('/mnt/b', ONE, tag='t2'),
        mapping('/mnt/c', TWO, 6, tag='t3'), mapping('/mnt/d', lpar_id=7, has_link=False)))
    assert find(document, ONE, ['/mnt//a'], 't2').path == '/mnt/a'
    assert find(document, ONE, ['/mnt/z'], 't2').path == '/mnt/b'
    assert find(document, ONE, ['/mnt/c', '/mnt/d'], 't3') is None
    three = '3' + ONE[1:]
    with pytest.raises(LPARIdNeeded):
        find(document, three, ['/mnt/d'])
    document.lpar_ids[three] = 7
    assert find(document, three, ['/mnt/d']).path == '/mnt/d'


class TestTheOrderOfABatch:
    @staticmethod
    def ordered(*edits):
        items = [types.SimpleNamespace(edit=edit) for edit in edits]
        return [items.index(item) for item in in_order(items)]

    def test_edits_that_name_a_place_go_before_those_that_leave_it_open(self):
        assert self.ordered(
            AddMapping(ONE, '/m/a'), AddMapping(ONE, '/m/b', slot=3),
            AddMapping(ONE, '/m/c', slot=3, lua='lun1'), AddMapping(ONE, '/m/d', lua='lun1'),
            AddMapping(ONE, '/m/e')) == [2, 1, 3, 0, 4]

    def test_a_place_that_is_removed_is_free_for_the_edit_that_names_it(self):
        assert self.ordered(
            AddMapping(ONE, '/m/a'), RemoveMapping(ONE, paths=('/m/b',)),
            AddMapping(ONE, '/m/c', slot=3, lua='lun1')) == [1, 2, 0]

    def test_edits_of_one_volume_keep_their_order(self):
        assert self.ordered(
            AddMapping(ONE, '/m/a'), RemoveMapping(ONE, paths=('/m/a',)),
            AddMapping(ONE, '/m/a', slot=3, lua='lun1')) == [0, 1, 2]
        assert self.ordered(
            RemoveMapping(ONE, paths=('/m/a',)), AddMapping(ONE, '/m/a')) == [0, 1]


class TestTheSizeOfABus:
    def full(self, make, count=32):
        return make(*(mapping(f'/mnt/{i}', ONE, lua=f'lun{i}') for i in range(count)))

    @pytest.mark.parametrize('limit', [32, 33, 1000])
    def test_no_address_that_a_client_does_not_scan_is_chosen(self, make, limit):
        assert AddMapping(ONE, '/mnt/a', max_per_bus=limit).apply(self.full(make)).makes_adapters

    def test_a_full_bus_in_a_slot_asked_for_is_refused(self, make):
        with pytest.raises(exceptions.SlotOrLUAConflict, match='has 32 disks'):
            AddMapping(ONE, '/mnt/a', slot=3).apply(self.full(make))
        assert AddMapping(ONE, '/mnt/a', slot=3, max_per_bus=8).apply(
            self.full(make, 31)).outcome is Outcome.CHANGED

    def test_a_lua_asked_for_may_be_higher(self, make):
        doc = self.full(make)
        assert not AddMapping(ONE, '/mnt/a', slot=3, lua='lun40').apply(doc).makes_adapters

    def test_disks_without_link_count(self, make):
        doc = make(mapping('/mnt/0', ONE), *(
            mapping(f'/mnt/{i}', lpar_id=5, has_link=False, lua=f'lun{i}') for i in range(1, 32)))
        assert AddMapping(ONE, '/mnt/a').apply(doc).makes_adapters
        with pytest.raises(exceptions.SlotOrLUAConflict, match='/mnt/5'):
            AddMapping(ONE, '/mnt/b', slot=3, lua='LUN5').apply(doc)


def test_a_tag_that_two_files_have_is_an_error_that_names_them(make):
    doc = make(mapping('/mnt/a', ONE, tag='t'), mapping('/mnt/b', ONE, tag='t'))
    for known in ({}, {'spellings': ('/mnt/a',)}):
        with pytest.raises(exceptions.MappingFailed, match='/mnt/a and /mnt/b'):
            RemoveMapping(ONE, tag='t', **known).apply(doc)
    assert not doc.is_edited
    change = RemoveMapping(ONE, tag='t', spellings=('/mnt/a', '/mnt/b')).apply(doc)
    assert len(change.records) == 2


def test_blanks_that_xml_does_not_know_belong_to_the_name(make):
    doc = make(mapping('/mnt/a\u3000', TWO, 6))
    assert AddMapping(ONE, '/mnt/a').apply(doc).outcome is Outcome.CHANGED
