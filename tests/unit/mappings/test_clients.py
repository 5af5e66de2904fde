# SPDX-License-Identifier: Apache-2.0
"""Whose a mapping is, and that one which somebody uses is never removed."""

import dataclasses

import pytest

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import LPARIdNeeded
from powervm_fileio_connector.mappings import LPARsNeeded
from powervm_fileio_connector.mappings import NotConfirmed
from powervm_fileio_connector.mappings import OrphanState
from powervm_fileio_connector.mappings import Outcome
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.mappings import RemoveOrphans
from powervm_fileio_connector.mappings import orphan_state
from powervm_fileio_connector.mappings.orphans import incomplete_list
from powervm_fileio_connector.mappings.record import MappingRecord
from tests.unit.mappings import vios_documents
from tests.unit.mappings.vios_documents import ONE
from tests.unit.mappings.vios_documents import TWO
from tests.unit.mappings.vios_documents import mapping

THREE = '33333333-0000-4000-8000-00000000CCCC'


@pytest.fixture(params=['tree', 'text'])
def make(request):
    """Make a table of some mappings."""
    def make_table(*mappings):
        return vios_documents.document(vios_documents.entry(*mappings), request.param)
    return make_table


def incomplete(path='/mnt/a', lpar=TWO, **fields):
    """A mapping that links to its LPAR, but has no client adapter."""
    return mapping(path, lpar, 6, has_client=False, **fields)


def of_vios(path='/mnt/a', **fields):
    return incomplete(path, **fields).replace('LogicalPartition/', 'VirtualIOServer/')


def without_client(path='/mnt/a', lpar_id=6, **fields):
    return mapping(path, lpar_id=lpar_id, has_link=False, has_client=False, **fields)


def paths(table):
    return [entry.record.path for entry in table.entries()]


class TestAMappingThatIsBeingMade:
    def test_refuses_another_lpar(self, make):
        table = make(incomplete())
        table.lpar_ids[TWO] = 6
        with pytest.raises(exceptions.VolumeInUse, match=f'being mapped to LPAR {TWO}'):
            AddMapping(ONE, '/mnt/a').apply(table)
        assert not table.is_edited

    def test_refuses_another_lpar_for_a_lookalike(self, make):
        table = make(incomplete('/mnt/b'))
        table.lpar_ids[TWO] = 6
        with pytest.raises(exceptions.VolumeInUse):
            AddMapping(ONE, '/mnt/a', lookalikes=frozenset({'/mnt/b'})).apply(table)

    @pytest.mark.parametrize('edit', [AddMapping(ONE, '/mnt/a', multiattach=True),
                                      RemoveMapping(ONE, paths=('/mnt/a',))])
    def test_is_never_removed(self, make, edit):
        table = make(incomplete(), mapping('/mnt/b', ONE))
        table.lpar_ids[TWO] = 6
        edit.apply(table)
        assert '/mnt/a' in paths(table)

    @pytest.mark.parametrize('edit', [AddMapping(ONE, '/mnt/a'),
                                      RemoveMapping(ONE, paths=('/mnt/a',))])
    def test_is_one_until_it_is_known_that_its_lpar_is_gone(self, make, edit):
        table = make(incomplete())
        with pytest.raises(LPARIdNeeded) as caught:
            edit.apply(table)
        assert caught.value.lpar_uuid == TWO
        assert not table.is_edited
        table.lpar_ids[TWO] = None
        edit.apply(table)
        assert len(paths(table)) == isinstance(edit, AddMapping)

    def test_needs_no_question_where_its_lpar_has_another_mapping(self, make):
        table = make(incomplete(), mapping('/mnt/b', TWO, 6))
        assert RemoveMapping(ONE, paths=('/mnt/a',)).apply(table).outcome is Outcome.UNCHANGED

    def test_for_an_io_server_is_never_removed(self, make):
        table = make(of_vios())
        with pytest.raises(exceptions.VolumeInUse):
            AddMapping(ONE, '/mnt/a').apply(table)
        assert RemoveMapping(ONE, paths=('/mnt/a',)).apply(table).outcome is Outcome.UNCHANGED

    def test_for_the_lpar_itself_is_replaced_or_removed(self, make):
        table = make(incomplete(lpar=ONE))
        edit = AddMapping(ONE, '/mnt/a')
        change = edit.apply(table)
        assert len(paths(table)) == 1
        with pytest.raises(NotConfirmed):
            edit.result(make(incomplete(lpar=ONE)), change)
        table = make(incomplete(lpar=ONE))
        assert len(RemoveMapping(ONE, paths=('/mnt/a',)).apply(table).records) == 1


class TestLeftOverMappingsOfAFileThatAnIdTells:
    """Where no link is shown, another volume's mapping that is just being made passes for one."""

    @pytest.mark.parametrize(('edit', 'left'), [
        (RemoveMapping(ONE, tag='one'), ['/mnt/a']),
        (RemoveMapping(ONE, ('/mnt/gone',), tag='one'), ['/mnt/a']),
        (RemoveMapping(ONE, udid='udid-of-/mnt/a', tag='one'), ['/mnt/a']),
        (RemoveMapping(ONE, ('/mnt/a',), tag='one'), []),
        (RemoveMapping(ONE, ('/mnt/gone',), ('/mnt/a',), tag='one'), [])])
    def test_stay_if_tagged_as_another_volume_unless_the_path_is_told(self, make, edit, left):
        table = make(mapping('/mnt/a', ONE, 5, tag='one'), without_client(tag='two'))
        edit.apply(table)
        assert paths(table) == left

    @pytest.mark.parametrize('tag', [None, 'one'])
    def test_are_removed_if_nothing_tells_that_they_are_of_another_volume(self, make, tag):
        table = make(mapping('/mnt/a', ONE, 5, tag='one'), without_client(tag=tag))
        RemoveMapping(ONE, tag='one').apply(table)
        assert paths(table) == []


class TestReusedIds:
    def test_the_mapping_of_the_lpar_that_has_the_id_now_is_not_ours(self, make):
        # ONE had id 5, was deleted and made again with id 7; TWO got 5.
        table = make(mapping('/mnt/a', lpar_id=5, has_link=False), mapping('/mnt/b', TWO, 5),
                     mapping('/mnt/c', ONE, 7))
        with pytest.raises(exceptions.VolumeInUse):
            AddMapping(ONE, '/mnt/a').apply(table)
        assert RemoveMapping(ONE, paths=('/mnt/a',)).apply(table).outcome is Outcome.UNCHANGED

    def test_the_id_in_an_orphan_is_not_that_of_its_lpar(self, make):
        table = make(mapping('/mnt/a', lpar_id=5, has_link=False),
                     mapping('/mnt/b', ONE, 5, has_client=False))
        with pytest.raises(LPARIdNeeded):
            RemoveMapping(ONE, paths=('/mnt/a',)).apply(table)

    @pytest.mark.parametrize('href', ['LogicalPartition/', 'LogicalPartition/none', ''])
    def test_a_link_without_uuid_is_no_link(self, make, href):
        table = make(mapping('/mnt/a', ONE, 5).replace(f'LogicalPartition/{ONE}', href),
                     mapping('/mnt/b', ONE, 5))
        assert len(RemoveMapping(ONE, paths=('/mnt/a',)).apply(table).records) == 1

    @pytest.mark.parametrize('spell', [str.lower, str.upper, str.swapcase, str.title])
    def test_uuids_are_compared_without_case(self, make, spell):
        table = make(mapping('/mnt/a', spell(ONE), 5), mapping('/mnt/c', lpar_id=5, has_link=False))
        assert len(RemoveMapping(ONE.title(), paths=('/mnt/a',)).apply(table).records) == 1
        table = make(mapping('/mnt/a', spell(ONE), 5), mapping('/mnt/c', lpar_id=5, has_link=False))
        assert len(RemoveMapping(ONE, paths=('/mnt/c',)).apply(table).records) == 1


class TestRemovingOrphans:
    def test_the_lpars_are_asked_for_with_the_table(self, make):
        table = make(without_client())
        orphans = tuple(vios_documents.records(table))
        with pytest.raises(LPARsNeeded):
            RemoveOrphans(orphans).apply(table)
        table.lpars = {ONE: 5}
        assert RemoveOrphans(orphans).apply(table).records == orphans
        assert paths(table) == []

    @pytest.mark.parametrize(('text', 'state'), [
        (mapping(), OrphanState.HAS_CLIENT),
        (mapping(has_client=False, has_link=False, remote_slot=65535), OrphanState.HAS_CLIENT),
        (incomplete(lpar=ONE), OrphanState.IN_USE), (incomplete(lpar=THREE), OrphanState.GONE),
        (without_client(lpar_id=5), OrphanState.DOUBTFUL), (of_vios(), OrphanState.DOUBTFUL),
        (without_client(lpar_id=9), OrphanState.GONE)])
    def test_only_those_whose_client_is_gone_are_removed_unasked(self, make, text, state):
        table = make(text, mapping('/mnt/b', TWO, 6))
        record = next(one for one in vios_documents.records(table) if one.path == '/mnt/a')
        table.lpars, table.lpar_ids = {ONE: 5, TWO: 6}, {THREE: None}
        assert orphan_state(record, table.lpars) is state
        removed = RemoveOrphans((record,)).apply(table).records
        assert removed == ((record,) if state is OrphanState.GONE else ())

    @pytest.mark.parametrize(('lpar_id', 'is_removed'), [(7, False), (None, True)])
    def test_an_lpar_that_the_list_leaves_out_is_asked_for(self, make, lpar_id, is_removed):
        table = make(incomplete(lpar=THREE))
        table.lpars = {ONE: 5}
        edit = RemoveOrphans(tuple(vios_documents.records(table)))
        with pytest.raises(LPARIdNeeded) as need:
            edit.apply(table)
        table.lpar_ids[need.value.lpar_uuid] = lpar_id
        assert bool(edit.apply(table).records) == is_removed

    @pytest.mark.parametrize(('text', 'is_removed'), [
        (without_client(lpar_id=5), True), (of_vios(), True), (incomplete(lpar=ONE), False),
        (mapping(), False)])
    def test_doubtful_ones_are_removed_once_agreed_to(self, make, text, is_removed):
        table = make(text)
        table.lpars = {ONE: 5}
        agreed = tuple(vios_documents.records(table))
        assert bool(RemoveOrphans((), agreed).apply(table).records) == is_removed

    def test_an_orphan_that_has_become_doubtful_since_it_was_shown_stays(self, make):
        table = make(without_client(lpar_id=7))
        table.lpars = {ONE: 5, THREE: 7}
        change = RemoveOrphans(tuple(vios_documents.records(table))).apply(table)
        assert change.outcome is Outcome.UNCHANGED

    def test_a_mapping_that_is_another_one_now_stays(self, make):
        table = make(without_client(lpar_id=9))
        table.lpars = {ONE: 5}
        [shown] = vios_documents.records(table)
        assert RemoveOrphans((dataclasses.replace(shown, tag='t'),)).apply(table).records == ()

    @pytest.mark.parametrize('lpars', [{}, {THREE: 8}])
    def test_an_incomplete_list_of_lpars_is_refused(self, make, lpars):
        table = make(without_client(lpar_id=9), mapping('/mnt/b', TWO, 6))
        table.lpars = lpars
        with pytest.raises(exceptions.MappingFailed, match='which LPARs are gone'):
            RemoveOrphans(tuple(vios_documents.records(table))).apply(table)
        assert not table.is_edited

    def test_an_io_server_as_client_does_not_make_the_list_incomplete(self, make):
        table = make(without_client(lpar_id=9), mapping('/mnt/b', TWO).replace(
            'LogicalPartition/', 'VirtualIOServer/'))
        table.lpars = {ONE: 5}
        assert len(RemoveOrphans(tuple(vios_documents.records(table))).apply(table).records) == 1

    def test_one_that_is_still_shown_is_not_removed(self, make):
        table = make(without_client())
        table.lpars = {ONE: 5}
        edit = RemoveOrphans(tuple(vios_documents.records(table)))
        change = edit.apply(table)
        assert edit.result(make(mapping('/mnt/b')), change) == change.records
        with pytest.raises(NotConfirmed, match='still shows the orphan'):
            edit.result(make(without_client()), change)


def test_a_mapping_with_client_tells_its_lpar_and_a_wild_card_none(make):
    table = vios_documents.document(vios_documents.entry(mapping(), of_vios('/mnt/b')))
    assert [(one.lpar_uuid, one.is_vios_client) for one in vios_documents.records(table)] == [
        (ONE, False), (TWO, True)]


def test_an_lpar_is_unlisted_by_its_id_where_its_mappings_have_no_link():
    record = MappingRecord(slot=2, lpar_id=7, path='/mnt/a', kind='file')
    assert incomplete_list([record], {ONE: 7}) is None
    assert 'LPAR with id 7' in incomplete_list([record], {ONE: 5})
