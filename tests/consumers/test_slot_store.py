# SPDX-License-Identifier: Apache-2.0
"""Slot maps in Swift: nova-powervm's own store and the real client, with a stand-in of Swift."""

import os
import subprocess
import sys

import pytest

pytest.importorskip('nova_powervm', reason='nova-powervm is not installed')
pytest.importorskip('swiftclient', reason="Swift's client is not installed")

from nova_powervm.virt.powervm import driver as powervm_driver
from nova_powervm.virt.powervm import slot
from nova_powervm.virt.powervm.nvram import swift
from oslo_config import cfg

from powervm_fileio_connector.nova import slot_repair
from powervm_fileio_connector.nova import slots
from tests.consumers import swift_api


@pytest.fixture
def account():
    with swift_api.SwiftApi() as account:
        yield account


@pytest.fixture
def store(nova, account):
    """nova-powervm's own store, not yet made to take bytes."""
    for name, value in {'swift_password': 'secret', 'swift_auth_url': f'{account.url}/v3'}.items():
        cfg.CONF.set_override(name, value, group='powervm')
    yield swift.SwiftNvramStore()
    for name in ('swift_password', 'swift_auth_url'):
        cfg.CONF.clear_override(name, group='powervm')


def test_nova_powervms_own_store_saves_no_map_under_python_3(one, store, make_volumes):
    """What :func:`slots.take_bytes` is for; where this fails it is needless."""
    one.slot_maps = one.driver.store_api = store
    with pytest.raises(TypeError, match='not bytes'):
        one.create(make_volumes(1))


def test_the_driver_has_its_store_take_bytes(one, store, monkeypatch):
    def setup(driver):
        driver.store_api = store

    monkeypatch.setattr(powervm_driver.PowerVMDriver, '_setup_rebuild_store', setup)
    one.driver._setup_rebuild_store()
    one.driver.store_api.store_slot_map('key', b'\x80\x02')
    assert store.fetch_slot_map('key') == 'gAI='


def test_slots_are_kept_in_swift_from_spawn_to_destroy(one, two, store, account, make_volumes):
    for host in (one, two):
        host.slot_maps = host.driver.store_api = store
    slots.take_bytes(store)
    server = one.create(make_volumes(2))
    assert one.disagreement(server) is None
    before = one.places(server)
    two.evacuate(server)
    assert two.places(server) == before
    one.clean_up_evacuated(server)
    two.delete(server)
    assert account.containers == {'powervm_nvram': {}}


def test_the_repair_command_repairs_the_maps_in_swift(one, store, account, make_volumes, tmp_path):
    one.slot_maps = one.driver.store_api = slots.take_bytes(store)
    server, other = (one.create(make_volumes(2)) for _ in range(2))
    spoilt = slot.build_slot_mgr(server.instance, store)
    spoilt._reg_slot('VDisk', 'd15c0000-0000-3000-8000-000000000000', 7, extra_spec='lun1')
    spoilt.save()
    assert one.disagreement(server) is not None
    config = tmp_path / 'nova.conf'
    config.write_text(f"""
[DEFAULT]
host = neo-1
[powervm]
nvram_store = swift
swift_password = secret
swift_auth_url = {account.url}/v3
[powervm_fileio]
novalink_host = 127.0.0.1
novalink_port = {one.novalink.port}
novalink_protocol = http
novalink_username = nova
novalink_password = secret
""")
    command = [sys.executable, '-W', 'ignore', '-m', 'powervm_fileio_connector.nova.slot_repair',
               '--config-file', str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False,
                          env={**os.environ, 'HOME': str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert dict(line.split(': ', 1) for line in done.stdout.splitlines()) == {
        server.instance.uuid: 'dropped disk d15c0000-0000-3000-8000-000000000000 from slot 7, '
                              'LUA lun1',
        other.instance.uuid: 'needs no repair'}
    assert slot_repair.repair_host(one.driver.adapter, store) == {
        server.instance.uuid: [], other.instance.uuid: []}
    assert one.disagreement(server) is None
    assert one.disagreement(other) is None


def test_the_repair_command_says_that_no_maps_are_saved(tmp_path):
    config = tmp_path / 'nova.conf'
    config.write_text('[powervm]\nnvram_store = none\n')
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-m', 'powervm_fileio_connector.nova.slot_repair',
         '--config-file', str(config)], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, 'nvram_store in [powervm] is none' in done.stderr) == (1, True)
