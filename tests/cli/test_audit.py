# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio audit``: what it finds, and the little that --fix removes."""

import dataclasses
import os
import re
import subprocess
import sys

import pytest

import powervm_fileio_connector as pfc
from powervm_fileio_connector import conf
from powervm_fileio_connector.cli import audit_checks
from powervm_fileio_connector.cli.errors import ExitCode
from powervm_fileio_connector.cli.inventory import Disk
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host.health import FileHealth
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import RemoveOrphans
from powervm_fileio_connector.mappings.edit import Change
from powervm_fileio_connector.mappings.edit import NotConfirmed
from powervm_fileio_connector.mappings.edit import Outcome
from powervm_fileio_connector.mappings.edit import file_udid
from powervm_fileio_connector.mappings.record import MappingRecord
from powervm_fileio_connector.novalink import client_for
from powervm_fileio_connector.simulator import Fault
from powervm_fileio_connector.simulator import InternalError500
from tests.cli.conftest import posts

LPAR = '4D2C1F61-8F2D-4C1C-9E4C-0E6C2B6D3A11'
VOLUME_ID = '7c1e0b1e-2a34-4a57-9d7c-51ce44f0f5a1'


@pytest.fixture
def attached(add_mapping, make_volume):
    """Have a new volume attached and return its path."""
    return lambda name, lpar, tag=None: add_mapping(make_volume(name), lpar, tag)


@pytest.fixture
def orphan(attached, novalink):
    """A disk whose LPAR is gone."""
    path = attached('left-over', 'lpar2')
    novalink.remove_lpar(novalink.lpars[1].uuid)
    novalink.requests.clear()
    return path


def test_a_clean_host_has_no_findings(as_json, attached):
    attached('volume-1', 'lpar1')
    assert as_json('audit') == []


def test_a_share_that_could_not_be_probed_is_not_said_to_hang(attached, novalink):
    attached('volume-1', 'lpar1')
    program = ('import sys\n'
               'from powervm_fileio_connector.cli import main\n'
               'sys.executable = "/no-python"\n'
               'for name in ("list", "audit", "check"):\n'
               f'    print(main.main([name, "-f", "json", "--simulator", {novalink.url!r}]))')
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', program], capture_output=True,
                          text=True, timeout=120, check=False)
    listed, audited, checked, _ = re.split(r'^\d+\n', done.stdout, flags=re.MULTILINE)
    assert re.findall(r'^\d+$', done.stdout, re.MULTILINE) == ['0', '12', '12']
    assert 'hung' not in done.stdout
    assert '"mount_state": "unknown"' in listed
    for told in (audited, checked):
        assert 'cannot start a share probe process' in told


def test_an_audit_changes_nothing(as_json, novalink, orphan):
    [finding] = as_json('audit', code=12)
    assert (finding['finding'], finding['path']) == ('orphan', orphan)
    assert (posts(novalink), len(novalink.mappings())) == (0, 1)


def test_a_file_that_is_gone_is_found(as_json, attached):
    path = attached('volume-1', 'lpar1')
    os.unlink(path)
    [finding] = as_json('audit', code=12)
    assert (finding['finding'], finding['path']) == ('file missing', path)


@pytest.mark.parametrize('novalink', [{'mappings': 2}], indirect=True)
def test_a_mount_that_is_gone_is_found(as_json):
    [finding] = as_json('audit', code=12)
    assert (finding['finding'], finding['lpar']) == ('not mounted', 'lpar1')


def test_a_file_on_the_root_file_system_is_found_to_be_there(changed_world, attached):
    attached('volume-1', 'lpar1')
    with changed_world(path='/etc/passwd') as (_, operate):
        [disk] = operate('list', '-f', 'json').json
        outcome = operate('audit', '-f', 'json')
    assert (disk['file_state'], disk['mount_state']) == ('present', 'root')
    [finding] = outcome.json
    assert finding['finding'] == 'on the root file system'
    assert 'trusted_directories' in finding['detail']


def test_novalinks_own_files_are_no_finding():
    own = MappingRecord(path='/var/lib/pvm/fileio/disk-1', kind='file')
    other = MappingRecord(path='/var/lib/pvm/disk-1', kind='file')
    assert audit_checks.check_file(Disk(own, 'lpar1', FileHealth('present', 'root'))) == []
    assert audit_checks.check_file(Disk(other, 'lpar1', FileHealth('present', 'root')))
    assert audit_checks.check_file(Disk(own, 'lpar1', FileHealth('missing', 'absent')))


def test_one_file_on_several_lpars_is_found(as_json, attached):
    attached('volume-1', 'lpar1')
    path = attached('volume-1', 'lpar2')
    findings = as_json('audit', code=12)
    assert [(finding['finding'], finding['path'], finding['detail']) for finding in findings] == [
        ('shared file', path, 'lpar1 and lpar2 have it')] * 2


def test_a_file_that_one_lpar_has_twice_is_found(as_json, attached, changed_world):
    for name in ('volume-1', 'volume-2'):
        path = attached(name, 'lpar1')
    with changed_world(path=path, udid=file_udid(path)) as (_, run):
        outcome = run('audit', '-f', 'json')
    assert outcome.code == 12
    assert [(finding['finding'], finding['path']) for finding in outcome.json] == [
        ('mapped twice', path)] * 2


def test_a_tag_that_fits_no_file_name_is_found(as_json, attached):
    attached(f'volume-{VOLUME_ID}', 'lpar1', VOLUME_ID)
    attached('disk-of-no-volume', 'lpar1', VOLUME_ID)
    odd = attached('volume-0f0f0f0f-2a34-4a57-9d7c-51ce44f0f5a1', 'lpar1', VOLUME_ID)
    [finding] = as_json('audit', code=12)
    assert (finding['finding'], finding['path']) == ('tag mismatch', odd)


def test_fix_removes_orphans_of_files_after_asking(operate, novalink, attached, orphan):
    kept = attached('volume-1', 'lpar1')
    outcome = operate('audit', '--fix', stdin='y\n')
    assert outcome.code == 0
    assert f'orphan: {orphan} (server slot ' in outcome.err
    assert 'Remove 1 orphan? [y/N]' in outcome.err
    assert '| removed ' in outcome.out
    assert [mapping.path for mapping in novalink.mappings()] == [kept]
    assert os.path.exists(orphan)


@pytest.mark.parametrize('answer', ['n\n', '\n', ''])
def test_fix_removes_nothing_unless_agreed(operate, novalink, orphan, answer):
    outcome = operate('audit', '--fix', stdin=answer)
    assert outcome.code == 12
    assert 'Nothing was removed.' in outcome.err
    assert (posts(novalink), len(novalink.mappings())) == (0, 1)


def test_fix_does_not_ask_with_yes(operate, novalink, orphan):
    outcome = operate('audit', '--fix', '--yes')
    assert (outcome.code, outcome.err) == (0, '')
    assert novalink.mappings() == []


def test_fix_leaves_everything_else_that_was_found(operate, novalink, attached, orphan):
    os.unlink(attached('volume-1', 'lpar1'))
    assert operate('audit', '--fix', '--yes').code == 12
    assert len(novalink.mappings()) == 1


def test_fix_of_nothing_says_so(operate, attached):
    attached('volume-1', 'lpar1')
    outcome = operate('audit', '--fix')
    assert (outcome.code, outcome.err) == (
        0, 'There are no orphans to remove.\nNo problems found.\n')


class AttachedMeanwhile(Fault):
    """Before a request, somebody else attaches the orphan's file, for which the orphan goes."""

    def __init__(self, act, number, **kwargs):
        super().__init__(times=None, **kwargs)
        object.__setattr__(self, 'act', act)
        object.__setattr__(self, 'countdown', iter([False] * (number - 1) + [True]))

    def on_request(self, exchange):
        if next(self.countdown, False):
            self.act()


@pytest.mark.parametrize(('number', 'method'), [(2, 'GET'), (1, 'POST')],
                         ids=['after it was shown', 'after it was read again'])
def test_fix_makes_sure_again_under_the_write(operate, novalink, orphan, number, method):
    connector = pfc.FileIOConnector('sudo', adapter=novalink.adapter(),
                                    lpar_uuid=novalink.lpars[0].uuid)
    novalink.faults.add(AttachedMeanwhile(
        lambda: connector.connect_volume({'path': orphan}), number, method=method,
        path=f'/VirtualIOServer/{novalink.vios_uuid}'))
    outcome = operate('audit', '--fix', '--yes')
    assert outcome.code == 12
    assert 'not removed: it is no orphan any more' in outcome.out
    assert [mapping.lpar_uuid for mapping in novalink.mappings()] == [novalink.lpars[0].uuid]


def test_a_wild_card_is_no_orphan(changed_world, attached):
    attached('volume-1', 'lpar1')
    with changed_world(has_client=False, slot=65535, lpar_uuid=None) as (host, operate):
        assert operate('audit', '--fix', '--yes', '-f', 'json').json == []
        assert len(host.mappings()) == 1
        assert [disk['lpar'] for disk in operate('list', '-f', 'json').json] == ['(any)']


@pytest.mark.parametrize('novalink', [{'recording': 'fake_vios_ssp_npiv.txt'}], indirect=True)
def test_recorded_orphans_of_other_storage_are_left_alone(operate, novalink):
    before = novalink.mappings()
    assert any(mapping.is_orphan for mapping in before)
    operate('audit', '--fix', '--yes')
    assert [mapping for mapping in before if mapping.kind != 'file'] == [
        mapping for mapping in novalink.mappings() if mapping.kind != 'file']


@pytest.fixture
def document(novalink, orphan):
    """The document of a host with one orphan."""
    writer = client_for(conf.Settings(), novalink.adapter()).committer(novalink.vios_uuid)
    return writer.read_table(Deadline(30))


def test_an_orphan_whose_lpar_is_there_is_not_removed(novalink, document, orphan):
    [shown] = document.of_paths([orphan])
    linked = shown.record = dataclasses.replace(shown.record, lpar_uuid=LPAR)
    document.lpars = {LPAR: 5, **{one.uuid: one.id for one in novalink.state.partitions()}}
    assert RemoveOrphans((linked,)).apply(document).records == ()


def test_an_orphan_is_removed_in_turn_with_other_edits_of_its_file(document, orphan):
    [shown] = document.of_paths([orphan])
    edit = RemoveOrphans((shown.record,))
    assert edit.keys & AddMapping(LPAR, f'/{orphan}').keys


def test_novalink_refusing_to_remove_orphans_is_told(operate, novalink, orphan):
    novalink.faults.add(InternalError500(method='POST', times=99))
    outcome = operate('audit', '--fix', '--yes')
    assert outcome.code == ExitCode.REFUSED
    assert f'NovaLink says of {orphan}: ' in outcome.err
    assert len(novalink.mappings()) == 1


def test_a_removed_orphan_that_is_still_shown_is_not_removed(document, orphan):
    [shown] = document.of_paths([orphan])
    edit = RemoveOrphans((shown.record,))
    with pytest.raises(NotConfirmed, match='still shows the orphan'):
        edit.result(document, Change(Outcome.CHANGED, (shown.record,)))


def disk(path='/mnt/a/volume-1', health=None, **fields):
    return Disk(MappingRecord(kind='file', path=path, **fields), 'lpar1', health)


def test_an_orphan_whose_lpar_exists_is_incomplete():
    incomplete = disk(is_orphan=True, lpar_uuid=LPAR)
    [finding] = audit_checks.check_client(incomplete, {LPAR: 2})
    assert (finding.what, finding.is_fixable) == ('incomplete', False)
    [finding] = audit_checks.check_client(incomplete, {})
    assert (finding.what, finding.is_fixable) == ('orphan', True)


def test_an_lpar_that_novalink_does_not_list_is_found():
    [finding] = audit_checks.check_client(disk(lpar_uuid=LPAR), {})
    assert finding.what == 'unknown LPAR'
    assert audit_checks.check_client(disk(lpar_uuid=LPAR), {LPAR: 2}) == []


@pytest.mark.parametrize(('file', 'mount', 'what'), [
    ('unknown', 'hung', 'mount hung'), ('unknown', 'stale', 'mount stale'),
    ('present', 'read-only', 'mount read-only'), ('unsafe', 'healthy', 'file unsafe'),
    ('unsafe', 'absent', 'not mounted')])
def test_each_problem_of_a_file_has_a_name(file, mount, what):
    [finding] = audit_checks.check_file(disk(health=FileHealth(file, mount)))
    assert finding.what == what
