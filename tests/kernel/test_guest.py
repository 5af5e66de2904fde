# SPDX-License-Identifier: Apache-2.0
"""What a Linux on Power sees of the disks that the connector attaches, by ibmvscsi.

The simulator takes the place of NovaLink, and QEMU that of PowerVM: the mappings that the
connector made decide which disks the guest is started with.
"""

import os
import pathlib
import subprocess

import pytest
from oslo_config import cfg

import powervm_fileio_connector as pfc
from powervm_fileio_connector.simulator import NovaLinkSimulator
from tests.kernel import apt
from tests.kernel.guest import packages
from tests.kernel.guest import partition

pytestmark = pytest.mark.guest

SIZE = 1 << 20


@pytest.fixture(scope='session')
def made():
    try:
        return packages.get()
    except apt.NotAvailable as reason:
        pytest.skip(f'no Power guest here: {reason}')


class Owner:
    """The LPAR's owner, who attaches volumes and starts it."""

    def __init__(self, novalink, made, directory):
        self.novalink = novalink
        self._made = made
        self._directory = directory
        (directory / 'conf').write_text(
            f'[powervm_fileio]\ntrusted_directories = {directory}\n')
        conf = cfg.ConfigOpts()
        conf(['--config-file', str(directory / 'conf')], project='powervm-fileio')
        self.uuid = novalink.lpars[0].uuid
        self.connector = pfc.factory('file', None, adapter=novalink.adapter(),
                                     lpar_uuid=self.uuid, conf=conf)

    def volume(self, marker):
        """Make a raw volume that begins with its own name, and return its properties."""
        path = self._directory / marker
        path.write_bytes(marker.encode().ljust(SIZE, b'\0'))
        return {'path': str(path), 'format': 'raw'}

    def image(self, marker):
        """Make a qcow2 volume with these contents, and return its properties."""
        raw = pathlib.Path(self.volume(f'{marker}-raw')['path'])
        raw.write_bytes(marker.encode().ljust(SIZE, b'\0'))
        path = raw.with_name(marker)
        subprocess.run([*apt.command(self._made.tools, 'qemu-img'), 'convert', '-f', 'raw', '-O',
                        'qcow2', raw, path], check=True)
        return {'path': str(path), 'format': 'qcow2'}

    def start(self):
        return partition.started(self._made, self.novalink.mappings(self.uuid), self._directory)


@pytest.fixture
def owner(made, tmp_path):
    with NovaLinkSimulator(lpars=1) as novalink:
        yield Owner(novalink, made, tmp_path)


def _expected(markers, infos):
    return sorted((info['slot'], int(info['lua'].removeprefix('lun')), marker)
                  for marker, info in zip(markers, infos, strict=True))


def _seen(guest):
    return [(disk.slot, disk.lun, disk.marker) for disk in guest.disks()]


def test_guest_sees_each_volume_at_the_address_that_device_info_names(owner):
    markers = ['third', 'first', 'second']
    infos = [owner.connector.connect_volume(owner.volume(marker)) for marker in markers]
    markers.append('image')
    infos.append(owner.connector.connect_volume(owner.image('image')))
    markers.append('last')
    # The last that ibmvscsi finds on a target.
    infos.append(owner.connector.connect_volume(
        owner.volume('last') | {'slot': infos[0]['slot'], 'lua': 'lun31'}))
    with owner.start() as guest:
        print(guest.kernel)
        assert _seen(guest) == _expected(markers, infos)


def test_guest_sees_the_new_size_after_extend_and_a_rescan(owner):
    volume = owner.volume('grows')
    info = owner.connector.connect_volume(volume)
    with owner.start() as guest:
        assert [disk.size for disk in guest.disks()] == [SIZE]
        os.truncate(volume['path'], 3 * SIZE)
        size = owner.connector.extend_volume(volume)
        guest.resize(info['lua'], size)
        guest.rescan()
        assert [disk.size for disk in guest.disks()] == [3 * SIZE]


def test_detached_volume_is_gone_after_a_restart_and_the_others_keep_their_addresses(owner):
    markers = ['kept', 'goes', 'stays']
    volumes = [owner.volume(marker) for marker in markers]
    infos = [owner.connector.connect_volume(volume) for volume in volumes]
    with owner.start() as guest:
        assert _seen(guest) == _expected(markers, infos)
    owner.connector.disconnect_volume(volumes[1], infos[1])
    del markers[1], infos[1]
    with owner.start() as guest:
        assert _seen(guest) == _expected(markers, infos)


def test_rebuilt_lpar_sees_the_same_volumes_at_the_same_addresses(owner):
    markers = ['root', 'data', 'logs']
    volumes = [owner.volume(marker) for marker in markers]
    infos = [owner.connector.connect_volume(volume) for volume in volumes]
    owner.novalink.recreate_lpar(owner.uuid)
    # In another order than before.
    for volume, info in reversed(list(zip(volumes, infos, strict=True))):
        again = owner.connector.connect_volume(volume | {'slot': info['slot'], 'lua': info['lua']})
        assert again == info
    with owner.start() as guest:
        assert _seen(guest) == _expected(markers, infos)
