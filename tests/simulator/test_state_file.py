# SPDX-License-Identifier: Apache-2.0
"""The state file: one simulator at a time, whole or as it was, and nothing else is touched."""

import errno
import json
import os

import pytest
from pypowervm import exceptions
from pypowervm.tasks import scsi_mapper
from pypowervm.wrappers import storage

from powervm_fileio_connector import simulator as s
from powervm_fileio_connector.simulator import NovaLinkSimulator


@pytest.fixture
def file(tmp_path):
    return tmp_path / 'state.json'


def add(sim, path):
    scsi_mapper.add_vscsi_mapping(None, sim.vios_uuid, sim.lpars[0].uuid,
                                  storage.FileIO.bld(sim.adapter(), path))


@pytest.mark.parametrize('is_there', [False, True])
def test_second_simulator_on_one_file_is_refused(file, is_there):
    if is_there:
        NovaLinkSimulator(state_file=file).start().stop()
    with NovaLinkSimulator(state_file=file) as sim:
        for _ in range(2):
            with pytest.raises(ValueError, match='used by another simulator'):
                NovaLinkSimulator(state_file=file)
            sim.add_lpar()
    with NovaLinkSimulator(state_file=file) as again:
        assert len(again.lpars) == 4


def test_two_that_start_at_once_do_not_both_take_a_new_file(file):
    first, second = (NovaLinkSimulator(state_file=file) for _ in range(2))
    with first, pytest.raises(ValueError, match='used by another simulator'):
        second.start()


def test_file_of_the_new_states_name_is_neither_followed_nor_replaced(file, tmp_path):
    victim = tmp_path / 'victim'
    victim.write_text('precious')
    (tmp_path / 'state.json.new').symlink_to(victim)
    with NovaLinkSimulator(state_file=file) as sim:
        sim.add_lpar()
    assert victim.read_text() == 'precious'
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'state.json', 'state.json.new', 'victim']


def test_state_behind_a_link_is_replaced_where_it_is(file, tmp_path):
    real = tmp_path / 'elsewhere' / 'real.json'
    real.parent.mkdir()
    file.symlink_to(real)
    with NovaLinkSimulator(state_file=file) as sim:
        sim.add_lpar()
    assert file.is_symlink()
    names = [p['name'] for p in json.loads(real.read_text())['state']['partitions']]
    assert names == ['novalink', 'lpar1', 'lpar2', 'other', 'lpar5']


def test_full_disk_is_answered_by_500_and_printed(file, make_file, monkeypatch, capsys):
    with NovaLinkSimulator(state_file=file) as sim:
        before = file.read_text()
        real = os.fsync

        def full(_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, 'fsync', full)
        with pytest.raises(exceptions.HttpError, match='No space left'):
            add(sim, make_file())
        with pytest.raises(OSError, match='No space left'):
            sim.add_lpar()
        assert file.read_text() == before
        assert [path.name for path in file.parent.iterdir()
                if path.name.startswith('state')] == ['state.json']
        monkeypatch.setattr(os, 'fsync', real)
    assert 'No space left' in capsys.readouterr().err
    assert file.read_text() != before


def broken(change):
    with s.NovaLinkSimulator(mappings=4) as sim:
        data = {'format': 1, 'state': sim.state.snapshot()}
    change(data['state'])
    return json.dumps(data)


@pytest.mark.parametrize('text', [
    '', 'null', '[]', '{}', '{"format": 2}', '{"format": 1, "state": []}', '[' * 100_000,
    '{"a":' * 100_000, '\x00',
    broken(lambda state: state.update(partitions=[])),
    broken(lambda state: state.update(hosts=[])),
    broken(lambda state: state.update(nonce='x')),
    broken(lambda state: state['partitions'].append(state['partitions'][0])),
    broken(lambda state: state['partitions'][1].update(id='2')),
    broken(lambda state: state['partitions'][1].update(id=True)),
    broken(lambda state: state['partitions'][1].update(aliases=[[]])),
    broken(lambda state: state['partitions'][1].update(shoe_size=44)),
    broken(lambda state: state['partitions'][1].pop('name')),
    broken(lambda state: state['partitions'].insert(0, 'novalink')),
    broken(lambda state: state['mappings'][0].update(slot={})),
    broken(lambda state: state['mappings'][0].update(vios_uuid='nowhere')),
    broken(lambda state: state['mappings'].append(state['mappings'][0])),
    broken(lambda state: state.pop('mappings'))], ids=lambda text: text[:20])
def test_nonsense_is_no_state(file, text):
    file.write_text(text)
    with pytest.raises(ValueError, match='no state of this simulator'):
        NovaLinkSimulator(state_file=file)
    assert file.read_text() == text
