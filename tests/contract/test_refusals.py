# SPDX-License-Identifier: Apache-2.0
"""Bad input: the error of the contract, with nothing changed at NovaLink."""

import uuid

import pytest

import powervm_fileio_connector as pfc
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.simulator import NovaLinkSimulator


@pytest.mark.parametrize(('properties', 'error', 'said'), [
    ({}, exceptions.InvalidConnectionProperties, 'path'),
    ({'path': ''}, exceptions.InvalidConnectionProperties, 'path'),
    ({'path': 'volume-1'}, exceptions.InvalidConnectionProperties, 'absolute'),
    ({'export': 'nas1:/vols', 'name': ''}, exceptions.InvalidConnectionProperties, 'name'),
    ({'export': 'nas1:/vols', 'name': '../x'}, exceptions.UnsafeVolumePath, r'\.\./x'),
    ({'export': 'nas1:/vols', 'name': 'x'}, exceptions.ShareNotMounted, 'nas1:/vols'),
    ({'export': 'quobyte://reg1/vols', 'name': 'x'}, exceptions.ShareNotMounted,
     'quobyte://reg1/vols is not in the mount table'),
    ({'path': '/dev/shm/gone/volume-1'}, exceptions.VolumeFileNotFound, '/dev/shm/gone'),
    ({'path': '/etc/passwd'}, exceptions.UnsafeVolumePath, '/etc/passwd'),
    ({'path': '/proc/self/environ'}, exceptions.UnsafeVolumePath, '/proc'),
    ({'path': '/dev/shm'}, exceptions.FileIOConnectorError, '/dev/shm'),
    ({'path': '/dev/shm/x', 'encrypted': True}, exceptions.UnsupportedVolume, 'encrypted')])
def test_bad_properties_are_refused_with_nothing_changed(connector, novalink, properties, error,
                                                         said):
    with pytest.raises(error, match=said):
        connector.connect_volume(properties)
    assert novalink.requests.count('POST') == 0


def test_an_unknown_lpar_is_named(connector, novalink, make_volume):
    unknown = str(uuid.uuid4()).upper()
    with pytest.raises(exceptions.LPARNotFound, match=unknown) as caught:
        connector.connect_volume({'path': make_volume(), 'lpar_uuid': unknown})
    assert str(caught.value).startswith('Cannot attach volume ')
    assert novalink.mappings() == []


def test_no_lpar_is_refused(novalink, config, make_volume):
    connector = pfc.FileIOConnector('sudo', adapter=novalink.adapter(), conf=config)
    with pytest.raises(exceptions.InvalidConnectionProperties, match='lpar_uuid'):
        connector.connect_volume({'path': make_volume()})
    with pytest.raises(exceptions.InvalidConnectionProperties, match='lpar_uuid'):
        connector.disconnect_volume({'path': '/dev/shm/volume-1'}, None)


def test_a_volume_of_which_nothing_is_known_cannot_be_detached(connector):
    with pytest.raises(exceptions.InvalidConnectionProperties):
        connector.disconnect_volume({}, None)


def test_an_empty_file_is_refused(connector, make_volume):
    with pytest.raises(exceptions.UnsafeVolumePath, match='empty'):
        connector.connect_volume({'path': make_volume(size=0)})


@pytest.mark.parametrize('call', ['attach', 'detach', 'extend'])
def test_a_management_partition_that_is_no_io_server_is_said_so(config, make_volume, call):
    with NovaLinkSimulator(lpars=1, mgmt_is_io_server=False) as novalink:
        connector = pfc.FileIOConnector('sudo', adapter=novalink.adapter(), conf=config,
                                        lpar_uuid=novalink.lpars[0].uuid)
        act = {'attach': connector.connect_volume,
               'detach': lambda volume: connector.disconnect_volume(volume, None),
               'extend': connector.extend_volume}[call]
        with pytest.raises(exceptions.NovaLinkNotIOServer, match='not an I/O server'):
            act({'path': make_volume()})
        assert novalink.requests.count('POST') == 0
        assert novalink.requests.count('GET', path='ViosSCSIMapping') == 0


@pytest.mark.parametrize(('force', 'ignore_errors'), [
    (False, False), (True, False), (False, True)])
def test_an_unreachable_server_is_never_gone(novalink, config, make_volume, force, ignore_errors):
    config.set_override('rest_timeout_s', 1.0, group='powervm_fileio')
    connector = pfc.FileIOConnector('sudo', adapter=novalink.adapter(), conf=config,
                                    lpar_uuid=novalink.lpars[0].uuid)
    volume = {'path': make_volume()}
    info = connector.connect_volume(volume)
    novalink.stop()
    with pytest.raises(exceptions.NovaLinkUnavailable):
        connector.disconnect_volume(volume, info, force=force, ignore_errors=ignore_errors)


def test_forced_and_ignored_errors_are_logged(novalink, config, make_volume, caplog):
    config.set_override('rest_timeout_s', 1.0, group='powervm_fileio')
    connector = pfc.FileIOConnector('sudo', adapter=novalink.adapter(), conf=config,
                                    lpar_uuid=novalink.lpars[0].uuid)
    volume = {'path': make_volume()}
    info = connector.connect_volume(volume)
    novalink.stop()
    connector.disconnect_volume(volume, info, force=True, ignore_errors=True)
    assert 'the mapping may remain' in caplog.text


def test_a_refusal_names_the_act_the_volume_and_the_lpar(connector, novalink, volume_id):
    volume = {'path': '/dev/shm/x', 'encrypted': True, 'volume_id': volume_id}
    lpar = novalink.lpars[0].uuid
    for act, words in ((connector.connect_volume, f'attach volume {volume_id} to LPAR {lpar}'),
                       (connector.extend_volume, f'extend volume {volume_id} of LPAR {lpar}')):
        with pytest.raises(exceptions.UnsupportedVolume) as caught:
            act(volume)
        assert str(caught.value).startswith(f'Cannot {words}: the volume is encrypted')
        assert (caught.value.kwargs['volume'], caught.value.kwargs['lpar']) == (volume_id, lpar)


def test_a_refused_connection_is_said_in_a_few_words(novalink, config, make_volume):
    config.set_override('rest_timeout_s', 1.0, group='powervm_fileio')
    adapter = novalink.adapter()
    novalink.stop()
    connector = pfc.FileIOConnector('sudo', adapter=adapter, conf=config,
                                    lpar_uuid=novalink.lpars[0].uuid)
    with pytest.raises(exceptions.NovaLinkUnavailable) as caught:
        connector.connect_volume({'path': make_volume()})
    assert caught.value.kwargs['reason'].endswith('/uom/VirtualIOServer: Connection refused')


def test_an_error_names_a_volume_with_braces_in_its_name_as_it_is(connector, novalink, make_volume):
    path = make_volume('volume-{0}-{name}')
    connector.connect_volume({'path': path})
    with pytest.raises(exceptions.VolumeInUse) as caught:
        connector.connect_volume({'path': path, 'lpar_uuid': novalink.lpars[1].uuid})
    assert str(caught.value).startswith(f'Cannot attach volume {path} to LPAR ')
