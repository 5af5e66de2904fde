# SPDX-License-Identifier: Apache-2.0
"""Mappings whose paths lead to no file any more, since what was mounted there was unmounted."""

import os

import pytest
from oslo_config import cfg

import powervm_fileio_connector as pfc
from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector import host
from tests.host.conftest import write

NAME = 'volume-1d4c7f0e-9a1b-4c52-8e39-5b6f2a7c1d80'


@pytest.fixture
def connectors(novalink, tmp_path):
    """One connector for each of two LPARs."""
    config = cfg.ConfigOpts()
    conf.read(config)
    config.set_override('mount_point_base', [str(tmp_path / 'nova')], group=conf.GROUP)
    config.set_override('probe_timeout_s', 5.0, group=conf.GROUP)
    return [pfc.FileIOConnector(None, adapter=novalink.adapter(), conf=config, lpar_uuid=lpar.uuid)
            for lpar in novalink.lpars[:2]]


@pytest.fixture
def share(mounter, tmp_path):
    share = mounter.tmpfs('nas1:/vols', tmp_path / 'nas')
    (share / 'cinder').mkdir()
    write(share / f'cinder/{NAME}')
    return share


def bind(mounter, share, tmp_path):
    return mounter.bind(share / 'cinder', tmp_path / 'bound')


def bind_of_the_whole(mounter, share, tmp_path):
    return mounter.bind(share, tmp_path / 'bound') / 'cinder'


def bind_on_another_share(mounter, share, tmp_path):
    mounter.tmpfs('nas2:/other', tmp_path / 'other')
    return mounter.bind(share / 'cinder', tmp_path / 'other/bound')


def bind_over_a_file_of_the_same_name(mounter, share, tmp_path):
    (tmp_path / 'bound').mkdir()
    write(tmp_path / f'bound/{NAME}')
    return mounter.bind(share / 'cinder', tmp_path / 'bound')


def bind_that_becomes_a_symlink(mounter, share, tmp_path):
    return mounter.bind(share / 'cinder', tmp_path / 'bound')


@pytest.fixture(params=[bind, bind_of_the_whole, bind_on_another_share,
                        bind_over_a_file_of_the_same_name, bind_that_becomes_a_symlink])
def unmounted(request, connectors, mounter, share, tmp_path):
    """Attach a file to the first LPAR by a path, and unmount what that path goes by."""
    place = request.param(mounter, share, tmp_path)
    info = connectors[0].connect_volume({'path': f'{place}/{NAME}'})
    bound = place if os.path.ismount(place) else place.parent
    mounter.unmount(bound)
    if request.param is bind_that_becomes_a_symlink:
        bound.rmdir()
        bound.symlink_to(share / 'cinder')
    return info


@pytest.mark.parametrize('lpar', [0, 1])
def test_a_file_that_may_be_mapped_by_an_unmounted_path_is_refused(
        connectors, novalink, share, unmounted, lpar):
    with pytest.raises(exceptions.VolumeInUse, match='may be the file that is mapped') as caught:
        connectors[lpar].connect_volume({'path': f'{share}/cinder/{NAME}'})
    assert unmounted['path'] in str(caught.value)
    assert [mapping.path for mapping in novalink.mappings()] == [unmounted['path']]


def test_a_detach_of_what_may_be_mapped_by_an_unmounted_path_is_no_success(
        connectors, novalink, share, unmounted):
    with pytest.raises(exceptions.MappingFailed, match='may be the same file') as caught:
        connectors[0].disconnect_volume({'path': f'{share}/cinder/{NAME}'}, None)
    assert unmounted['path'] in str(caught.value)
    connectors[1].disconnect_volume({'path': f'{share}/cinder/{NAME}'}, None)
    assert len(novalink.mappings()) == 1
    connectors[0].disconnect_volume({'path': f'{share}/cinder/{NAME}'}, unmounted)
    assert novalink.mappings() == []
    connectors[1].connect_volume({'path': f'{share}/cinder/{NAME}'})


def test_a_volume_with_an_id_of_its_own_is_attached_beside_an_unmounted_one(
        connectors, novalink, mounter, share, tmp_path):
    other = write(mounter.tmpfs('nas2:/vols', tmp_path / 'other') / NAME)
    first = {'path': f'{share}/cinder/{NAME}', 'volume_id': 'one'}
    info = connectors[0].connect_volume(first)
    mounter.unmount(share)
    second = {'path': str(other), 'volume_id': 'two'}
    connectors[1].connect_volume(second)
    connectors[0].disconnect_volume({**second, 'lpar_uuid': info['lpar_uuid']}, None)
    assert len(novalink.mappings()) == 2


def test_a_name_without_a_uuid_says_nothing_about_an_unmounted_path(
        connectors, novalink, mounter, share, tmp_path):
    write(share / 'cinder/disk1')
    bound = mounter.bind(share / 'cinder', tmp_path / 'bound')
    other = write(mounter.tmpfs('nas2:/vols', tmp_path / 'other') / 'disk1')
    connectors[0].connect_volume({'path': f'{bound}/disk1'})
    mounter.unmount(bound)
    connectors[0].disconnect_volume({'path': str(other)}, None)
    connectors[1].connect_volume({'path': str(other)})
    assert len(novalink.mappings()) == 2


def test_multiattach_takes_a_file_that_may_be_mapped_elsewhere(
        connectors, novalink, share, unmounted):
    connectors[1].connect_volume({'path': f'{share}/cinder/{NAME}', 'multiattach': True})
    assert len(novalink.mappings()) == 2


def test_files_of_one_name_on_mounts_that_answer_are_told_apart(
        connectors, novalink, mounter, share, tmp_path):
    places = [mounter.tmpfs(f'nas1:/{name}', tmp_path / name) for name in ('one', 'two', 'three')]
    for lpar, place in enumerate(places):
        connectors[lpar % 2].connect_volume({'path': str(write(place / NAME))})
    assert len(novalink.mappings()) == 3
    for place in places * 2:
        for connector in connectors:
            connector.disconnect_volume({'path': f'{place}/{NAME}'}, None)
    assert novalink.mappings() == []


def test_a_hung_share_with_a_file_of_the_same_name_refuses_nothing(
        connectors, novalink, fuse_share, share):
    hung = fuse_share('nas3:/vols')
    connectors[0].connect_volume({'path': f'{hung.place}/{NAME}'})
    hung.tell('hang')
    connectors[1].connect_volume({'path': f'{share}/cinder/{NAME}'})
    assert len(novalink.mappings()) == 2
    hung.die()


def test_a_symlink_leads_elsewhere_where_it_ends_at_another_file(
        share, mounter, tmp_path, settings, prober):
    other = write(mounter.tmpfs('nas2:/vols', tmp_path / 'other') / NAME)
    (tmp_path / 'link').symlink_to(other.parent)
    paths = [f'{tmp_path}/link/{NAME}', f'{tmp_path}/link/../link/{NAME}',
             f'{tmp_path}/link/gone']

    def leading_elsewhere(own):
        return [host.leading_elsewhere([path], [own], settings, prober=prober) is not None
                for path in paths]

    assert leading_elsewhere(f'{share}/cinder/{NAME}') == [True, True, False]
    assert leading_elsewhere(str(other)) == [False, False, False]
