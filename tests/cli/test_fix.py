# SPDX-License-Identifier: Apache-2.0
"""``audit --fix`` removes what has lost its LPAR, and nothing that any LPAR may use."""

import dataclasses
import re
import subprocess
import uuid

import pytest

from powervm_fileio_connector.simulator import Fault
from powervm_fileio_connector.simulator import LPARListCutShort
from powervm_fileio_connector.simulator import NoLPARLinks
from tests.cli.conftest import posts
from tests.contract.test_incomplete_mappings import CLIENTS
from tests.contract.test_writer_answers import Without

# Only a link tells that a mapping without client adapter is being made.
pytestmark = pytest.mark.parametrize('novalink', [{'links_of_files': True}], indirect=True)


@pytest.fixture
def path(make_volume, add_mapping):
    """A volume of the second LPAR."""
    path = make_volume()
    add_mapping(path, 'lpar2')
    return path


@pytest.fixture
def orphan(novalink, path):
    """A volume whose LPAR is gone."""
    novalink.remove_lpar(novalink.lpars[1].uuid)
    novalink.requests.clear()
    return path


class WithoutLPARs(Fault):
    """The list of LPARs lacks those whose names match, as for a user who may not see them."""

    def __init__(self, names):
        super().__init__(times=None, method='GET', path='/LogicalPartition')
        object.__setattr__(self, 'names', re.compile(names))

    def on_answer(self, exchange, answer):
        kept = re.sub(
            rb'<entry\b.*?</entry>', lambda entry: b'' if self.names.search(
                re.search(rb'<PartitionName\b[^>]*>([^<]*)<', entry[0])[1].decode()) else entry[0],
            answer.body, flags=re.DOTALL)
        return dataclasses.replace(answer, body=kept)


@pytest.mark.parametrize(('missing', 'reason'), [
    ('', 'NovaLink lists no LPAR'), ('lpar1', 'NovaLink does not list LPAR')],
    ids=['empty', 'incomplete'])
@pytest.mark.parametrize('yes', [['--yes'], []])
def test_fix_is_refused_where_the_list_of_lpars_is(operate, novalink, orphan, make_volume, missing,
                                                   reason, yes, add_mapping):
    add_mapping(make_volume('other'))
    sent = posts(novalink)
    novalink.faults.add(WithoutLPARs(missing))
    outcome = operate('audit', '--fix', *yes, stdin='y\n')
    assert outcome.code == 12
    assert f'Nothing was removed: {reason}' in outcome.err
    assert (posts(novalink), len(novalink.mappings())) == (sent, 2)


def test_fix_keeps_the_disk_of_an_lpar_that_appears_while_it_asks(command, operate, novalink,
                                                                  changed_world, path):
    lpar = novalink.lpars[1]
    with changed_world(has_client=False) as (host, _):
        host.remove_lpar(lpar.uuid)
        with subprocess.Popen([command, 'audit', '--fix', '--simulator', host.url], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            assert process.stderr.readline().startswith(f'orphan: {path} ')
            host.add_lpar(name=lpar.name, uuid=lpar.uuid)
            out, _ = process.communicate('y\n', timeout=60)
        assert 'not removed' in out
        assert (process.returncode, len(host.mappings())) == (12, 1)


def test_fix_leaves_a_mapping_that_is_being_made(operate, novalink, path):
    novalink.faults.add(Without(times=None, pattern=CLIENTS))
    outcome = operate('audit', '--fix', '--yes')
    assert outcome.code == 12
    assert '| incomplete ' in outcome.out
    assert len(novalink.mappings()) == 1


def test_fix_leaves_a_mapping_that_is_being_made_for_an_lpar_that_is_not_listed(operate, novalink,
                                                                                path):
    novalink.faults.add(Without(times=None, pattern=CLIENTS), LPARListCutShort(keep=1))
    sent = posts(novalink)
    outcome = operate('audit', '--fix', '--yes')
    assert outcome.code == 12
    assert 'not removed' in outcome.out
    assert (posts(novalink), len(novalink.mappings())) == (sent, 1)


@pytest.mark.parametrize(('answer', 'left'), [('y\n', 0), ('n\n', 1)])
def test_fix_asks_for_an_orphan_whose_id_an_lpar_has(operate, novalink, orphan, answer, left):
    [mapping] = novalink.mappings()
    novalink.add_lpar(name='successor', id=mapping.lpar_id)
    assert operate('audit', '--fix', '--yes').code == 12
    assert len(novalink.mappings()) == 1
    outcome = operate('audit', '--fix', stdin=answer)
    assert f'LPAR successor has the id {mapping.lpar_id}' in outcome.err
    assert len(novalink.mappings()) == left


def test_a_mapping_that_is_being_made_is_in_use_for_other_lpars(operate, novalink, path):
    novalink.faults.add(Without(times=None, pattern=CLIENTS))
    outcome = operate('check', path, '--lpar', 'lpar1', '-f', 'value')
    assert outcome.code == 12
    assert 'lpar2 (being made: no client adapter yet)' in outcome.out
    assert operate('attach', path, '--lpar', 'lpar1').code == 8
    assert operate('detach', path, '--lpar', 'lpar1').code == 0
    assert [mapping.lpar_uuid for mapping in novalink.mappings()] == [novalink.lpars[1].uuid]


def test_detach_without_lpar_asks_for_that_of_a_mapping_that_is_being_made(operate, novalink,
                                                                           path):
    novalink.faults.add(Without(times=None, pattern=CLIENTS))
    outcome = operate('detach', path)
    assert outcome.code == 2
    assert 'is just being attached to LPAR lpar2' in outcome.err
    assert len(novalink.mappings()) == 1


@pytest.mark.parametrize('keep', [0, 1])
def test_an_audit_finds_disks_of_lpars_that_novalink_does_not_list(as_json, novalink, make_volume,
                                                                   keep):
    for number in (1, 2):
        as_json('attach', make_volume(f'volume-{number}'), '--lpar', f'lpar{number}')
    novalink.faults.add(NoLPARLinks(), LPARListCutShort(keep=keep))
    findings = as_json('audit', code=12)
    assert [finding['finding'] for finding in findings] == ['unknown LPAR'] * (2 - keep)
    assert 'LPAR with id' in findings[0]['detail']


def test_fix_of_a_disk_ends_all_that_was_found_of_it(operate, novalink, make_volume):
    path = make_volume(f'volume-{uuid.uuid4()}')
    attached = operate('attach', path, '--lpar', 'lpar1', '--volume-id', uuid.uuid4())
    assert attached.code == 0, attached
    novalink.remove_lpar(novalink.lpars[0].uuid)
    found = operate('audit', '-f', 'json')
    assert [row['finding'] for row in found.json] == ['orphan', 'tag mismatch']
    fixed = operate('audit', '--fix', '--yes', '-f', 'json')
    assert [row['detail'] for row in fixed.json] == ['removed']
    assert fixed.code == 0
