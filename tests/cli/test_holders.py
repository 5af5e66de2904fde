# SPDX-License-Identifier: Apache-2.0
"""Who has a volume is found out however its path is spelled, and never guessed."""

import dataclasses
import os
import re

import pytest

from powervm_fileio_connector.simulator import Fault

VOLUME_ID = '7c1e0b1e-2a34-4a57-9d7c-51ce44f0f5a1'


class WithoutLinks(Fault):
    """No mapping says whose it is, other than by the id of its LPAR."""

    def on_answer(self, exchange, answer):
        return dataclasses.replace(answer, body=re.sub(
            rb'<AssociatedLogicalPartition[^>]*/>', b'', answer.body))


@pytest.fixture
def spellings(share, make_volume):
    """One volume's real path, and its path through a symlink."""
    path = make_volume('real/volume-1')
    os.symlink(share / 'real', share / 'link')
    return path, str(share / 'link' / 'volume-1')


def test_detach_finds_what_was_attached_by_another_spelling(operate, novalink, spellings,
                                                            add_mapping):
    path, link = spellings
    add_mapping(path)
    outcome = operate('detach', link)
    assert '| detached ' in outcome.out, outcome
    assert novalink.mappings() == []


def test_detach_finds_a_mapping_without_a_link_to_its_lpar(operate, novalink, make_volume,
                                                           add_mapping):
    path = make_volume()
    add_mapping(path)
    novalink.faults.add(WithoutLinks(times=None))
    outcome = operate('detach', path)
    assert '| detached ' in outcome.out, outcome
    assert novalink.mappings() == []


def test_detach_without_the_share_goes_by_the_name_under_the_exports_hash(operate, novalink,
                                                                          make_volume, add_mapping):
    # The MD5 of nas1:/vols, which is mounted nowhere.
    path = make_volume('df8f2960bc699f860fbd3049c05792c6/volume-1')
    add_mapping(path)
    outcome = operate('detach', '--export', 'nas1:/vols', '--name', 'volume-1')
    assert '| detached ' in outcome.out, outcome
    assert novalink.mappings() == []


def test_detach_by_a_name_that_fits_another_place_is_refused(operate, novalink, make_volume,
                                                             add_mapping):
    add_mapping(make_volume('volume-1'))
    outcome = operate('detach', '--export', 'nas1:/vols', '--name', 'volume-1')
    assert (outcome.code, outcome.out) == (9, '')
    assert 'known by its file name only' in outcome.err
    assert len(novalink.mappings()) == 1


@pytest.mark.parametrize('arguments', [
    ['volumes.json'], ['--device-info', 'volumes.json']], ids=['JSON', 'device_info'])
@pytest.mark.parametrize('lpar', [[], ['--lpar', 'lpar1']], ids=['any LPAR', 'one LPAR'])
@pytest.mark.parametrize('content', [{}, {'device-path': '/x'}], ids=['nothing', 'mistyped'])
def test_what_names_no_volume_is_never_detached_silently(operate, write_json, monkeypatch, content,
                                                         arguments, lpar):
    monkeypatch.chdir(write_json(content).parent)
    outcome = operate('detach', *arguments, *lpar)
    assert (outcome.code, outcome.out) == (3, '')
    assert 'which volume is meant' in outcome.err


@pytest.mark.parametrize('lpar', [[], ['--lpar', 'lpar1']], ids=['any LPAR', 'one LPAR'])
def test_a_name_that_is_refused_is_never_detached_silently(operate, lpar):
    outcome = operate('detach', '--export', 'nas1:/vols', '--name', '../x', *lpar)
    assert (outcome.code, outcome.out) == (5, '')
    assert "Cannot detach volume ../x: name '../x' is not one plain" in outcome.err


def test_detach_says_when_the_named_lpar_did_not_have_it(operate, make_volume):
    outcome = operate('detach', make_volume(), '--lpar', 'lpar1')
    assert outcome.code == 0
    assert '| was not attached ' in outcome.out


def test_detach_from_an_lpar_that_is_gone_is_success(operate, make_volume):
    outcome = operate('detach', make_volume(), '--lpar', 'web01')
    assert (outcome.code, outcome.err) == (0, '')
    assert '| was not attached ' in outcome.out


def test_detach_from_an_lpar_that_may_be_mistyped_is_refused(operate, novalink, make_volume,
                                                             add_mapping):
    path = make_volume()
    add_mapping(path)
    assert operate('detach', path, '--lpar', 'lpra1').code == 7
    assert len(novalink.mappings()) == 1


def test_check_names_who_has_it_by_another_spelling(as_json, spellings, add_mapping):
    path, link = spellings
    add_mapping(path)
    rows = {row['check']: row for row in as_json('check', link, '--lpar', 'lpar2', code=12)}
    assert 'attached to lpar1' in rows['attached']['detail']


def test_show_and_extend_find_it_by_another_spelling(as_json, spellings, add_mapping):
    path, link = spellings
    add_mapping(path)
    assert as_json('show', link)['path'] == path
    os.truncate(path, 2 << 20)
    assert as_json('extend', link)['size_bytes'] == 2 << 20


def test_an_id_that_is_no_uuid_names_a_volume(operate, as_json, novalink, make_volume, add_mapping):
    add_mapping(make_volume(), tag='vol-a')
    assert as_json('show', '--volume-id', 'vol-a')['tag'] == 'vol-a'
    assert as_json('show', '--volume-id', ' vol-a ')['tag'] == 'vol-a'
    assert operate('detach', '--volume-id', 'a').code == 0
    assert len(novalink.mappings()) == 1
    assert operate('detach', '--volume-id', 'vol-a').code == 0
    assert novalink.mappings() == []
