# SPDX-License-Identifier: Apache-2.0
"""Documents: what they show, and that edits leave everything else as it was."""


import hypothesis
import pytest
from hypothesis import strategies as st
from pypowervm.tasks import scsi_mapper
from pypowervm.wrappers import storage

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.mappings.record import MappingRecord
from powervm_fileio_connector.mappings.record import normalised
from powervm_fileio_connector.mappings.record import record_of
from powervm_fileio_connector.mappings.splitting import MappingSplitter
from tests import effort
from tests.unit.mappings import vios_documents
from tests.unit.mappings.vios_documents import ONE
from tests.unit.mappings.vios_documents import TWO
from tests.unit.mappings.vios_documents import mapping

RECORDINGS = ['fake_vios_hosting_vios_feed.txt', 'fake_vios_mappings.txt', 'fake_vios_ssp_npiv.txt',
              'fake_vios_feed.txt', 'vio_multi_vscsi_mapping.txt']


def test_a_record_says_what_the_recording_shows():
    doc = vios_documents.document(vios_documents.recorded('fake_vios_hosting_vios_feed.txt'))
    first, *others = vios_documents.records(doc)
    assert first == MappingRecord(
        lpar_uuid=None, lpar_id=100, slot=16, server_slot=16, lua='lun1',
        udid='d9b9278c-9772-3b1e-ae4e-358002eda5bd', path='/var/lib/pvm/fileio/vios_msp_1',
        target_name='FILEIO-vios_msp_1', capacity_gb=35.0, kind='file')
    assert [(r.lpar_id, r.slot, r.is_orphan) for r in others] == [
        (100, 16, False), (101, 16, False), (101, None, True), (102, 16, False), (16, 16, False)]


def test_orphans_of_a_recording_are_told_from_the_rest():
    doc = vios_documents.document(vios_documents.recorded('fake_vios_mappings.txt'))
    shown = vios_documents.records(doc)
    assert (sum(r.is_orphan for r in shown), len(shown)) == (18, 28)
    assert {r.kind for r in shown} == {'none', 'optical', 'lv', 'pv'} & {r.kind for r in shown}


@pytest.mark.parametrize('name', RECORDINGS)
def test_both_forms_of_a_recording_show_and_send_the_same(name):
    answer = vios_documents.recorded(name)
    tree, text = (vios_documents.document(answer, form) for form in ('tree', 'text'))
    assert [vios_documents.canonical(one) for one in vios_documents.sent(text)] == [
        vios_documents.canonical(one) for one in vios_documents.sent(tree)]
    for record in vios_documents.records(tree):
        if record.lpar_uuid:
            assert ([s.record for s in text.of_lpar(record.lpar_uuid)]
                    == [s.record for s in tree.of_lpar(record.lpar_uuid)])
        if record.path:
            assert ([s.record for s in text.of_paths([record.path])]
                    == [s.record for s in tree.of_paths([record.path])])
    assert [s.record for s in text.without_link()] == [s.record for s in tree.without_link()]


@pytest.mark.parametrize('name', RECORDINGS)
def test_an_lpar_of_a_recording_gets_the_pair_that_pypowervm_would_choose(name):
    answer = vios_documents.recorded(name)
    uuids = {r.lpar_uuid for r in vios_documents.records(vios_documents.document(answer))
             if r.lpar_uuid}
    for uuid in uuids:
        doc = vios_documents.document(answer, 'text')
        AddMapping(uuid, '/mnt/new').apply(doc)
        vios_w = vios_documents.document(answer).vios_w
        theirs = scsi_mapper.build_vscsi_mapping(
            None, vios_w, uuid, storage.FileIO.bld_ref(vios_w.adapter, '/mnt/new', 'loop'))
        vios_w.scsi_mappings.append(theirs)
        assert (vios_documents.canonical(vios_documents.sent(doc)[-1])
                == vios_documents.canonical(theirs.element.element))


@pytest.mark.parametrize('spoil', [
    lambda text: text.replace('<VirtualSCSIMapping ', '<!-- a --><VirtualSCSIMapping ', 1),
    lambda text: text.replace('/mnt/a', '<![CDATA[</VirtualSCSIMapping>]]>', 1),
    lambda text: text.replace('/mnt/a', '/mnt/a<?a </VirtualSCSIMapping>?>', 1),
    lambda text: f'<!DOCTYPE entry [<!ENTITY a "/mnt/a">]>{text}',
    lambda text: f'<?xml version="1.0" encoding="ISO-8859-1"?>{text}',
    lambda text: text.replace('</PartitionName>', 'VirtualSCSIMappings</PartitionName>', 1),
    lambda text: text.replace('<VirtualSCSIMapping ', 'text<VirtualSCSIMapping ').replace(
        'text', '', 1),
    lambda text: text.replace('</VirtualSCSIMappings>', '<Other/></VirtualSCSIMappings>'),
    lambda text: text.replace('</VirtualSCSIMapping>', '</VirtualSCSIMapping><Other/>', 1),
    lambda text: text.replace('</VirtualSCSIMapping>', '</VirtualSCSIMapping >', 1),
    # As many ends as there are beginnings in the section, but one of them is outside.
    lambda text: text.replace(
        '</VirtualSCSIMappings>', '<VirtualSCSIMapping/></VirtualSCSIMappings>'
        '<Other><VirtualSCSIMapping></VirtualSCSIMapping></Other>'),
    lambda text: text[:text.index('<VirtualSCSIMapping ')],
    lambda text: '',
    lambda text: '<html>VirtualSCSIMappings</html>VirtualSCSIMappings',
])
def test_a_document_that_could_be_mistaken_is_not_cut(spoil):
    class Answer:
        body = spoil(vios_documents.entry(mapping('/mnt/a'), mapping('/mnt/b'))).encode()

    whole, cut = Answer.body, MappingSplitter()
    cut(Answer)
    assert cut.mappings is None
    assert Answer.body == whole


def test_prefixes_do_not_matter():
    answer = vios_documents.entry(mapping('/mnt/a'), mapping('/mnt/b'))
    head, _, tail = answer.partition('<VirtualSCSIMappings')
    tail = tail.replace('</', '</VirtualIOServer:').replace(
        'VirtualIOServer:VirtualIOServer:', 'VirtualIOServer:')
    inside, _, end = tail.partition('</VirtualIOServer:VirtualSCSIMappings>')
    inside = inside.replace('<', '<VirtualIOServer:').replace(
        '<VirtualIOServer:/VirtualIOServer:', '</VirtualIOServer:')
    prefixed = (f'{head}<VirtualIOServer:VirtualSCSIMappings{inside}'
                f'</VirtualIOServer:VirtualSCSIMappings>'
                + end.replace('</VirtualIOServer:content', '</content').replace(
                    '</VirtualIOServer:entry', '</entry'))
    doc = vios_documents.document(prefixed, 'text')
    assert [s.record.path for s in doc.of_paths(['/mnt/b'])] == ['/mnt/b']
    RemoveMapping(ONE, paths=('/mnt/a',)).apply(doc)
    AddMapping(ONE, '/mnt/c').apply(doc)
    assert [record_of(one).path for one in vios_documents.sent(doc)] == ['/mnt/b', '/mnt/c']


@pytest.mark.parametrize('written', ['&#97;&#x2f;b', 'a&#47;b', 'a/&#98;'])
def test_a_path_written_by_character_numbers_is_found(written):
    answer = vios_documents.entry(mapping('/mnt/PATH')).replace('PATH', written)
    doc = vios_documents.document(answer, 'text')
    assert AddMapping(ONE, '/mnt/a/b').apply(doc).records


paths = st.sampled_from(['/m/a', '/m//a', '/m/b', '/m/./b', '/m/c/', '/m/x/../c', '/m/d&<é>'])
mappings = st.builds(
    mapping, path=st.one_of(st.none(), paths), lpar=st.sampled_from([ONE, TWO]),
    lpar_id=st.sampled_from([5, 6]), slot=st.integers(2, 4), server_slot=st.integers(10, 12),
    lua=st.sampled_from(['lun1', 'lun2', 'lun3', None]), tag=st.sampled_from([None, 't1', 't2']),
    kind=st.sampled_from(['File', 'LogicalVolume']), has_link=st.booleans(),
    has_client=st.booleans(), remote_slot=st.sampled_from([None, 65535]))
edits = st.one_of(
    st.builds(AddMapping, lpar_uuid=st.sampled_from([ONE, TWO]), path=paths,
              slot=st.sampled_from([None, 2, 5]), lua=st.sampled_from([None, 'lun1']),
              multiattach=st.booleans(), max_per_bus=st.integers(1, 3)),
    st.builds(RemoveMapping, lpar_uuid=st.sampled_from([ONE, TWO]),
              paths=st.lists(paths, max_size=2).map(tuple), tag=st.sampled_from([None, 't1']),
              udid=st.sampled_from([None, 'udid-of-/m/a'])))


@hypothesis.given(shown=st.lists(mappings, min_size=1, max_size=8),
                  todo=st.lists(edits, min_size=1, max_size=5))
@hypothesis.settings(max_examples=effort.of(40, 150))
def test_edits_leave_every_other_mapping_byte_for_byte_and_in_order(shown, todo):
    answer = vios_documents.entry(*shown)
    forms = [vios_documents.document(answer, form) for form in ('tree', 'text')]
    original = [vios_documents.canonical(one) for one in vios_documents.sent(forms[0])]
    for doc in forms:
        doc.lpar_ids.update({ONE: 5, TWO: 6})
    for edit in todo:
        before = [vios_documents.canonical(one) for one in vios_documents.sent(forms[0])]
        outcomes = [_applied(edit, doc) for doc in forms]
        assert outcomes[0] == outcomes[1]
        after = [vios_documents.canonical(one) for one in vios_documents.sent(forms[0])]
        _check_only(edit, before, after, outcomes[0])
    remaining = [vios_documents.canonical(one) for one in vios_documents.sent(forms[1])]
    kept = [one for one in remaining if one in original]
    it = iter(original)
    assert all(one in it for one in kept), 'the order has changed'
    text = forms[1].body().decode()
    for one in shown:
        # The very text, where the mapping is still there.
        if vios_documents.canonical(vios_documents.sent(vios_documents.document(
                vios_documents.entry(one)))[0]) in kept:
            assert one in text


def _applied(edit, doc):
    try:
        change = edit.apply(doc)
    except exceptions.FileIOConnectorError as err:
        return type(err).__name__
    return change.outcome.name, change.records


def _check_only(edit, before, after, outcome):
    """No change changed nothing; a removal only removed; an addition added one."""
    if outcome[0] != 'CHANGED':
        assert after == before
    elif isinstance(edit, RemoveMapping):
        assert len(before) - len(after) == len(outcome[1])
        assert all(one in before for one in after)
        for record in outcome[1]:
            assert record.kind == 'file'
            assert not record.is_wild_card
            owner = record.lpar_uuid or {5: ONE, 6: TWO}[record.lpar_id]
            assert record.is_orphan or owner == edit.lpar_uuid
    else:
        assert all(one in before for one in after[:-1])


@hypothesis.given(st.text(alphabet='/.ab', min_size=1).map(lambda text: f'/{text}'))
def test_a_normalised_path_stays_what_it_is(path):
    assert normalised(normalised(path)) == normalised(path)
    assert not normalised(path).startswith('//')


@pytest.mark.parametrize('capacity', ['unknown', '1,5', '', 'nan', '-1'])
def test_a_capacity_that_is_no_number_is_unknown(capacity):
    text = vios_documents.mapping().replace('>1</DiskCapacity>', f'>{capacity}</DiskCapacity>')
    doc = vios_documents.document(vios_documents.entry(text), 'tree')
    [shown] = doc.of_paths(['/mnt/a'])
    assert shown.record.capacity_gb is None


def test_a_disk_is_larger_only_by_more_than_rounding():
    record = MappingRecord(capacity_gb=1.410669)
    assert not record.is_larger_than(round(1.410669 * 2**30))
    assert not MappingRecord().is_larger_than(0)
    assert MappingRecord(capacity_gb=3.0).is_larger_than(1 << 30)
