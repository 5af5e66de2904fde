# SPDX-License-Identifier: Apache-2.0
"""Volumes of a real Cinder, attached by nova-powervm's driver through our adapter."""

import threading

import pytest

from tests.consumers.conftest import NovaHost
from tests.consumers.conftest import nova  # noqa: F401  a fixture
from tests.consumers.conftest import options  # noqa: F401  a fixture

pytest.importorskip('nova_powervm', reason='nova-powervm is not installed')


class NovasVolume:
    """A volume that Nova has attached in Cinder for an instance."""

    def __init__(self, cloud, volume, instance):
        self.id, self._admin, self._instance = volume.id, cloud.admin, instance

    def connection_info(self):
        """What Cinder answers when Nova tells it the host."""
        self.attachment = self._admin.create_attachment(self.id, instance=self._instance.uuid)
        return self._admin.update_attachment(
            self.attachment.id, connector={'host': 'neo-1'}).connection_info

    def complete(self, keystone):
        self._admin.complete_attachment(self.attachment.id)
        keystone.attachments[self.id] = self.attachment.id

    def delete_attachment(self, keystone):
        del keystone.attachments[self.id]
        self._admin.delete_attachment(self.attachment.id)


@pytest.fixture
def attached(nova, options, cloud, novalink, keystone):  # noqa: F811
    """Attach a new volume of a back end as nova-compute does; detach it at the end."""
    cleanups = []
    options('mount_point_base', ['/var/lib/cinder/mnt'])

    def attach(backend):
        host = NovaHost(novalink)
        instance = host.make_instance()
        volume = NovasVolume(cloud, cloud.create(backend), instance)
        bdm = host.attach(instance, volume)
        volume.complete(keystone)
        cleanups.append(lambda: volume.delete_attachment(keystone))
        cleanups.append(lambda: host.detach(instance, bdm))
        return host, instance, bdm, volume
    yield attach
    for clean in reversed(cleanups):
        clean()


@pytest.mark.parametrize('backend', ['nfs', 'gpfs'])
def test_nova_powervms_driver_attaches_by_cinders_own_connection_info(
        attached, cloud, cinder, novalink, backend):
    host, instance, _, volume = attached(backend)
    [mapping] = host.mappings(instance)
    assert mapping.tag == volume.id
    assert mapping.path in cloud.files()
    # What Nova has attached is as Cinder has it, and the commands leave it alone.
    assert cinder('audit').code == 0
    assert cinder('detach', volume.id).code == 8
    assert host.mappings(instance) == [mapping]


def test_cinders_event_has_the_instance_see_a_gpfs_volume_grow(attached, cloud, keystone):
    host, instance, bdm, volume = attached('gpfs')
    is_told = threading.Event()

    def nova_is_told(call):
        _, path, body = call
        if path.endswith('/os-server-external-events') and {
                'name': 'volume-extended', 'server_uuid': instance.uuid,
                'tag': volume.id}.items() <= body['events'][0].items():
            is_told.set()

    keystone.on_call = nova_is_told
    cloud.admin.extend_volume(volume.id, 2)
    assert is_told.wait(60)
    keystone.on_call = None
    host.extend(instance, bdm)
    [mapping] = host.mappings(instance)
    assert float(mapping.capacity_gb) == 2
