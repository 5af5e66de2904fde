# SPDX-License-Identifier: Apache-2.0
"""What is served is held against what was recorded from real systems."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request

import pytest
from lxml import etree
from pypowervm import const
from pypowervm.tasks import scsi_mapper
from pypowervm.tests.test_utils import pvmhttp
from pypowervm.wrappers import base_partition
from pypowervm.wrappers import entry_wrapper
from pypowervm.wrappers import logical_partition
from pypowervm.wrappers import managed_system
from pypowervm.wrappers import storage
from pypowervm.wrappers import virtual_io_server as vios

from powervm_fileio_connector.simulator import NovaLinkSimulator
from powervm_fileio_connector.simulator import recordings
from powervm_fileio_connector.simulator.posted import canonical

WRAPPERS = {'VirtualIOServer': vios.VIOS, 'LogicalPartition': logical_partition.LPAR,
            'ManagedSystem': managed_system.System}


def catalogue():
    """Every recording by name: what it has, or why it can't be a starting state."""
    found = {}
    for path in sorted(recordings.directory().iterdir()):
        try:
            types = [one.type for one in recordings.read(path)]
        except (ValueError, UnicodeDecodeError) as err:
            found[path.name] = f'cannot be loaded: {err}'
        else:
            found[path.name] = ', '.join(
                f'{types.count(one)} {one}' for one in recordings.TYPES if one in types)
    return found


CATALOGUE = catalogue()
LOADABLE = [name for name, what in CATALOGUE.items() if not what.startswith('cannot')]

# Properties that must differ, and why.
DIFFERENCES = {
    'href': 'the address names this server',
    'related_href': 'the address names this server',
    'etag': 'the etag is issued by this server',
    'entry': 'holds the address and the etag',
    'adapter': 'belongs to the client',
    'traits': 'belong to the client',
}


def recorded(name):
    """The recorded wrappers of a file, by UUID of their entry."""
    response = pvmhttp.load_pvm_resp(name).get_response()
    entries = response.feed.entries if response.feed else [response.entry]
    return {entry.uuid: WRAPPERS[entry.element.tag].wrap(entry) for entry in entries
            if entry.element.tag in WRAPPERS}


def plain(value):
    """A property's value as something that compares by content."""
    if isinstance(value, entry_wrapper.Wrapper):
        return value.element.element.tag, canonical(etree.fromstring(value.toxmlstring()))
    if isinstance(value, list | tuple | set | entry_wrapper.WrapperElemList
                  | entry_wrapper.ActionableList):
        return [plain(one) for one in value]
    if isinstance(value, base_partition.IOSlot.AssociatedIOSlot):
        return plain(value.element)
    return re.sub(r' object at 0x[0-9a-f]+', '', repr(value))


def properties(wrapper):
    """Every property that pypowervm knows of a wrapper."""
    names = {name for cls in type(wrapper).__mro__ for name, member in vars(cls).items()
             if isinstance(member, property)}
    for name in sorted(names - set(DIFFERENCES)):
        try:
            yield name, plain(getattr(wrapper, name))
        # Some getters fail on what was recorded: then they must fail on both.
        except (AttributeError, KeyError, TypeError, ValueError) as err:
            yield name, f'raises {type(err).__name__}'


def test_every_recording_with_a_partition_or_a_machine_is_loaded():
    for name, what in CATALOGUE.items():
        text = (recordings.directory() / name).read_text()
        has_one = re.search(r'<content[^>]*>\s*<(VirtualIOServer|LogicalPartition|ManagedSystem):',
                            text)
        assert bool(has_one) == (name in LOADABLE), (name, what)
        if name not in LOADABLE:
            assert 'expected one of VirtualIOServer' in what
    assert len(LOADABLE) == 17


@pytest.mark.parametrize('name', LOADABLE)
def test_served_documents_equal_the_recording(name):
    with NovaLinkSimulator(recording=name) as sim:
        adapter = sim.adapter()
        for uuid, before in recorded(name).items():
            response = adapter.read(before.schema_type, uuid, xag=[])
            after = type(before).wrap(response)
            # Element by element: names, attributes, order and values.
            assert canonical(etree.fromstring(after.toxmlstring())) == canonical(
                etree.fromstring(before.toxmlstring()))
            assert dict(properties(after)) == dict(properties(before))
            assert response.entry.properties['title'] == before.entry.properties['title']


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    """The report of a qualification, as a path: what the simulator is to start from."""
    command = shutil.which('powervm-fileio', path=os.path.dirname(sys.executable))
    path = tmp_path_factory.mktemp('report') / 'report.json'
    with (NovaLinkSimulator(lpars=2, mappings=6) as sim,
          tempfile.TemporaryDirectory(dir='/dev/shm') as directory):
        subprocess.run([command, 'qualify', '--simulator', sim.url, '--lpar', 'lpar1',
                        '--directory', directory, '--yes', '--report', path], check=True,
                       capture_output=True)
    return path


def test_a_report_of_a_qualification_is_served_as_it_was_reported(report):
    documents = json.loads(report.read_text())['documents']
    with NovaLinkSimulator(recording=str(report)) as sim:
        adapter = sim.adapter()
        for before, path in zip(documents, (
                'ManagedSystem', 'VirtualIOServer?group=ViosSCSIMapping', 'LogicalPartition'),
                strict=True):
            request = urllib.request.Request(f'{sim.url}/rest/api/uom/{path}', headers={
                'X-API-Session': adapter.session._sessToken,
                'Accept': 'application/atom+xml'})
            with urllib.request.urlopen(request) as answer:
                after = answer.read()
            assert contents(after) == contents(before.encode()) != {}


def contents(feed):
    """What a feed holds, by UUID."""
    return {entry.findtext('{*}id').lower(): canonical(entry.find('{*}content')[0])
            for entry in etree.fromstring(feed).iter('{*}entry')}


def test_recordings_of_one_machine_are_put_together(make_file):
    names = ['fake_vios_mappings.txt', 'fake_lpar_feed.txt']
    with NovaLinkSimulator(recording=names) as sim:
        assert len(sim.lpars) >= 17
        assert len(sim.mappings()) == 28
    with pytest.raises(ValueError, match='twice'):
        recordings.load([names[0], names[0]])


@pytest.mark.parametrize('change', [
    lambda text: text[:len(text) // 2],
    lambda text: text.replace('<ClientAdapter ', '<ClientAdapter &broken; '),
    lambda text: text.replace('</PartitionName>', '</Name>'),
    lambda text: re.sub('(<PartitionID[^>]*>)[^<]*', r'\1many', text),
    lambda text: text.replace('VirtualOpticalMedia', 'VirtualTeapot'),
    lambda text: text.replace('<VirtualSCSIMappings ', '<VirtualTeapots '),
    lambda text: text.replace('<PartitionName', '\x00<PartitionName'),
    lambda text: '', lambda text: '<a>' * 100_000, lambda text: '{"documents": null}'])
def test_broken_recording_is_a_value_error(tmp_path, change):
    path = tmp_path / 'recording.txt'
    path.write_text(change((recordings.directory() / 'fake_vios_mappings.txt').read_text()))
    with pytest.raises(ValueError, match='recording'):
        NovaLinkSimulator(recording=str(path))


def test_recording_that_is_not_there_is_an_os_error_with_its_name():
    with pytest.raises(OSError, match='no_such_recording'):
        NovaLinkSimulator(recording='no_such_recording.txt')


@pytest.mark.parametrize('name', LOADABLE)
def test_served_feeds_have_the_recorded_entries_in_order(name):
    with NovaLinkSimulator(recording=name) as sim:
        adapter = sim.adapter()
        before = recorded(name)
        cls = type(next(iter(before.values())))
        after = cls.get(adapter, xag=[])
        assert [one.entry.uuid for one in after][:len(before)] == list(before)


@pytest.mark.parametrize('name', [n for n in LOADABLE if 'VirtualIOServer' in CATALOGUE[n]])
def test_groups_show_their_elements_only(name):
    groups = (const.XAG.VIO_SMAP, const.XAG.VIO_FMAP, const.XAG.VIO_STOR, const.XAG.VIO_NET)
    with NovaLinkSimulator(recording=name) as sim:
        adapter = sim.adapter()
        etags = set()
        for chosen in ([], *([g] for g in groups), groups[:2]):
            document = vios.VIOS.get(adapter, uuid=sim.vios_uuid, xag=chosen or None)
            shown = {e.get('group') for e in document.element.element.iter() if e.get('group')}
            everything = vios.VIOS.get(adapter, uuid=sim.vios_uuid, xag=[])
            there = {e.get('group') for e in everything.element.element.iter() if e.get('group')}
            assert shown == there & set(chosen)
            etags.add(document.etag)
        assert len(etags) == 6


@pytest.mark.parametrize('name', [n for n in LOADABLE if 'VirtualIOServer' in CATALOGUE[n]])
def test_adding_and_removing_leaves_recorded_mappings_as_they_were(name, make_file):
    # pypowervm finds an LPAR's mappings by their links.
    with NovaLinkSimulator(recording=name, links_of_files=True) as sim:
        adapter, path = sim.adapter(), make_file()
        lpar = sim.add_lpar('new')
        before = sim.mappings()
        scsi_mapper.add_vscsi_mapping(None, sim.vios_uuid, lpar.uuid,
                                      storage.FileIO.bld(adapter, path))
        assert [m for m in sim.mappings() if m.path != path] == before
        assert len(sim.mappings(lpar.uuid)) == 1
        scsi_mapper.remove_vdisk_mapping(adapter, sim.vios_uuid, lpar.uuid, disk_names=[path])
        assert sim.mappings() == before


def shape(element):
    """Names and attributes of an element and all below it, without values."""
    return [(etree.QName(e).localname, dict(e.attrib)) for e in element.iter()]


def test_new_mapping_has_the_shape_of_the_recorded_file_mapping(novalink, make_file):
    before = next(m for v in recorded('fake_vios_hosting_vios_feed.txt').values()
                  for m in v.scsi_mappings if m.target_dev.name.startswith('FILEIO'))
    adapter = novalink.adapter()
    after, = scsi_mapper.add_vscsi_mapping(
        None, novalink.vios_uuid, novalink.lpars[0].uuid,
        storage.FileIO.bld(adapter, make_file())).scsi_mappings
    link, = after.element.element.findall('{*}AssociatedLogicalPartition')
    # Recorded elsewhere: of a mapping to an LPAR; the client here was a VIOS.
    after.element.element.remove(link)
    assert shape(after.element.element) == shape(before.element.element)


def test_recorded_udid_and_names_follow_the_rules_of_new_ones():
    with NovaLinkSimulator(recording='fake_vios_hosting_vios_feed.txt') as sim:
        files = [m for m in sim.mappings() if m.kind == 'file']
        assert len(files) == 6
        from powervm_fileio_connector.simulator.buses import file_udid
        for mapping in files:
            assert mapping.udid == file_udid(mapping.path)
            assert mapping.target_udid == f'3{mapping.server_slot:07x}-{mapping.lua}'


def object_of(body):
    """The element inside an entry."""
    return etree.fromstring(body.encode()).find('.//{*}content')[0]


def test_error_has_the_recorded_shape(novalink):
    before = object_of(pvmhttp.PVMFile('fake_httperror.txt').body.strip())
    adapter = novalink.adapter()
    with pytest.raises(Exception, match='404') as caught:
        adapter.read('LogicalPartition', 'DEADBEEF-0000-4000-8000-000000000000')
    assert shape(object_of(caught.value.response.body)) == shape(before)


def test_job_answer_has_what_was_recorded_in_that_order(novalink):
    before = object_of(pvmhttp.PVMFile('job_response_completed_failed.txt').body.strip())
    adapter = novalink.adapter()
    answer = adapter.read('VirtualIOServer', novalink.vios_uuid, suffix_type='do',
                          suffix_parm='RescanVirtualDisk')
    job = adapter.create_job(answer.entry.element, 'VirtualIOServer', novalink.vios_uuid)
    after = object_of(job.body)
    assert [e.tag for e in after] == [e.tag for e in before]
    for mine, theirs in zip(after, before, strict=True):
        assert set(mine.attrib) == set(theirs.attrib)


def test_event_has_the_recorded_shape(novalink):
    before = etree.fromstring(pvmhttp.PVMFile('event_feed.txt').body.strip().encode())
    adapter = novalink.adapter()
    adapter.read('Event?QUEUE_CLIENTKEY_METHOD=USE_APPLICATIONID&QUEUE_APPLICATIONID=aa')
    novalink.change_lpar(novalink.lpars[0].uuid, state='not activated')
    after = etree.fromstring(adapter.read(
        'Event?QUEUE_CLIENTKEY_METHOD=USE_APPLICATIONID&QUEUE_APPLICATIONID=aa').body.encode())
    mine, theirs = (root.find('.//{*}content')[0] for root in (after, before))
    assert shape(mine) == shape(theirs)


def test_made_up_documents_have_only_elements_that_were_recorded(novalink):
    names = set()
    for name in LOADABLE:
        for one in recordings.read(name):
            names |= {etree.QName(e).localname for e in etree.fromstring(one.text.encode()).iter()
                      if isinstance(e.tag, str)}
    adapter = novalink.adapter()
    for cls in WRAPPERS.values():
        for wrapper in cls.get(adapter, xag=[]):
            served = {etree.QName(e).localname for e in wrapper.element.element.iter()}
            assert served <= names
