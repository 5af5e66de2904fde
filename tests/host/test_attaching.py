# SPDX-License-Identifier: Apache-2.0
"""Whole attaches and detaches, from what Cinder hands over to a mapping, on real mounts."""

import concurrent.futures
import hashlib
import os
import re
import shutil
import subprocess
import threading

import pytest
from lxml import etree
from oslo_config import cfg

import powervm_fileio_connector as pfc
from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from tests import shapes
from tests.host.conftest import write

FUSE_TYPES = {'quobyte': 'quobyte@reg1.example.com', 'vzstorage': 'vstorage://cluster1'}


@pytest.fixture
def config(tmp_path):
    config = cfg.ConfigOpts()
    conf.read(config)
    config.set_override('mount_point_base', [str(tmp_path / 'nova')], group=conf.GROUP)
    config.set_override('probe_timeout_s', 5.0, group=conf.GROUP)
    return config


@pytest.fixture
def connector(novalink, config):
    return pfc.FileIOConnector('sudo', adapter=novalink.adapter(), conf=config,
                               lpar_uuid=novalink.lpars[0].uuid)


@pytest.fixture
def place(tmp_path):
    """Where Nova mounts an export."""
    def place(export):
        return tmp_path / 'nova' / hashlib.md5(export.encode()).hexdigest()
    return place


@pytest.fixture
def served(mounter, fuse_share, place, tmp_path):
    """Make a driver's volume exist; return what is to be overlaid on its data, and its path."""
    def served(kind):
        volume_type, data, _ = shapes.DRIVERS[kind]
        if volume_type in FUSE_TYPES:
            share = fuse_share(FUSE_TYPES[volume_type], place(data['export']), volume_type)
            return {'name': 'volume-1'}, share.place / 'volume-1'
        if 'export' in data:
            mounter.tmpfs(data['export'], place(data['export']))
            path = place(data['export']) / data['name']
            if data.get('format') == 'qcow2':
                subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', path, '1M'], check=True)
                return {}, path
            return {}, write(path)
        path = tmp_path / f'gpfs{data["device_path"]}'
        mounter.tmpfs('gpfs1', path.parent)
        return {'device_path': str(path)}, write(path)
    return served


class Text(str):
    """A text of another type than ``str`` itself."""


@pytest.mark.parametrize('make', [Text, lambda text: etree.fromstring(
    f'<text>{text}</text>').xpath('string()')], ids=['subclass', 'lxml'])
def test_texts_of_other_types_are_taken_everywhere(novalink, config, mounter, tmp_path, make):
    path = str(write(mounter.tmpfs('gpfs1', tmp_path / 'gpfs') / 'volume-1'))
    volume = {'path': make(path), 'volume_id': make('id')}
    connector = pfc.FileIOConnector('sudo', adapter=novalink.adapter(), conf=config,
                                    lpar_uuid=make(novalink.lpars[0].uuid))
    info = connector.connect_volume(volume)
    assert connector.get_volume_paths(volume) == [path]
    assert connector.check_valid_device(make(path))
    assert connector.get_all_available_volumes(volume) == [path]
    assert connector.extend_volume(volume) == os.path.getsize(path)
    connector.disconnect_volume(volume, {key: make(value) if isinstance(value, str) else value
                                         for key, value in info.items()})
    assert novalink.mappings() == []


@pytest.mark.parametrize('layer', shapes.LAYERS)
@pytest.mark.parametrize('kind', [kind for kind, (volume_type, _, _) in shapes.DRIVERS.items()
                                  if volume_type != 'local'])
def test_every_driver_attaches_and_detaches_in_every_layer(connector, novalink, served, kind,
                                                           layer):
    if shapes.DRIVERS[kind][1].get('format') == 'qcow2' and not shutil.which('qemu-img'):
        pytest.skip('needs qemu-img')
    data, path = served(kind)
    volume = shapes.LAYERS[layer](kind, **data)
    info = connector.connect_volume(volume)
    assert [mapping.path for mapping in novalink.mappings()] == [info['path']] == [str(path)]
    assert connector.connect_volume(volume) == info
    connector.disconnect_volume(volume, info)
    assert novalink.mappings() == []


@pytest.mark.parametrize('layer', shapes.LAYERS)
@pytest.mark.parametrize(('change', 'error'), [
    ({'encrypted': True}, exceptions.UnsupportedVolume),
    ({'access_mode': 'ro'}, exceptions.UnsupportedVolume),
    ({'format': 'qcow2'}, exceptions.UnsafeVolumeFormat),
    ({'name': '../volume-1'}, exceptions.UnsafeVolumePath),
    ({'name': 'gone'}, exceptions.VolumeFileNotFound),
    ({'export': '192.0.2.99:/other'}, exceptions.ShareNotMounted)])
def test_what_is_unsafe_is_refused_in_every_layer(connector, novalink, served, layer, change,
                                                  error):
    served('nfs')
    with pytest.raises(error):
        connector.connect_volume(shapes.LAYERS[layer]('nfs', **change))
    assert novalink.requests.count('POST') == 0


@pytest.mark.parametrize('layer', shapes.LAYERS)
@pytest.mark.parametrize('kind', ['dsware', 'linstor'])
def test_devices_that_are_not_on_this_host_are_refused(connector, novalink, kind, layer):
    with pytest.raises((exceptions.VolumeFileNotFound, exceptions.ShareNotMounted)):
        connector.connect_volume(shapes.LAYERS[layer](kind))
    assert novalink.requests.count('POST') == 0


@pytest.mark.parametrize('layer', shapes.LAYERS)
def test_linstors_none_is_refused_by_name(connector, layer):
    with pytest.raises(exceptions.InvalidConnectionProperties, match='device_path'):
        connector.connect_volume(shapes.LAYERS[layer]('linstor', device_path='None'))


def test_a_ploop_directory_is_refused(connector, mounter, place):
    (mounter.tmpfs('cluster1', place('cluster1')) / 'volume-1').mkdir()
    with pytest.raises(exceptions.UnsafeVolumePath, match='directory'):
        connector.connect_volume({'export': 'cluster1', 'name': 'volume-1', 'format': 'iso'})


def test_a_raw_file_with_a_guests_qcow2_header_stays_raw(connector, novalink, mounter, tmp_path):
    share = mounter.tmpfs('nas1:/vols', tmp_path / 'share')
    header = (b'QFI\xfb' + (2).to_bytes(4, 'big') + (72).to_bytes(8, 'big')
              + (11).to_bytes(4, 'big') + (16).to_bytes(4, 'big') + (1 << 20).to_bytes(8, 'big')
              + bytes(40) + b'/etc/passwd')
    (share / 'volume-1').write_bytes(header.ljust(4096, b'\0'))
    volume = {'export': 'nas1:/vols', 'name': 'volume-1'}
    assert connector.connect_volume(volume)['backstore'] == 'loop'
    assert novalink.mappings()[0].backstore == 'loop'
    connector.disconnect_volume(volume, None)
    with pytest.raises(exceptions.UnsafeVolumeFormat):
        connector.connect_volume(volume | {'format': 'qcow2'})
    assert novalink.mappings() == []


def test_detach_works_after_the_share_is_unmounted(connector, novalink, mounter, place):
    export = '192.0.2.10:/exports/cinder'
    write(mounter.tmpfs(export, place(export)) / shapes.NAME)
    connector.connect_volume(shapes.data_only('nfs'))
    mounter.unmount(place(export))
    connector.disconnect_volume(shapes.data_only('nfs'), None)
    assert novalink.mappings() == []


def test_detach_by_name_alone_never_takes_another_exports_volume(connector, novalink, mounter,
                                                                 tmp_path):
    write(mounter.tmpfs('nas1:/one', tmp_path / 'one') / 'volume')
    connector.connect_volume({'export': 'nas1:/one', 'name': 'volume'})
    with pytest.raises(exceptions.MappingFailed, match=re.escape(f'{tmp_path}/one/volume')):
        connector.disconnect_volume({'export': 'nas1:/gone', 'name': 'volume'}, None)
    assert len(novalink.mappings()) == 1


def test_a_volume_of_the_same_name_on_another_export_is_told_apart(connector, novalink, mounter,
                                                                   tmp_path):
    for name in ('one', 'two'):
        write(mounter.tmpfs(f'nas1:/{name}', tmp_path / name) / 'volume')
        connector.connect_volume({'export': f'nas1:/{name}', 'name': 'volume'})
    for _ in range(2):
        connector.disconnect_volume({'export': 'nas1:/one', 'name': 'volume'}, None)
    [left] = novalink.mappings()
    assert left.path == str(tmp_path / 'two/volume')


def test_one_export_on_two_mount_points_is_one_volume(connector, novalink, mounter, tmp_path):
    first = mounter.tmpfs('nas1:/vols', tmp_path / 'one')
    write(first / 'volume-1')
    second = mounter.bind(first, tmp_path / 'two')
    info = connector.connect_volume({'path': str(first / 'volume-1')})
    assert connector.connect_volume({'path': str(second / 'volume-1')}) == info
    assert len(novalink.mappings()) == 1
    connector.disconnect_volume({'path': str(second / 'volume-1')}, None)
    assert novalink.mappings() == []


def test_a_hung_share_delays_no_other_share(novalink, config, fuse_share, mounter, tmp_path):
    config.set_override('probe_timeout_s', 60.0, group=conf.GROUP)
    connector = pfc.FileIOConnector('sudo', adapter=novalink.adapter(), conf=config,
                                    lpar_uuid=novalink.lpars[0].uuid)
    hung = fuse_share()
    hung.tell('hang')
    healthy = mounter.tmpfs('nas1:/vols', tmp_path / 'healthy')
    outcome = []

    def attach_hung():
        try:
            outcome.append(connector.connect_volume({'export': 'nas1:/export/a',
                                                     'name': 'volume-1'}))
        except exceptions.FileIOConnectorError as err:
            outcome.append(err)

    stuck = threading.Thread(target=attach_hung)
    stuck.start()
    hung.wait_until_it_holds_a_request()
    threads = [threading.Thread(target=connector.connect_volume, args=(
        {'path': str(write(healthy / f'volume-{i}'))},)) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(novalink.mappings()) == 20
    assert stuck.is_alive()
    hung.tell('stale')
    stuck.join()
    assert isinstance(outcome[0], exceptions.StaleMount)


def test_a_hung_share_costs_its_caller_one_deadline(novalink, config, fuse_share):
    config.set_override('probe_timeout_s', 0.5, group=conf.GROUP)
    connector = pfc.FileIOConnector('sudo', adapter=novalink.adapter(), conf=config,
                                    lpar_uuid=novalink.lpars[0].uuid)
    share = fuse_share()
    volume = {'export': 'nas1:/export/a', 'name': 'volume-1'}
    info = connector.connect_volume(volume)
    share.tell('hang')
    with pytest.raises(exceptions.MountNotResponding, match=r'did not answer within 0\.'):
        connector.connect_volume(volume)
    for device_info in (info, None):
        connector.disconnect_volume(volume, device_info)
        assert novalink.mappings() == []
    share.die()


def test_time_that_a_share_takes_is_not_taken_from_the_requests(novalink, config, fuse_share):
    config.set_override('rest_timeout_s', 1.5, group=conf.GROUP)
    connector = pfc.FileIOConnector('sudo', adapter=novalink.adapter(), conf=config,
                                    lpar_uuid=novalink.lpars[0].uuid)
    share = fuse_share()
    share.tell('hang')
    with concurrent.futures.ThreadPoolExecutor() as pool:
        attaching = pool.submit(connector.connect_volume,
                                {'export': 'nas1:/export/a', 'name': 'volume-1'})
        share.wait_until_it_holds_a_request()
        assert not concurrent.futures.wait([attaching], timeout=2).done
        share.tell('answer')
        assert attaching.result()['path'] == f'{share.place}/volume-1'


def test_a_swapped_symlink_never_leads_an_attach_out(connector, novalink, mounter, tmp_path):
    share = mounter.tmpfs('nas1:/vols', tmp_path / 'share')
    inside = write(share / 'inside')
    link = share / 'volume-1'
    link.symlink_to('inside')
    done = threading.Event()

    def swap():
        for i in range(10_000):
            (share / 'next').symlink_to('inside' if i % 2 else '/etc/shadow')
            os.rename(share / 'next', link)
        done.set()

    swapper = threading.Thread(target=swap)
    swapper.start()
    attached = refused = 0
    while not done.is_set() or not (attached and refused):
        try:
            info = connector.connect_volume({'export': 'nas1:/vols', 'name': 'volume-1'})
            assert info['path'] == str(inside)
            attached += 1
        except exceptions.UnsafeVolumePath:
            refused += 1
        if done.is_set():
            link.unlink()
            link.symlink_to('/etc/shadow' if attached else 'inside')
    swapper.join()
    assert {mapping.path for mapping in novalink.mappings()} == {str(inside)}
