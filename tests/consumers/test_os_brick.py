# SPDX-License-Identifier: Apache-2.0
"""os-brick's own factory, and a client that knows nothing of us but the registration."""

import threading

import pytest
from os_brick import exception as brick_exception
from os_brick.initiator import connector as brick
from os_brick.initiator import initiator_connector
from os_brick.initiator.connectors import base

import powervm_fileio_connector as pfc

ARCHITECTURES = [None, 'x86_64', 'ppc64le', 'ppc64', 's390x', 's390', 'aarch64']


@pytest.fixture
def registered():
    pfc.register()
    yield
    pfc.unregister()


@pytest.mark.parametrize('arch', ARCHITECTURES)
@pytest.mark.parametrize('protocol', ['file', 'FILE', 'File'])
def test_os_bricks_factory_attaches_and_detaches(registered, novalink, make_volume, arch, protocol):
    lpar = novalink.lpars[0]
    connector = brick.InitiatorConnector.factory(
        protocol, 'sudo', arch=arch, adapter=novalink.adapter(), lpar_uuid=lpar.uuid)
    assert isinstance(connector, pfc.FileIOConnector)
    volume = {'path': make_volume()}
    info = connector.connect_volume(volume)
    assert [mapping.path for mapping in novalink.mappings(lpar.uuid)] == [volume['path']]
    connector.disconnect_volume(volume, info)
    assert novalink.mappings() == []


def test_without_registration_os_brick_does_not_know_us():
    with pytest.raises(brick_exception.InvalidConnectorProtocol):
        brick.InitiatorConnector.factory('file', 'sudo')


@pytest.mark.parametrize('arch', ARCHITECTURES)
def test_our_factory_needs_no_registration(arch):
    assert isinstance(pfc.factory('File', 'sudo', arch=arch), pfc.FileIOConnector)


def test_our_factory_hands_other_protocols_on():
    assert type(pfc.factory('nfs', 'sudo', nfs_mount_point_base='/mnt')).__module__ == (
        'os_brick.initiator.connectors.remotefs')
    with pytest.raises(brick_exception.InvalidConnectorProtocol):
        pfc.factory('tape', 'sudo')


def test_registration_may_be_repeated_and_undone_from_many_threads():
    before = {arch: dict(brick.get_connector_mapping(arch)) for arch in ARCHITECTURES}
    for act in (pfc.register, pfc.unregister):
        threads = [threading.Thread(target=act) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert before == {arch: brick.get_connector_mapping(arch) for arch in ARCHITECTURES}


def test_a_connector_of_another_package_is_left_in_its_place(monkeypatch):
    monkeypatch.setitem(brick.get_connector_mapping('x86_64'), 'FILE', 'somebody.else')
    pfc.register()
    pfc.unregister()
    assert brick.get_connector_mapping('x86_64')['FILE'] == 'somebody.else'


def test_the_whole_interface_of_os_brick_is_there():
    assert issubclass(pfc.FileIOConnector, base.BaseLinuxConnector)
    for name in initiator_connector.InitiatorConnector.__abstractmethods__ | {
            'set_execute', 'set_root_helper'}:
        assert name in vars(pfc.FileIOConnector), name
    assert pfc.FileIOConnector.get_connector_properties('sudo', multipath=False) == {}


def test_set_execute_reaches_every_part():
    def execute(*args, **kwargs):
        return '', ''
    connector = pfc.factory('file', 'sudo')
    connector.set_execute(execute)
    assert connector._linuxscsi._execute('true') == ('', '')
    assert connector._execute('true') == ('', '')


def test_set_root_helper_reaches_every_part():
    connector = pfc.factory('file', 'sudo')
    connector.set_root_helper('nova-rootwrap')
    assert connector._linuxscsi._root_helper == connector._root_helper == 'nova-rootwrap'
