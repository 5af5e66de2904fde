# SPDX-License-Identifier: Apache-2.0
"""Cinder's views, and the notes about attachments that are being made."""

import threading

import pytest

from powervm_fileio_connector.cinder import Unfinished
from powervm_fileio_connector.cinder import views

VOLUME_ID = '7c1e0b1e-2a34-4a57-9d7c-51ce44f0f5a1'
LPAR = '4D2C1F61-8F2D-4C1C-9E4C-0E6C2B6D3A11'


@pytest.fixture(autouse=True)
def state_home(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path))
    return tmp_path


def volume(**entry):
    return views.volume_of({
        'id': VOLUME_ID, 'name': None, 'status': 'in-use', 'size': 1,
        'attachments': [{'attachment_id': 'a', 'volume_id': VOLUME_ID, 'server_id': None,
                         'host_name': None, 'device': None, **entry}]})


def test_a_note_outlives_the_process_that_wrote_it():
    with Unfinished.of(VOLUME_ID) as note:
        assert not note.is_open
        note.write(LPAR, 'a', was_mapped=True)
    with Unfinished.of(VOLUME_ID) as note:
        assert (note.is_open, note.attachment_id, note.lpar_uuid, note.was_mapped) == (
            True, 'a', LPAR, True)
    assert Unfinished.left() == {VOLUME_ID}


def test_a_closed_note_is_removed_even_if_the_command_fails(state_home):
    with Unfinished.of(VOLUME_ID) as note:
        note.write(LPAR)
    def fail():
        with Unfinished.of(VOLUME_ID) as note:
            note.close()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not list(state_home.rglob('*.json'))


def test_a_note_cut_short_counts_as_none(state_home):
    with Unfinished.of(VOLUME_ID) as note:
        note.write(LPAR)
    [path] = state_home.rglob('*.json')
    path.write_text('{"attachment_id": ')
    with Unfinished.of(VOLUME_ID) as note:
        assert not note.is_open


def test_a_note_that_was_never_written_is_not_listed():
    with Unfinished.of(VOLUME_ID):
        assert Unfinished.left() == set()


def test_a_note_is_held_by_one_at_a_time():
    order, waits = [], threading.Event()

    def second():
        waits.set()
        with Unfinished.of(VOLUME_ID) as note:
            order.append(note.attachment_id)

    thread = threading.Thread(target=second)
    with Unfinished.of(VOLUME_ID) as note:
        thread.start()
        assert waits.wait(10)
        note.write(LPAR, 'first')
        order.append('written')
    thread.join(10)
    assert order == ['written', 'first']


def test_an_attachment_names_its_host_and_lpar_to_members_too():
    [one] = volume(device=views.device('neo-1', LPAR.lower())).finished
    assert (one.host, one.lpar_uuid) == ('neo-1', LPAR)


def test_an_attachment_of_others_has_the_host_that_cinder_shows():
    [one] = volume(device='/dev/vdb', host_name='compute-1').finished
    assert (one.host, one.lpar_uuid) == ('compute-1', None)


def test_secrets_of_connection_info_are_not_shown():
    one = views.attachment_of({'id': 'a', 'volume_id': VOLUME_ID,
                               'connection_info': {'export': 'mds:/one:canary'}})
    assert 'canary' not in repr(one)


@pytest.mark.parametrize(('shown', 'known'), [('i-1', 'i-1'), ('', None), (None, None)])
def test_an_attachment_of_nova_names_its_instance(shown, known):
    one = views.attachment_of({'id': 'a', 'volume_id': VOLUME_ID, 'instance': shown})
    assert one.instance == known
