# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio cinder audit``, with a stand-in of Cinder."""

import os
import shutil
import subprocess
import sys
import time
import uuid

import pytest

from powervm_fileio_connector.simulator import NovaLinkSimulator
from powervm_fileio_connector.simulator.state import State
from tests import cinder_api

HOST = 'neo-1'


@pytest.fixture
def cinder(operate, cloud, tmp_path):
    """Run a command of the group, as host neo-1, with the credentials of the cloud."""
    def cinder(name, *args, **kwargs):
        return operate('cinder', name, *args, '--host', HOST, environment={
            **cloud.environment(), 'XDG_STATE_HOME': str(tmp_path)}, **kwargs)
    return cinder


@pytest.fixture
def attached(cinder, cloud, make_volume):
    """Attach a new volume to lpar1; return it."""
    def attach(name):
        path = make_volume(f'volume-{name}')
        volume = cloud.add_volume(name, {'driver_volume_type': 'gpfs', 'name': f'volume-{name}',
                                         'device_path': path})
        outcome = cinder('attach', name, '--lpar', 'lpar1')
        assert outcome.code == 0, outcome
        return volume
    return attach


@pytest.fixture
def only_finding(cinder):
    """Run an audit that finds one thing, and return that."""
    def audit(*args):
        outcome = cinder('audit', *args, '-f', 'json')
        assert outcome.code == 12, outcome
        [finding] = outcome.json
        return finding
    return audit


def attachment_of(cloud, volume):
    [attachment] = [one for one in cloud.attachments.values()
                    if one['volume_id'] == volume['id']]
    return attachment


def test_what_was_attached_by_command_is_agreed_upon(cinder, cloud, attached):
    attached('a')
    changes = cloud.changes()
    outcome = cinder('audit')
    assert (outcome.code, outcome.out, outcome.err) == (0, '', 'NovaLink and Cinder agree.\n')
    assert cloud.changes() == changes


def test_a_volume_that_another_host_has_is_found(cloud, attached, only_finding):
    volume = attached('a')
    attachment_of(cloud, volume).update(_host='neo-2', _device='/dev/vdb')
    finding = only_finding()
    assert (finding['finding'], finding['attached_to']) == ('attached elsewhere', 'neo-2')
    assert (finding['host'], finding['volume'], finding['lpar']) == (HOST, volume['id'], 'lpar1')


@pytest.mark.parametrize('fate', ['available', 'deleted'])
def test_a_disk_without_an_attachment_is_found(cloud, attached, only_finding, fate):
    volume = attached('a')
    cloud.attachments.clear()
    volume['status'] = 'available'
    if fate == 'deleted':
        cloud.volumes.clear()
    finding = only_finding()
    assert (finding['finding'], finding['path']) == ('no attachment',
                                                     volume['_info']['device_path'])
    assert ('available' if fate == 'available' else 'deleted') in finding['detail']


def test_an_attachment_without_a_disk_is_found(operate, attached, only_finding, novalink):
    volume = attached('a')
    assert operate('detach', volume['_info']['device_path']).code == 0
    finding = only_finding()
    assert (finding['finding'], finding['lpar']) == ('not mapped', 'lpar1')


def test_a_volume_of_another_kind_on_this_host_is_no_finding(cinder, cloud):
    volume = cloud.add_volume('x', {'driver_volume_type': 'iscsi', 'target_lun': 1})
    cloud.attach(volume, HOST)
    assert cinder('audit').code == 0


def test_a_file_that_cinder_calls_otherwise_is_found(cloud, attached, only_finding):
    volume = attached('a')
    path = volume['_info']['device_path'] + '.snapshot'
    attachment_of(cloud, volume)['connection_info'].update(device_path=path, name='overlay')
    finding = only_finding()
    assert finding['finding'] == 'other file'
    assert path in finding['detail']


def test_a_disk_of_another_lpar_is_found(cinder, cloud, attached, only_finding, novalink):
    volume = attached('a')
    attachment_of(cloud, volume)['_device'] = (
        f'powervm-fileio:{HOST}:{novalink.lpars[1].uuid}')
    assert only_finding()['finding'] == 'other LPAR'


@pytest.mark.parametrize('status', ['detaching', 'error_extending'])
def test_a_volume_that_is_stuck_is_found(attached, only_finding, status):
    volume = attached('a')
    volume['status'] = status
    finding = only_finding()
    assert (finding['finding'], finding['volume']) == ('state', volume['id'])
    assert status in finding['detail']


def test_a_state_of_this_very_moment_is_no_finding(cinder, attached):
    volume = attached('a')
    volume.update(status='detaching',
                  updated_at=time.strftime('%Y-%m-%dT%H:%M:%S.000000', time.gmtime()))
    assert cinder('audit').code == 0


def test_what_members_may_not_see_is_said(cinder, cloud, attached):
    attached('a')
    other = cloud.add_volume('b', {'driver_volume_type': 'gpfs', 'device_path': '/x', 'name': 'x'})
    cloud.attach(other, 'neo-2')
    cloud.is_admin = False
    outcome = cinder('audit', '--all-projects')
    assert outcome.code == 0, outcome
    assert 'only project' in outcome.err
    assert 'Of 1 attachments' in outcome.err


def test_volumes_of_all_projects_are_seen_by_administrators(cinder, attached):
    volume = attached('a')
    volume['os-vol-tenant-attr:tenant_id'] = 'f' * 32
    assert cinder('audit').code == 12
    assert cinder('audit', '--all-projects').code == 0


def test_what_a_crash_left_unfinished_is_found(cinder, cloud, make_volume, only_finding):
    path = make_volume('volume-a')
    cloud.add_volume('a', {'driver_volume_type': 'gpfs', 'name': 'volume-a', 'device_path': path})
    cloud.faults += [cinder_api.Fault('PUT', 'attachments/', times=1),
                     cinder_api.Fault('DELETE', 'attachments/', times=1)]
    assert cinder('attach', 'a', '--lpar', 'lpar1').code == 14
    finding = only_finding()
    assert finding['finding'] == 'state'
    assert 'cinder attach' in finding['detail']


def test_a_note_about_a_finished_attachment_is_no_finding(cinder, attached, tmp_path):
    volume = attached('a')
    note = tmp_path / 'powervm-fileio' / 'cinder' / f'{volume["id"]}.json'
    note.write_text('{"attachment_id": "gone", "lpar_uuid": "", "was_mapped": false}')
    assert cinder('audit').code == 0


@pytest.fixture
def calls_for(tmp_path):
    """Run a command; return its system calls that name a directory or have a descriptor in it."""
    def calls_for(directory, *arguments, environment=None):
        trace = tmp_path / 'trace'
        subprocess.run(
            ['strace', '-f', '-y', '-s', '0', '-e', 'trace=%file,%desc', '-o', trace, *arguments],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=300,
            env={**os.environ, **(environment or {})})
        return [line for line in trace.read_text().splitlines() if directory in line]
    return calls_for


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which('strace'), reason='strace is not installed')
def test_an_audit_asks_no_share(command, cloud, attached, novalink, calls_for, only_finding,
                                tmp_path):
    volume = attached('a')
    directory = os.path.dirname(volume['_info']['device_path'])
    # The file that Cinder names is compared with the one that is mapped, by the mount table.
    attachment_of(cloud, volume)['connection_info'].update(
        driver_volume_type='nfs', export='nas1:/vols', name='volume-a')
    del attachment_of(cloud, volume)['connection_info']['device_path']
    assert only_finding()['finding'] == 'other file'
    assert calls_for(directory, 'sh', '-c', f'stat {directory}; true') != []
    # It ends with 12, so it has compared the files.
    audit = f'{command} cinder audit --host {HOST} --simulator {novalink.url}; test $? = 12'
    assert calls_for(directory, 'sh', '-c', audit, environment={
        **cloud.environment(), 'XDG_STATE_HOME': str(tmp_path)}) == []


# A process begins with the peak memory of the one that starts it: a small one has to.
MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


@pytest.mark.slow
def test_an_audit_of_5000_attachments_and_3000_disks_is_quick_and_small(
        command, cloud, tmp_path):
    """At most 10 s and 300 MiB of a process of its own, and no request for each volume."""
    state = NovaLinkSimulator(lpars=60, mappings=6000).state.snapshot()
    state['mappings'] = [one for one in state['mappings'] if one['kind'] == 'file']
    assert len(state['mappings']) == 3000
    for number in range(5000):
        path = f'/var/lib/pvm/fileio/seed-{2 * number:05d}'
        volume = cloud.add_volume('', {'driver_volume_type': 'gpfs', 'device_path': path,
                                       'name': os.path.basename(path), 'encrypted': False})
        mapping = state['mappings'][number] if number < 3000 else {'lpar_uuid': str(uuid.uuid4())}
        host = HOST if number < 3000 else 'neo-2'
        cloud.attach(volume, host, f'powervm-fileio:{host}:{mapping["lpar_uuid"]}')
        mapping['tag'] = volume['id']
    with NovaLinkSimulator(state=State.from_snapshot(state)) as sim:
        process = subprocess.run(
            [sys.executable, '-c', MEASURE, command, 'cinder', 'audit', '--host', HOST,
             '--simulator', sim.url],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, **cloud.environment(), 'XDG_STATE_HOME': str(tmp_path)})
    assert process.returncode == 0, process.stdout
    *said, figures = process.stdout.splitlines()
    assert said == ['NovaLink and Cinder agree.']
    assert len([line for line in cloud.requests if '/detail' in line]) <= 12
    cpu_s, kib = map(float, figures.split())
    print(f'{cpu_s:.1f} s of CPU, {kib / 1024:.0f} MiB')
    # Other tests have the processors as well, so the time of a processor counts.
    assert cpu_s <= 10
    assert kib <= 300 * 1024
