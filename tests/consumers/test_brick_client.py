# SPDX-License-Identifier: Apache-2.0
"""A client of os-brick that knows our registration and the attachments API, and nothing else."""

import json
import os

import pytest
from os_brick.initiator import connector as brick

import powervm_fileio_connector as pfc


@pytest.fixture
def client(novalink, options):
    """A function that attaches, extends or detaches as such a client would."""
    pfc.register()
    yield BrickClient(novalink)
    pfc.unregister()


class BrickClient:
    def __init__(self, novalink):
        self.novalink = novalink
        self._connector = brick.InitiatorConnector.factory(
            'file', 'sudo', adapter=novalink.adapter(), lpar_uuid=novalink.lpars[0].uuid)

    def attach(self, volume):
        """Attach with what PUT /attachments/{id} answers; return what has to be stored."""
        connection_info = volume.connection_info()
        device = self._connector.connect_volume(connection_info)
        return json.dumps([connection_info, device])

    def extend(self, stored):
        connection_info, _ = json.loads(stored)
        return self._connector.extend_volume(connection_info)

    def detach(self, stored):
        self._connector.disconnect_volume(*json.loads(stored))


def test_a_brick_client_attaches_and_detaches_what_cinder_serves(client, volume):
    stored = client.attach(volume)
    [mapping] = client.novalink.mappings(client.novalink.lpars[0].uuid)
    assert os.path.basename(mapping.path) == f'volume-{volume.id}'
    client.detach(stored)
    assert client.novalink.mappings() == []


@pytest.mark.parametrize('kind', ['nfs', 'gpfs'])
def test_a_brick_client_sees_what_cinder_extended(client, request, kind):
    volume = request.getfixturevalue(f'make_{kind}_volume')()
    stored = client.attach(volume)
    volume.extend(2)
    assert client.extend(stored) == 2 << 30
    [mapping] = client.novalink.mappings()
    assert float(mapping.capacity_gb) == 2


def test_a_brick_client_detaches_a_volume_of_which_only_the_stored_device_is_left(
        client, make_nfs_volume, mounter, nfs_base):
    _, device = json.loads(client.attach(make_nfs_volume()))
    mounter.unmount(next(nfs_base.iterdir()))
    client.detach(json.dumps([{}, device]))
    assert client.novalink.mappings() == []
