# SPDX-License-Identifier: Apache-2.0
"""Jobs, events, and the state file."""

import json
import threading
from pathlib import Path

import pytest
from pypowervm import adapter as pvm_adapter
from pypowervm import exceptions
from pypowervm.tasks import scsi_mapper
from pypowervm.tasks import storage as storage_tasks
from pypowervm.wrappers import event
from pypowervm.wrappers import storage
from pypowervm.wrappers import virtual_io_server as vios

from powervm_fileio_connector.simulator import NovaLinkSimulator


def add(sim, adapter, path, backstore='loop'):
    scsi_mapper.add_vscsi_mapping(None, sim.vios_uuid, sim.lpars[0].uuid,
                                  storage.FileIO.bld(adapter, path, backstore_type=backstore))
    return sim.mappings()[-1]


def grow(path, size):
    with Path(path).open('r+b') as file:
        file.truncate(size)


@pytest.mark.parametrize('novalink', [{}, {'job_polls': 1}], indirect=True, ids=str)
def test_rescan_takes_over_the_size_of_the_file(novalink, make_file):
    adapter = novalink.adapter()
    mapping = add(novalink, adapter, make_file())
    grow(mapping.path, 2**31)
    before = novalink.state.etag(novalink.vios_uuid, 'ViosSCSIMapping')
    storage_tasks.rescan_vstor(novalink.vios_uuid, mapping.udid, adapter=adapter)
    assert novalink.mappings()[0].capacity_gb == '2'
    served = vios.VIOS.get(adapter, uuid=novalink.vios_uuid, xag=['ViosSCSIMapping'])
    assert served.scsi_mappings[0].backing_storage.capacity == 2
    assert novalink.state.etag(novalink.vios_uuid, 'ViosSCSIMapping') != before


def test_rescan_of_an_unknown_disk_is_not_found(novalink):
    with pytest.raises(exceptions.VstorNotFound):
        storage_tasks.rescan_vstor(novalink.vios_uuid, 'no-such-udid', adapter=novalink.adapter())


def test_rescan_of_a_user_space_disk_fails(novalink, make_file):
    adapter = novalink.adapter()
    mapping = add(novalink, adapter, make_file(), 'user:qcow')
    with pytest.raises(exceptions.JobRequestFailed, match='user:qcow'):
        storage_tasks.rescan_vstor(novalink.vios_uuid, mapping.udid, adapter=adapter)


def test_unknown_job_says_which_is_known(novalink):
    with pytest.raises(exceptions.HttpNotFound, match='RescanVirtualDisk'):
        novalink.adapter().read('VirtualIOServer', novalink.vios_uuid, suffix_type='do',
                                suffix_parm='MakeCoffee')


class Collector(pvm_adapter.WrapperEventHandler):
    """Keeps what it is told, and says when something about mappings came."""

    def __init__(self):
        self.events = []
        self.mapping_changed = threading.Event()

    def process(self, events):
        self.events += events
        if any(e.detail == 'VirtualSCSIMappings' for e in events):
            self.mapping_changed.set()


def test_listener_hears_of_a_changed_mapping(novalink, make_file):
    adapter = novalink.adapter()
    listener = adapter.session.get_event_listener()
    collector = Collector()
    listener.subscribe(collector)
    add(novalink, adapter, make_file())
    assert collector.mapping_changed.wait(5)
    heard = next(e for e in collector.events if e.detail == 'VirtualSCSIMappings')
    assert heard.etype == 'MODIFY_URI'
    assert heard.data.endswith(f'/VirtualIOServer/{novalink.vios_uuid}')


@pytest.mark.parametrize('novalink', [{'event_wait_s': 0.05}], indirect=True)
def test_each_application_has_its_own_stream(novalink):
    adapter = novalink.adapter()
    assert [e.etype for e in event.Event.get(adapter, 'aa')] == ['NEW_CLIENT']
    novalink.add_lpar('new')
    assert [e.etype for e in event.Event.get(adapter, 'aa')] == ['ADD_URI']
    assert event.Event.get(adapter, 'aa') == []
    assert [e.etype for e in event.Event.get(adapter, 'bb')] == ['NEW_CLIENT']


def test_custom_event_reaches_the_others(novalink):
    adapter = novalink.adapter()
    event.Event.get(adapter, 'aa')
    event.Event.bld(adapter, 'some data', 'some detail').create()
    heard, = event.Event.get(adapter, 'aa')
    assert (heard.etype, heard.data, heard.detail) == (
        'CUSTOM_CLIENT_EVENT', 'some data', 'some detail')


def test_state_survives_a_restart(tmp_path, make_file):
    file = str(tmp_path / 'state.json')
    with NovaLinkSimulator(state_file=file, foreign=False) as sim:
        add(sim, sim.adapter(), make_file())
        snapshot, vios_uuid = sim.state.snapshot(), sim.vios_uuid
    with NovaLinkSimulator(lpars=9, state_file=file) as sim:
        assert sim.state.snapshot()['mappings'] == snapshot['mappings']
        assert len(sim.lpars) == 2
        wrapper = vios.VIOS.get(sim.adapter(), uuid=vios_uuid, xag=['ViosSCSIMapping'])
        assert len(wrapper.scsi_mappings) == 1


def test_state_is_saved_before_a_change_is_answered(tmp_path, make_file):
    file = tmp_path / 'state.json'
    with NovaLinkSimulator(state_file=str(file), foreign=False) as sim:
        add(sim, sim.adapter(), make_file())
        assert len(json.loads(file.read_text())['state']['mappings']) == 1


def test_foreign_file_is_no_state(tmp_path):
    file = tmp_path / 'other.json'
    file.write_text('{"something": "else"}')
    with pytest.raises(ValueError, match='no state of this simulator'):
        NovaLinkSimulator(state_file=str(file))
