# SPDX-License-Identifier: Apache-2.0
"""Which volume is meant is told for certain, or refused with all that it could be."""

import json
import uuid

import pytest

from powervm_fileio_connector.simulator import LPARListCutShort
from powervm_fileio_connector.simulator import NoLPARLinks
from tests.cli.conftest import posts
from tests.contract.test_incomplete_mappings import CLIENTS
from tests.contract.test_writer_answers import Without

A = '7c1e0b1e-2a34-4a57-9d7c-51ce44f0f5a1'
B = '0d2f1c2f-3b45-4b68-8e8d-62df55f1f6b2'


@pytest.fixture
def attach(add_mapping, make_volume):
    """Have a new file attached and return its path."""
    return lambda name, tag=None, lpar='lpar1': add_mapping(make_volume(name), lpar, tag)


@pytest.fixture
def refused(operate, novalink):
    """Run a command that has to be refused, and return what it says."""
    def refused(*arguments):
        sent = posts(novalink)
        before = novalink.mappings()
        outcome = operate(*arguments)
        assert (outcome.code, outcome.out) == (2, ''), outcome
        assert len(outcome.err.splitlines()) == 1
        assert (posts(novalink), novalink.mappings()) == (sent, before)
        return outcome.err
    return refused


@pytest.mark.parametrize('name', ['detach', 'extend', 'show'])
@pytest.mark.parametrize('lpars', [('lpar1', 'lpar1'), ('lpar1', 'lpar2')])
@pytest.mark.parametrize('more', [[], ['--lpar', 'lpar1']], ids=['', 'lpar'])
def test_an_id_that_tags_two_files_is_refused(attach, refused, name, lpars, more):
    if more and lpars[1] == 'lpar2' and name == 'show':
        pytest.skip('shows what one LPAR has')
    paths = [attach(name, A, lpar) for name, lpar in zip('ab', lpars, strict=True)]
    said = refused(name, A, *more)
    assert all(path in said for path in paths)


def test_a_path_that_fits_nothing_leaves_an_id_that_tags_two_files_refused(attach, refused,
                                                                           write_json):
    paths = [attach(name, A) for name in 'ab']
    said = refused('detach', write_json({'path': '/dev/shm/gone', 'volume_id': A}))
    assert all(path in said for path in paths)


@pytest.mark.parametrize('name', ['detach', 'extend'])
def test_a_file_that_is_tagged_as_another_volume_is_never_the_volume(attach, operate, novalink,
                                                                     name):
    attach(f'volume-{A}', B)
    outcome = operate(name, A)
    assert outcome.code == (0 if name == 'detach' else 13)
    assert 'not attached' in outcome.out + outcome.err
    assert len(novalink.mappings()) == 1


@pytest.mark.parametrize('is_gone', [True, False], ids=['orphan', 'other LPAR'])
def test_a_file_that_is_attached_as_another_volume_as_well_is_refused(attach, operate, novalink,
                                                                      refused, is_gone,
                                                                      add_mapping):
    path = attach('a', A, 'lpar1')
    add_mapping(path, 'lpar2', tag=B)
    if is_gone:
        novalink.remove_lpar(novalink.lpars[0].uuid)
    for more in ([], ['--lpar', 'lpar2']):
        said = refused('detach', A, *more)
        assert all(part in said for part in (path, A, B))
    assert operate('detach', B, '--lpar', 'lpar2').code == 0
    assert [mapping.tag for mapping in novalink.mappings()] == ([] if is_gone else [A])


@pytest.mark.parametrize('novalink', [
    {'links_of_files': True}, {'links_of_files': False}], indirect=True, ids=['link', 'id alone'])
def test_a_mapping_that_is_being_made_for_another_volume_is_not_taken_by_an_id_of_the_file(
        attach, novalink, refused, add_mapping):
    path = attach('a', A, 'lpar1')
    add_mapping(path, 'lpar2', tag=B)
    novalink.faults.add(Without(times=None, pattern=CLIENTS))
    said = refused('detach', A, '--lpar', 'lpar2')
    assert all(part in said for part in (path, A, B))


def test_a_copy_is_not_taken_for_the_volume(attach, refused):
    path = attach(f'backup-of-{A}.img')
    assert path in refused('detach', A)


def test_the_volume_and_its_copy_are_told_apart_by_the_user(attach, refused):
    paths = [attach(name) for name in (f'volume-{A}', f'backup-of-{A}.img')]
    said = refused('detach', A)
    assert all(path in said for path in paths)


@pytest.mark.parametrize('suffix', ['', '.3f1c2f00-3b45-4b68-8e8d-62df55f1f6b2'])
def test_the_only_file_that_is_named_after_the_id_is_the_volume(attach, operate, novalink, suffix):
    attach(f'volume-{A}{suffix}')
    assert operate('detach', A).code == 0
    assert novalink.mappings() == []


def test_an_id_and_a_path_that_is_tagged_otherwise_are_refused(attach, refused):
    path = attach('b', B)
    said = refused('detach', path, '--volume-id', A)
    assert all(part in said for part in (path, A, B))


def test_an_id_and_a_device_info_of_another_volume_are_refused(as_json, make_volume, refused,
                                                               write_json):
    info = write_json(as_json('attach', make_volume('a'), '--lpar', 'lpar1', '--volume-id', A))
    for other in (B, '/dev/shm/other'):
        said = refused('detach', other, '--device-info', info)
        assert other in said
    said = refused('detach', info, '--volume-id', B)
    assert A in said
    assert B in said


def test_a_migrated_volume_is_told_by_its_path_and_said_to_be(attach, operate, novalink,
                                                              write_json):
    path = attach(f'volume-{B}', B)
    outcome = operate('detach', write_json({'path': path, 'volume_id': A}))
    assert outcome.code == 0
    assert f'{path} is tagged {B}, as after a migration' in outcome.err
    assert novalink.mappings() == []


@pytest.mark.parametrize('spelled', [A.upper(), A.replace('-', ''), f'{{{A}}}', f'urn:uuid:{A}'])
@pytest.mark.parametrize('how', ['VOLUME', '--volume-id', 'JSON'])
def test_an_id_is_the_same_however_it_is_written(attach, operate, novalink, write_json, spelled,
                                                 how):
    attach('a', A)
    arguments = {'VOLUME': [spelled], '--volume-id': ['--volume-id', spelled],
                 'JSON': [write_json({'volume_id': spelled})]}[how]
    assert '| detached ' in operate('detach', *arguments).out
    assert novalink.mappings() == []


def test_attach_tags_with_the_id_as_cinder_writes_it(operate, make_volume, novalink):
    assert operate('attach', make_volume('a'), '--lpar', 'lpar1', '--volume-id',
                   A.upper()).code == 0
    assert novalink.mappings()[0].tag == A


@pytest.mark.parametrize('name', ['attach', 'detach', 'extend', 'show', 'list'])
def test_an_lpar_uuid_that_novalink_does_not_know_is_refused(attach, operate, novalink, name):
    path = attach('a')
    outcome = operate(name, *([] if name == 'list' else [path]), '--lpar', str(uuid.uuid4()))
    assert (outcome.code, outcome.out) == (7, ''), outcome
    assert len(novalink.mappings()) == 1


@pytest.mark.parametrize('spell', [str.lower, lambda text: text.replace('-', ''),
                                   lambda text: f'{{{text}}}'])
def test_an_lpar_uuid_is_the_same_however_it_is_written(attach, operate, novalink, spell):
    path = attach('a')
    outcome = operate('detach', path, '--lpar', spell(novalink.lpars[0].uuid))
    assert '| detached ' in outcome.out, outcome
    assert novalink.mappings() == []


@pytest.mark.parametrize('name', ['detach', 'extend'])
@pytest.mark.parametrize('keep', [0, 1])
def test_a_volume_of_an_lpar_that_novalink_neither_links_nor_lists_is_not_missed(
        attach, operate, novalink, share, name, keep):
    directory = 'df8f2960bc699f860fbd3049c05792c6'      # the MD5 of nas1:/vols
    attach(f'{directory}/volume-1', A, 'lpar2')
    novalink.faults.add(NoLPARLinks(), LPARListCutShort(keep=keep))
    for key in (['--export', 'nas1:/vols', '--name', 'volume-1'], ['--volume-id', A]):
        outcome = operate(name, *key)
        assert (outcome.code, outcome.out) == (7, ''), outcome
        assert 'which NovaLink does not list' in outcome.err
    assert len(novalink.mappings()) == 1


def test_a_file_that_looks_like_json_is_no_disk(as_json, run, novalink, make_volume, tmp_path,
                                                monkeypatch):
    info = as_json('attach', make_volume(), '--lpar', 'lpar1')
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'stored').write_text(json.dumps(info))
    outcome = run('detach', 'stored', '--simulator', novalink.url)
    assert outcome.code == 2
    assert 'stored looks like JSON' in outcome.err
    assert len(novalink.mappings()) == 1


def test_a_dry_run_names_the_lpar_that_loses_its_disk(as_json, make_volume, novalink):
    path = make_volume()
    as_json('attach', path, '--lpar', 'lpar1')
    [edit] = as_json('detach', path, '--dry-run')
    assert (edit['lpar'], edit['lpar_uuid']) == ('lpar1', novalink.lpars[0].uuid)


@pytest.mark.parametrize(('name', 'verb'), [
    ('extend', 'extend'), ('show', 'find'), ('detach', 'detach')])
def test_a_path_that_is_refused_is_named_with_the_reason(operate, name, verb):
    outcome = operate(name, '/srv/a/../b')
    assert (outcome.code, outcome.out) == (5, '')
    assert outcome.err.startswith(f"Cannot {verb} volume /srv/a/../b: path contains '..'")


def test_attaching_names_a_refused_path_too(operate):
    outcome = operate('attach', '/srv/a/../b', '--lpar', 'lpar1')
    assert outcome.err.startswith('Cannot attach volume /srv/a/../b to LPAR lpar1 (')
