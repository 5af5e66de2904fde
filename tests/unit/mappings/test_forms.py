# SPDX-License-Identifier: Apache-2.0
"""Whatever form of XML a document has, it shows the same mappings, and others go back unchanged."""

import re

import hypothesis
import pytest
from hypothesis import strategies as st
from lxml import etree

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import LPARIdNeeded
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.mappings.record import record_of
from tests import effort
from tests.unit.mappings import vios_documents
from tests.unit.mappings.vios_documents import ONE
from tests.unit.mappings.vios_documents import TWO
from tests.unit.mappings.vios_documents import mapping

LINK = f'<AssociatedLogicalPartition href="http://h/LogicalPartition/{TWO}" rel="related"/>'
PATHS = ['/m/a', '/m/b', '/m/d&<é>', '/m/日本', '/m//c/', '/m/x/../a', '/m/a b']
TAGS = [None, 't', 'AssociatedLogicalPartition', f'DiskLabel>/m/a<{ONE}', 'VirtualSCSIMappings',
        '</VirtualSCSIMapping>', f'/m/a {LINK}', 'wow!', 'why?', 'no #1', '/>/>']


def numbered(text):
    return ''.join(f'&#x{ord(char):x};' for char in text)


def in_text(name, change):
    """A form in which the text of an element is written in another way."""
    return lambda text: re.sub(rf'(<{name}[^<]*?>)([^<]+)(?=</{name}>)',
                               lambda found: found[1] + change(found[2]), text, count=1)


def before(name, what):
    return lambda text: text.replace(f'<{name}', f'{what}<{name}', 1)


def prefixed(text):
    text = re.sub(r'<(/?)(?=[A-Z])', r'<\1p:', text)
    return text.replace('<p:VirtualSCSIMapping', f'<p:VirtualSCSIMapping xmlns:p="{UOM}"', 1)


UOM = vios_documents.UOM
FORMS = [
    lambda text: text,
    # In the link.
    lambda text: text.replace(ONE, ONE.lower()).replace(TWO, TWO.swapcase()),
    lambda text: text.replace(f'LogicalPartition/{ONE}', 'LogicalPartition/'),
    lambda text: text.replace(f'LogicalPartition/{ONE}', 'LogicalPartition/x'),
    lambda text: text.replace(f'LogicalPartition/{ONE}', f'ManagedSystem/{TWO}/x/{ONE}?a>b'),
    lambda text: text.replace(ONE, numbered(ONE[:3]) + ONE[3:]),
    lambda text: text.replace('href="', 'b=\'x/y\' href = "'),
    lambda text: text.replace('rel="related"/>', 'rel="related"></AssociatedLogicalPartition>'),
    lambda text: text.replace('<AssociatedLogicalPartition ',
                              '<AssociatedLogicalPartition xmlns="urn:other" '),
    lambda text: text.replace('<AssociatedLogicalPartition ', '<AssociatedLogicalPartitionX '),
    lambda text: text.replace('<AssociatedLogicalPartition ',
                              '<AssociatedLogicalPartition a="AssociatedLogicalPartition" '),
    # Elsewhere in the mapping.
    lambda text: text.replace('<ServerAdapter kb="CUR">', f'<ServerAdapter kb="CUR">{LINK}'),
    lambda text: text.replace('<VirtualSCSIMapping schemaVersion="V1_3_0">',
                              f'<VirtualSCSIMapping schemaVersion="V1_3_0"><Metadata><Atom a="/>"/>'
                              f'<Atom>{LINK}</Atom></Metadata>'),
    lambda text: text.replace('<VirtualSCSIMapping ', '<VirtualSCSIMapping\n b="x>y" ', 1),
    lambda text: text.replace('<DiskLabel ', '<DiskLabel a="/m/b>" '),
    lambda text: text.replace('</DiskLabel>', '</DiskLabel\n>'),
    in_text('LocalPartitionID', numbered), in_text('LocalPartitionID', '\n 0{}\n'.format),
    prefixed,
    in_text('DiskLabel', numbered),
    in_text('DiskLabel', lambda path: f'\n {path}\t'),
    in_text('DiskLabel', lambda path: path.replace('&', '&#38;').replace('a', '&#x61;')),
    in_text('DiskLabel', lambda path: f'<![CDATA[{path.replace("&lt;", "<")}]]>'),
    in_text('DiskLabel', lambda path: f'{path[:3]}<!-- /m/b -->{path[3:]}'),
    in_text('DiskLabel', lambda path: f'{path[:2]}<?pi </DiskLabel>?>{path[2:]}'),
    in_text('VirtualDiskType', lambda kind: f'{kind[:2]}<?a?>{kind[2:]}'),
    before('Storage', '<?pi data?>'), before('VirtualDisk', '<!-- a -->'),
    before('ServerAdapter', f'<?pi {LINK}?>'), before('ClientAdapter', f'<!-- {LINK} -->'),
    before('TargetDevice', '<?pi </VirtualSCSIMapping><VirtualSCSIMapping>?>'),
    before('LogicalVolumeVirtualTargetDevice', '<?pi?>'),
    before('VirtualDisk', '<Metadata><Atom/></Metadata>'),
    before('VirtualDisk', '<x:New xmlns:x="urn:x"><DiskLabel>/m/b</DiskLabel></x:New>'),
    before('LogicalVolumeVirtualTargetDevice', '<Metadata/><x:New xmlns:x="urn:x"/>'),
    before('LocalPartitionID', '<?pi?>'), before('TargetDevice', '\r\n'),
]
DOCUMENTS = [
    lambda text: text,
    lambda text: text.replace('schemaVersion="V1_3_0">\n<Metadata><Atom/></Metadata>',
                              'schemaVersion="V1_3_0">', 1),
    lambda text: text.replace('<VirtualSCSIMappings ', '<?pi?><VirtualSCSIMappings '),
    lambda text: text.replace('</VirtualSCSIMappings>', '\n<!-- end --></VirtualSCSIMappings>'),
    lambda text: text.replace('novalink</', 'nova<![CDATA[!]]>link</'),
    lambda text: f'<?pi data?>{text}',
]


@st.composite
def shown(draw):
    text = mapping(
        draw(st.sampled_from([*PATHS, None])), draw(st.sampled_from([ONE, TWO])),
        draw(st.sampled_from([5, 6])), slot=draw(st.integers(2, 4)),
        server_slot=draw(st.integers(10, 12)), lua=draw(st.sampled_from(['lun1', 'lun2', None])),
        tag=draw(st.sampled_from(TAGS)), kind=draw(st.sampled_from(['File', 'LogicalVolume'])),
        has_link=draw(st.booleans()), has_client=draw(st.sampled_from([True, True, False])),
        remote_slot=draw(st.sampled_from([None, 65535])))
    for change in draw(st.lists(st.sampled_from(FORMS), max_size=2)):
        text = change(text) if is_well_formed(change(text)) else text
    return text


def is_well_formed(text):
    try:
        return etree.fromstring(text) is not None
    except etree.XMLSyntaxError:
        return False


documents = st.builds(lambda change, mappings: change(vios_documents.entry(*mappings)),
                      st.sampled_from(DOCUMENTS), st.lists(shown(), min_size=1, max_size=5))
edits = st.one_of(
    st.builds(AddMapping, lpar_uuid=st.sampled_from([ONE, TWO]), path=st.sampled_from(PATHS),
              lookalikes=st.frozensets(st.sampled_from(PATHS), max_size=1),
              slot=st.sampled_from([None, 2, 5]), lua=st.sampled_from([None, 'lun1']),
              multiattach=st.booleans(), max_per_bus=st.integers(1, 3)),
    st.builds(RemoveMapping, lpar_uuid=st.sampled_from([ONE, TWO]),
              paths=st.lists(st.sampled_from(PATHS), max_size=2).map(tuple),
              tag=st.sampled_from(TAGS), udid=st.sampled_from([None, 'UDID-of-/m/a'])))


def both(answer):
    """The table of an answer, split wherever that may be, and parsed as a whole."""
    return [vios_documents.document(answer, form) for form in ('split', 'tree')]


@hypothesis.given(answer=documents)
@hypothesis.settings(max_examples=effort.of(60, 300))
def test_a_table_shows_the_same_however_it_is_kept(answer):
    assert_same(answer)


@pytest.mark.parametrize('form', FORMS)
def test_a_table_shows_each_form_the_same_however_it_is_kept(form):
    for change in DOCUMENTS:
        assert_same(change(vios_documents.entry(form(mapping('/m/a')), mapping('/m/b', TWO, 6))))


def assert_same(answer):
    split, whole = both(answer)
    everything = [entry.record for entry in whole.entries()]
    assert [entry.record for entry in split.entries()] == everything
    split, _ = both(answer)
    for _ in range(2):       # by a scan of all mappings, then by their index
        for path in (*PATHS, '/m/c'):
            assert ([entry.record for entry in split.of_paths([path])]
                    == [entry.record for entry in whole.of_paths([path])])
    for uuid in (ONE, TWO.lower()):
        assert [entry.record for entry in split.of_lpar(uuid)] == [
            one for one in everything if one.lpar_uuid == uuid.upper()]
    for lpar_id in (None, 5, 6):
        assert ([entry.record for entry in split.without_link(lpar_id)]
                == [entry.record for entry in whole.without_link(lpar_id)])
    for tag in filter(None, TAGS):
        assert {entry.record for entry in whole.entries() if entry.record.tag == tag} <= {
            entry.record for entry in split.containing(tag)}


@hypothesis.given(answer=documents, todo=st.lists(edits, min_size=1, max_size=4))
@hypothesis.settings(max_examples=effort.of(60, 300))
def test_the_mappings_of_others_go_back_unchanged(answer, todo):
    tables = both(answer)
    original = c14n(mappings_of(etree.fromstring(answer.encode())))
    for table in tables:
        table.lpar_ids.update({ONE: 5, TWO: 6})
    for edit in todo:
        outcomes = [outcome_of(edit, table) for table in tables]
        assert outcomes[0] == outcomes[1]
    for table in tables:
        root = etree.fromstring(table.body())
        places = [entry.place for entry in table.entries() if entry not in table.added]
        sent = mappings_of(root)
        assert c14n(sent[:len(places)]) == [original[place] for place in places]
        assert [record_of(one) for one in sent] == [entry.record for entry in table.entries()]


def outcome_of(edit, table):
    try:
        change = edit.apply(table)
    except (exceptions.FileIOConnectorError, LPARIdNeeded) as err:
        return type(err)
    return change.outcome, change.records


def mappings_of(root):
    return root.findall(f'.//{{{UOM}}}VirtualSCSIMappings/{{{UOM}}}VirtualSCSIMapping')


def c14n(elements):
    return [etree.tostring(one, method='c14n2', with_tail=False, strip_text=False,
                           exclusive=True) for one in elements]


@pytest.mark.parametrize('change', FORMS)
def test_a_detach_finds_its_own_mapping_in_each_form(change):
    text = change(mapping('/m/a', ONE, 5))
    for table in both(vios_documents.entry(text, mapping('/m/b', TWO, 6))):
        table.lpar_ids[ONE] = 5
        [record] = RemoveMapping(ONE, paths=('/m/a',)).apply(table).records
        assert record.lua == 'lun1'
        assert len(mappings_of(etree.fromstring(table.body()))) == 1
