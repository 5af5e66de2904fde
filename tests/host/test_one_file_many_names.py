# SPDX-License-Identifier: Apache-2.0
"""One file has many paths: whichever is used, it is one disk, of one LPAR."""

import errno
import os
import subprocess
import sys

import pytest
from oslo_config import cfg

import powervm_fileio_connector as pfc
from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector import host
from powervm_fileio_connector.attachments import Attachments
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.novalink import client_for
from powervm_fileio_connector.volume import VolumeSpec
from tests.host.conftest import write


@pytest.fixture
def config(tmp_path):
    config = cfg.ConfigOpts()
    conf.read(config)
    config.set_override('mount_point_base', [str(tmp_path / 'nova')], group=conf.GROUP)
    return config


@pytest.fixture
def connectors(novalink, config):
    """One connector for each of two LPARs."""
    return [pfc.FileIOConnector(None, adapter=novalink.adapter(), conf=config, lpar_uuid=lpar.uuid)
            for lpar in novalink.lpars[:2]]


def bind_directory(mounter, share, tmp_path):
    return mounter.bind(share / 'cinder', tmp_path / 'bound') / 'volume-1'


def nested_source(mounter, share, tmp_path):
    # Its source and root are those of kernel NFS: the directory is in the source alone.
    place = mounter.tmpfs('nas1:/vols/cinder', tmp_path / 'nested')
    return write(place / 'volume-1')


def symlink(mounter, share, tmp_path):
    (tmp_path / 'link').symlink_to(share / 'cinder')
    return tmp_path / 'link/volume-1'


@pytest.fixture
def share(mounter, tmp_path):
    share = mounter.tmpfs('nas1:/vols', tmp_path / 'nas')
    (share / 'cinder').mkdir()
    write(share / 'cinder/volume-1')
    return share


@pytest.fixture(params=[bind_directory, nested_source, symlink])
def paths(request, mounter, share, tmp_path):
    """Two paths of one file."""
    return [{'path': str(share / 'cinder/volume-1')},
            {'path': str(request.param(mounter, share, tmp_path))}]


@pytest.mark.parametrize('order', [1, -1])
def test_a_file_reaches_one_lpar_only_by_whatever_path(connectors, novalink, paths, order):
    first, second = paths[::order]
    info = connectors[0].connect_volume(first)
    with pytest.raises(exceptions.VolumeInUse):
        connectors[1].connect_volume(second)
    assert connectors[0].connect_volume(second) == info
    connectors[0].disconnect_volume(second, None)
    assert novalink.mappings() == []


def test_a_bound_file_is_no_path_to_attach_by(connectors, novalink, share, mounter, tmp_path):
    bound = write(tmp_path / 'bound')
    mounter.bind(share / 'cinder/volume-1', bound)
    connectors[0].connect_volume({'path': str(share / 'cinder/volume-1')})
    with pytest.raises(exceptions.UnsafeVolumePath, match=f'{share}/cinder/volume-1'):
        connectors[1].connect_volume({'path': str(bound)})
    connectors[0].disconnect_volume({'path': str(bound)}, None)
    assert novalink.mappings() == []


def test_an_attached_file_is_extended_by_a_path_that_it_is_bound_to(
        connectors, novalink, share, mounter, tmp_path):
    bound = write(tmp_path / 'bound')
    mounter.bind(share / 'cinder/volume-1', bound)
    connectors[0].connect_volume({'path': str(share / 'cinder/volume-1')})
    os.truncate(share / 'cinder/volume-1', 1 << 20)
    assert connectors[0].extend_volume({'path': str(bound)}) == 1 << 20


def test_a_file_that_is_bound_over_a_name_of_an_export_is_named(connectors, share, mounter):
    write(share / 'other')
    mounter.bind(share / 'other', share / 'cinder/volume-1')
    with pytest.raises(exceptions.UnsafeVolumePath, match=f'Attach the file as {share}/other'):
        connectors[0].connect_volume({'path': str(share / 'cinder/volume-1')})
    mounter.bind(share / 'other', write(share / 'volume-1'))
    with pytest.raises(exceptions.UnsafeVolumePath, match=f'Attach the file as {share}/other'):
        connectors[0].connect_volume({'export': 'nas1:/vols', 'name': 'volume-1'})


def test_a_name_in_another_case_is_the_same_file_where_the_file_system_says_so(
        connectors, novalink, fuse_share):
    share = fuse_share()
    share.tell('any-case')
    paths = [{'path': f'{share.place}/{name}'} for name in ('volume-1', 'VOLUME-1')]
    info = connectors[0].connect_volume(paths[0])
    with pytest.raises(exceptions.VolumeInUse):
        connectors[1].connect_volume(paths[1])
    assert connectors[0].connect_volume(paths[1]) == info
    connectors[0].disconnect_volume(paths[1], None)
    assert novalink.mappings() == []


def test_a_file_of_two_ceph_fuse_is_one_by_what_the_cluster_knows_it_by(
        connectors, novalink, fuse_share, tmp_path):
    paths = [{'path': f'{fuse_share("ceph-fuse", tmp_path / place, "ceph-fuse").place}/volume-1'}
             for place in 'ab']
    info = connectors[0].connect_volume(paths[0])
    with pytest.raises(exceptions.VolumeInUse):
        connectors[1].connect_volume(paths[1])
    assert connectors[0].connect_volume(paths[1]) == info
    connectors[0].disconnect_volume(paths[1], None)
    assert novalink.mappings() == []


def test_a_name_in_another_case_is_another_file_elsewhere(share, settings, prober):
    path = write(share / 'volume-2')
    write(share / 'VOLUME-2')
    found = finder.find(VolumeSpec(path=str(path)), settings, prober=prober)
    assert not found.may_have_other_names


@pytest.mark.parametrize('locale', ['C', 'C.UTF-8'])
def test_a_name_is_the_same_bytes_in_every_locale(novalink, share, locale):
    write(share / 'é')
    write(share / 'Ã©')      # what é is in Latin-1
    code = f"""
import powervm_fileio_connector as pfc
from pypowervm import adapter
session = adapter.Session(host='localhost', port={novalink.port}, protocol='http',
                          username='test', password='any')
connector = pfc.FileIOConnector(None, adapter=adapter.Adapter(session),
                                lpar_uuid='{novalink.lpars[0].uuid}')
properties = {{'export': 'nas1:/vols', 'name': '\\xe9'}}
info = connector.connect_volume(properties)
assert connector.connect_volume({{'path': info['path']}}) == info
connector.disconnect_volume(properties, None)
assert connector.connect_volume(properties) == info
"""
    subprocess.run([sys.executable, '-X', 'utf8=0', '-c', code], check=True, timeout=120,
                   env=os.environ | {'LC_ALL': locale, 'PYTHONCOERCECLOCALE': '0'})
    assert [mapping.path for mapping in novalink.mappings()] == [f'{share}/é']


def test_a_hard_link_is_the_same_file(novalink, share, settings, prober):
    os.link(share / 'cinder/volume-1', share / 'other-name')
    attachments = Attachments(settings, prober, client_for(settings, novalink.adapter()))

    def attach(path, lpar):
        return attachments.carry_out(attachments.plan_attach(VolumeSpec(
            path=str(path), lpar_uuid=novalink.lpars[lpar].uuid)))

    info = attach(share / 'cinder/volume-1', 0)
    with pytest.raises(exceptions.VolumeInUse):
        attach(share / 'other-name', 1)
    assert attach(share / 'other-name', 0) == info
    attachments.carry_out(attachments.plan_detach(VolumeSpec(
        path=str(share / 'other-name'), lpar_uuid=novalink.lpars[0].uuid)))
    assert novalink.mappings() == []


def test_two_names_of_a_file_that_are_attached_at_once_go_to_one_lpar_at_most(
        novalink, share, settings, prober):
    os.link(share / 'cinder/volume-1', share / 'other-name')
    attachments = Attachments(settings, prober, client_for(settings, novalink.adapter()))
    plans = [attachments.plan_attach(VolumeSpec(path=str(path), lpar_uuid=lpar.uuid))
             for path, lpar in zip((share / 'cinder/volume-1', share / 'other-name'),
                                   novalink.lpars, strict=True)]
    info = attachments.carry_out(plans[0])
    with pytest.raises(exceptions.VolumeInUse, match='which is the same file'):
        attachments.carry_out(plans[1])
    assert [mapping.path for mapping in novalink.mappings()] == [info.path]
    attachments.carry_out(attachments.plan_detach(VolumeSpec(
        path=info.path, lpar_uuid=novalink.lpars[0].uuid)))
    results = attachments.carry_out_all(plans)
    assert len(novalink.mappings()) <= 1
    assert [type(result) for result in results].count(exceptions.VolumeInUse) >= 1


def test_a_name_is_told_by_where_it_leads_however_it_is_spelled(share, settings, prober):
    path = share / 'cinder/volume-1'
    os.link(path, share / 'second')
    (share / 'cinder/up').symlink_to('.')
    found = finder.find(VolumeSpec(path=str(path)), settings, prober=prober)
    names = [f'{share.parent}//{share.name}/second', f'{share}/cinder/../second',
             f'{share}/cinder/../cinder/volume-1', f'{share}/cinder/up/volume-1',
             f'{share}/cinder/../third']
    assert host.names_among(found, names, prober=prober).same == tuple(names[:4])


def test_names_of_one_inode_are_found_among_others(share, settings, prober):
    path = share / 'cinder/volume-1'
    os.link(path, share / 'second')
    write(share / 'third')
    found = finder.find(VolumeSpec(path=str(path)), settings, prober=prober)
    assert found.may_have_other_names
    assert host.names_among(found, [str(share / 'second'), str(share / 'third'), '/gone/x'],
                            prober=prober) == ((str(share / 'second'),), ())


class Failing(probe.Prober):
    """A prober one of whose answers, about a file of this name, is another."""

    def __init__(self, name, **answer):
        super().__init__(timeout_s=20)
        self.name = name
        self.answer = answer

    def probe_all(self, requests, deadline=None):
        return [answer if os.path.basename(request.path) != self.name
                else probe.Answer(**self.answer)
                for request, answer in zip(requests, super().probe_all(requests, deadline),
                                           strict=True)]


@pytest.mark.parametrize(('answer', 'words'), [
    ({'errno': errno.EACCES, 'root_helper_failure': 'sudo: timed out'}, 'sudo: timed out'),
    ({'failure': 'this process cannot start a thread'}, 'cannot start a thread'),
    ({'errno': errno.ENFILE}, 'shortage of this host'),
    ({'is_hung': True, 'is_from_root_helper': True}, 'did not answer'),
    ({'errno': errno.EPERM, 'is_from_root_helper': True}, None),
    ({'errno': errno.ENOENT}, None),
    ({'refusal': probe.Refusal('path', 'it is a directory')}, None),
])
@pytest.mark.parametrize('multiattach', [False, True])
def test_a_mapped_path_that_may_be_the_file_is_no_other_file(novalink, share, settings, prober,
                                                             answer, words, multiattach):
    os.link(share / 'cinder/volume-1', share / 'other-name')
    client = client_for(settings, novalink.adapter())

    def attach(prober, path, lpar):
        attachments = Attachments(settings, prober, client)
        return attachments.carry_out(attachments.plan_attach(VolumeSpec(
            path=str(path), lpar_uuid=novalink.lpars[lpar].uuid, multiattach=multiattach)))

    attach(prober, share / 'cinder/volume-1', 0)
    failing = Failing('volume-1', **answer)
    if words is None:
        attach(failing, share / 'other-name', 1)
        return
    with pytest.raises(exceptions.MountNotResponding, match=words) as caught:
        attach(failing, share / 'other-name', 1)
    assert f'{share}/cinder/volume-1' in str(caught.value)
    assert len(novalink.mappings()) == 1


def test_dots_behind_a_symlink_are_no_other_path(connectors, novalink, share, tmp_path):
    (share / 'sub').mkdir()
    (share / 'sub/deep').mkdir()
    write(share / 'sub/volume-1')
    (share / 'cinder/link').symlink_to('../sub/deep')
    info = connectors[0].connect_volume({'path': str(share / 'cinder/volume-1')})
    climbing = {'path': f'{share}/cinder/link/../volume-1'}
    with pytest.raises(exceptions.FileIOConnectorError):
        connectors[0].connect_volume(climbing)
    spec = VolumeSpec(path=climbing['path'])
    assert host.candidate_paths(spec, conf.Settings()) == ()
    assert [mapping.path for mapping in novalink.mappings()] == [info['path']]
