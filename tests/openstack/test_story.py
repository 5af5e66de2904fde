# SPDX-License-Identifier: Apache-2.0
"""The life of a volume between a real Cinder, the commands, and NovaLink."""

import os
import pathlib
import shutil
import signal
import subprocess
import threading

import pytest

from powervm_fileio_connector.simulator import Fault
from tests import effort

BOTH = pytest.mark.parametrize('backend', ['nfs', 'gpfs'])


def is_detached(cloud, volume, novalink):
    return (cloud.volume(volume).status, cloud.attachments(volume),
            novalink.mappings()) == ('available', [], [])


@BOTH
def test_a_volume_is_attached_refused_to_others_and_detached(cloud, cinder, novalink, backend):
    volume = cloud.create(backend, name='data')
    first = cinder('attach', 'data', '--lpar', 'lpar1', '-f', 'json')
    assert first.code == 0, first
    now = cloud.volume(volume)
    [shown] = now.attachments
    assert (now.status, shown['host_name'], shown['server_id']) == ('in-use', 'neo-1', None)
    [mapping] = novalink.mappings()
    assert (mapping.tag, mapping.path) == (volume.id, first.json['path'])
    assert mapping.path in cloud.files()
    assert cinder('attach', volume.id, '--lpar', 'lpar1', '-f', 'json').json == first.json
    for arguments in ({}, {'host': 'neo-2'}):
        refused = cinder('attach', 'data', '--lpar', 'lpar2', **arguments)
        assert refused.code == 8, refused
    assert len(cloud.attachments(volume)) == len(novalink.mappings()) == 1
    assert cinder('audit').code == 0
    assert cinder('detach', 'data').code == 0
    assert is_detached(cloud, volume, novalink)
    assert cinder('detach', 'data').code == 0


def test_a_gpfs_volume_grows_while_it_is_attached(cloud, cinder, novalink):
    volume = cloud.create('gpfs')
    cinder('attach', volume.id, '--lpar', 'lpar1')
    outcome = cinder('extend', volume.id, '--size', 2, '-f', 'json')
    assert (outcome.code, outcome.json['size_bytes']) == (0, 2 << 30), outcome
    assert (cloud.volume(volume).size, cloud.volume(volume).status) == (2, 'in-use')
    assert float(novalink.mappings()[0].capacity_gb) == 2
    assert cinder('detach', volume.id).code == 0


def test_an_nfs_volume_is_refused_to_grow_before_cinder_is_asked(cloud, cinder):
    volume = cloud.create('nfs')
    cinder('attach', volume.id, '--lpar', 'lpar1')
    outcome = cinder('extend', volume.id, '--size', 2)
    assert (outcome.code, 'Nothing was changed' in outcome.err) == (9, True), outcome
    assert (cloud.volume(volume).size, cloud.volume(volume).status) == (1, 'in-use')
    assert cinder('detach', volume.id).code == 0


def test_a_gpfs_volume_is_snapshot_while_it_is_attached(cloud, admin, cinder, novalink):
    volume = cloud.create('gpfs')
    cinder('attach', volume.id, '--lpar', 'lpar1')
    snapshot = cloud.wait(admin.create_snapshot(volume_id=volume.id, is_forced=True))
    assert cinder('audit').code == 0
    copy = cloud.create('gpfs', snapshot_id=snapshot.id)
    assert cinder('attach', copy.id, '--lpar', 'lpar2').code == 0
    for one in (copy, volume):
        assert cinder('detach', one.id).code == 0
    admin.delete_snapshot(snapshot)
    admin.wait_for_delete(snapshot, 0.3, 60)
    for left in pathlib.Path('/gpfs/cinder').glob('snapshot-*'):
        pytest.fail(f'{left} is left')


@BOTH
@pytest.mark.skipif(not shutil.which('qemu-img'), reason='needs qemu-img')
def test_a_volume_that_is_made_from_a_snapshot_is_attached(cloud, admin, cinder, novalink, backend):
    snapshot = cloud.wait(admin.create_snapshot(volume_id=cloud.create(backend).id))
    copy = cloud.create(backend, snapshot_id=snapshot.id)
    assert cinder('attach', copy.id, '--lpar', 'lpar1').code == 0
    assert cinder('audit').code == 0
    assert cinder('detach', copy.id).code == 0
    assert is_detached(cloud, copy, novalink)
    admin.delete_snapshot(snapshot)
    admin.wait_for_delete(snapshot, 0.3, 60)


@pytest.mark.skipif(not shutil.which('qemu-img'), reason='needs qemu-img')
def test_an_attached_nfs_volume_stays_as_it_is_when_nova_does_not_help_with_a_snapshot(
        cloud, admin, cinder, novalink):
    volume = cloud.create('nfs')
    cinder('attach', volume.id, '--lpar', 'lpar1')
    before = novalink.mappings()[0].path
    snapshot = admin.create_snapshot(volume_id=volume.id, is_forced=True)
    admin.wait_for_status(snapshot, 'error', [], 0.3, 60)
    assert [mapping.path for mapping in novalink.mappings()] == [before]
    assert cinder('audit').code == 0
    assert cinder('detach', volume.id).code == 0
    admin.delete_snapshot(snapshot)
    admin.wait_for_delete(snapshot, 0.3, 60)
    # Cinder leaves the overlay that it made for the snapshot.
    pathlib.Path(f'{before}.{snapshot.id}').unlink()


@pytest.mark.skipif(not shutil.which('qemu-img'), reason='needs qemu-img')
def test_an_nfs_volume_that_a_snapshot_renamed_while_attached_is_found_and_detached(
        cloud, admin, cinder, novalink, keystone):
    volume = cloud.create('nfs')
    cinder('attach', volume.id, '--lpar', 'lpar1')
    keystone.has_snapshots = True
    snapshot = cloud.wait(admin.create_snapshot(volume_id=volume.id, is_forced=True))
    keystone.has_snapshots = False
    outcome = cinder('audit', '-f', 'json')
    [finding] = outcome.json
    assert (outcome.code, finding['finding'], finding['volume']) == (12, 'other file', volume.id)
    assert f'volume-{volume.id}.{snapshot.id}' in finding['detail']
    assert cinder('detach', volume.id).code == 0
    assert is_detached(cloud, volume, novalink)
    admin.delete_snapshot(snapshot)
    admin.wait_for_delete(snapshot, 0.3, 60)


@pytest.mark.skipif(not shutil.which('qemu-img'), reason='needs qemu-img')
def test_an_overlay_of_an_nfs_snapshot_is_attached_by_option(cloud, admin, cinder, novalink):
    volume = cloud.create('nfs')
    snapshot = cloud.wait(admin.create_snapshot(volume_id=volume.id))
    refused = cinder('attach', volume.id, '--lpar', 'lpar1')
    assert refused.code == 5, refused
    assert is_detached(cloud, volume, novalink)
    outcome = cinder('attach', volume.id, '--lpar', 'lpar1', '-f', 'json',
                     config='qcow2_backing = same-directory')
    assert outcome.code == 0, outcome
    assert outcome.json['path'].endswith(f'volume-{volume.id}.{snapshot.id}')
    assert outcome.json['backstore'] == 'user:qcow'
    assert cinder('detach', volume.id).code == 0
    admin.delete_snapshot(snapshot)
    admin.wait_for_delete(snapshot, 0.3, 60)


@pytest.mark.skipif(not shutil.which('qemu-img'), reason='needs qemu-img')
def test_a_qcow2_header_that_a_guest_wrote_below_an_overlay_is_refused(cloud, admin, cinder,
                                                                      novalink):
    volume = cloud.create('nfs')
    [base] = cloud.files()
    subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', f'{base}.other', '1M'], check=True)
    header = pathlib.Path(f'{base}.other').read_bytes()[:512]
    pathlib.Path(f'{base}.other').unlink()
    # Before the header, which Cinder itself would take for an image's.
    snapshot = cloud.wait(admin.create_snapshot(volume_id=volume.id))
    with open(base, 'r+b') as file:
        file.write(header)
    refused = cinder('attach', volume.id, '--lpar', 'lpar1',
                     config='qcow2_backing = same-directory')
    assert refused.code == 5, refused
    assert is_detached(cloud, volume, novalink)
    with open(base, 'r+b') as file:
        file.write(bytes(len(header)))
    admin.delete_snapshot(snapshot)
    admin.wait_for_delete(snapshot, 0.3, 60)


@BOTH
def test_device_info_alone_detaches_the_disk(cloud, cinder, novalink, backend):
    import powervm_fileio_connector as pfc

    volume = cloud.create(backend)
    info = cinder('attach', volume.id, '--lpar', 'lpar1', '-f', 'json').json
    connector = pfc.factory('file', 'sudo', adapter=novalink.adapter())
    connector.disconnect_volume({}, info)
    assert novalink.mappings() == []
    assert cinder('detach', volume.id).code == 0
    assert is_detached(cloud, volume, novalink)


@BOTH
def test_os_bricks_factory_attaches_by_cinders_own_connection_info(cloud, admin, novalink, cinder,
                                                                   backend):
    from os_brick.initiator import connector as brick

    import powervm_fileio_connector as pfc

    volume = cloud.create(backend)
    attachment = admin.create_attachment(volume.id)
    attachment = admin.update_attachment(attachment.id, connector={'host': 'neo-1'})
    pfc.register()
    connector = brick.InitiatorConnector.factory(
        'file', 'sudo', adapter=novalink.adapter(), lpar_uuid=novalink.lpars[0].uuid)
    info = connector.connect_volume(attachment.connection_info)
    assert info['path'] in cloud.files()
    connector.disconnect_volume(attachment.connection_info, info)
    admin.delete_attachment(attachment.id)
    assert is_detached(cloud, volume, novalink)


ATTACH = [('POST', '/attachments'), ('PUT', '/attachments/'), ('POST', '/action')]
# Which back end it is makes no difference to a crash, so that one is enough for each moment.
CRASH = pytest.mark.parametrize(('backend', 'moment'), effort.of(
    [('nfs', 'before'), ('gpfs', 'after')],
    [(backend, moment) for backend in ('nfs', 'gpfs') for moment in ('before', 'after')]))


@CRASH
@pytest.mark.parametrize(('method', 'path'), ATTACH, ids=['reserve', 'connect', 'complete'])
def test_attach_goes_on_after_it_was_killed(cloud, cinder, killed_at, novalink, backend, moment,
                                            method, path):
    volume = cloud.create(backend)
    assert killed_at(moment, method, path, 'attach', volume.id, '--lpar', 'lpar1')
    outcome = cinder('attach', volume.id, '--lpar', 'lpar1')
    assert outcome.code == 0, outcome
    [attachment] = cloud.attachments(volume)
    assert (attachment.status, cloud.volume(volume).status, len(novalink.mappings())) == (
        'attached', 'in-use', 1)
    assert cinder('audit').code == 0
    assert cinder('detach', volume.id).code == 0
    assert is_detached(cloud, volume, novalink)


@pytest.mark.parametrize('moment', ['before', 'after'])
@pytest.mark.parametrize(('method', 'path'), ATTACH, ids=['reserve', 'connect', 'complete'])
def test_detach_ends_an_attach_that_was_killed(cloud, cinder, killed_at, novalink, moment, method,
                                               path):
    volume = cloud.create('gpfs')
    assert killed_at(moment, method, path, 'attach', volume.id, '--lpar', 'lpar1')
    outcome = cinder('detach', volume.id)
    assert outcome.code == 0, outcome
    assert is_detached(cloud, volume, novalink)


@CRASH
def test_detach_goes_on_after_it_was_killed(cloud, cinder, killed_at, novalink, backend, moment):
    volume = cloud.create(backend)
    cinder('attach', volume.id, '--lpar', 'lpar1')
    assert killed_at(moment, 'DELETE', '/attachments/', 'detach', volume.id)
    assert novalink.mappings() == []
    assert cinder('detach', volume.id).code == 0
    assert is_detached(cloud, volume, novalink)


@pytest.mark.parametrize('name', ['attach', 'detach'])
def test_a_command_killed_while_novalink_changes_is_gone_on_with(cloud, cinder, start, novalink,
                                                                 name):
    reached, goes_on = threading.Event(), threading.Event()

    class Hold(Fault):
        def on_request(self, exchange):
            reached.set()
            assert goes_on.wait(60)

    volume = cloud.create('gpfs')
    arguments = ('attach', volume.id, '--lpar', 'lpar1')
    if name == 'detach':
        cinder(*arguments)
        arguments = ('detach', volume.id)
    novalink.faults.add(Hold(times=1, method='POST'))
    child, _ = start(*arguments)
    assert reached.wait(60)
    os.kill(child.pid, signal.SIGKILL)
    child.wait(60)
    goes_on.set()
    outcome = cinder(*arguments)
    assert outcome.code == 0, outcome
    assert len(cloud.attachments(volume)) == len(novalink.mappings()) == (name == 'attach')
    assert cinder('audit').code == 0
    assert cinder('detach', volume.id).code == 0


def test_an_audit_finds_each_disagreement(cloud, admin, cinder, novalink, operate_novalink):
    volumes = {name: cloud.create('gpfs', name=name) for name in ('elsewhere', 'none', 'unmapped')}
    for name in volumes:
        assert cinder('attach', name, '--lpar', 'lpar1').code == 0
    for name in ('elsewhere', 'none'):
        [attachment] = cloud.attachments(volumes[name])
        admin.delete_attachment(attachment.id)
    other = admin.create_attachment(volumes['elsewhere'].id)
    admin.update_attachment(other.id, connector={'host': 'neo-2', 'mountpoint': '/dev/vdb'})
    admin.complete_attachment(other.id)
    operate_novalink('detach', volumes['unmapped'].id)
    outcome = cinder('audit', '-f', 'json')
    assert outcome.code == 12, outcome
    assert {(one['finding'], one['volume']) for one in outcome.json} == {
        ('attached elsewhere', volumes['elsewhere'].id), ('no attachment', volumes['none'].id),
        ('not mapped', volumes['unmapped'].id)}
    # Each is set right by what the finding says.
    assert cinder('detach', 'elsewhere').code == 0
    assert cinder('detach', 'elsewhere', host='neo-2').code == 0
    assert cinder('attach', 'none', '--lpar', 'lpar1').code == 0
    assert cinder('detach', 'none').code == 0
    assert cinder('detach', 'unmapped').code == 0
    assert cinder('audit').code == 0


def test_an_attachment_that_names_an_instance_is_novas(cloud, admin, cinder, keystone, novalink):
    volume = cloud.create('gpfs')
    instance = '11111111-2222-3333-4444-555555555555'
    attachment = admin.create_attachment(volume.id, instance=instance)
    admin.update_attachment(attachment.id, connector={'host': 'neo-1'})
    admin.complete_attachment(attachment.id)
    keystone.attachments[volume.id] = attachment.id
    for arguments in (('attach', volume.id, '--lpar', 'lpar1'), ('detach', volume.id)):
        outcome = cinder(*arguments)
        assert (outcome.code, instance in outcome.err) == (8, True), outcome
    assert len(cloud.attachments(volume)) == 1
    keystone.attachments.clear()
    admin.delete_attachment(attachment.id)
