# SPDX-License-Identifier: Apache-2.0
"""Images as qemu-img makes them."""

import dataclasses
import os
import shutil
import subprocess

import pytest

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.attachments import Attachments
from powervm_fileio_connector.host import failures
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.novalink import client_for
from powervm_fileio_connector.volume import VolumeSpec

MIB = 1 << 20


@pytest.fixture
def share(mounter, tmp_path):
    return mounter.tmpfs('nas1:/vols', tmp_path / 'a')


@pytest.fixture
def create(share):
    """Make an image with qemu-img and return its name."""
    if shutil.which('qemu-img') is None:
        pytest.skip('needs qemu-img')

    def create(name, *arguments, size='8M', image_format='qcow2'):
        subprocess.run(['qemu-img', 'create', '-q', '-f', image_format, *arguments, name,
                        *([size] if size else [])], cwd=share, check=True)
        return name
    return create


@pytest.fixture
def find(settings, prober):
    def find(name, image_format='qcow2', backing='refuse'):
        return finder.find(
            VolumeSpec(export='nas1:/vols', name=name, format=image_format),
            dataclasses.replace(settings, qcow2_backing=backing), prober=prober)
    return find


@pytest.mark.parametrize('options', ['compat=1.1', 'compat=0.10', 'compat=1.1,lazy_refcounts=on',
                                     'cluster_size=64k', 'cluster_size=512'])
def test_a_safe_image_is_found_with_the_size_that_a_guest_sees(options, create, find):
    assert find(create('volume-1', '-o', options)).size == 8 * MIB


@pytest.mark.parametrize('options', [
    'cluster_size=128k', 'cluster_size=2M', 'compression_type=zstd', 'extended_l2=on'])
def test_an_image_that_tcmu_runner_cannot_read_is_unsafe(options, create, find):
    with pytest.raises(exceptions.UnsafeVolumeFormat):
        find(create('volume-1', '-o', options))


def test_a_raw_file_that_begins_like_a_qcow2_image_is_found_as_raw(create, share, find):
    create('volume-1', '-b', '/etc/passwd', '-F', 'raw')
    found = find('volume-1', 'raw')
    assert (found.format, found.size) == ('raw', (share / 'volume-1').stat().st_size)
    with pytest.raises(exceptions.UnsafeVolumeFormat, match='backing file'):
        find('volume-1')


def test_a_raw_file_declared_qcow2_is_refused(create, find):
    create('volume-1', image_format='raw')
    with pytest.raises(exceptions.UnsafeVolumeFormat, match='declared qcow2 but is none'):
        find('volume-1')


def test_a_backing_file_is_refused_unless_the_option_allows_it(create, find):
    create('base', image_format='raw')
    create('volume-1', '-b', 'base', '-F', 'raw')
    with pytest.raises(exceptions.UnsafeVolumeFormat, match='backing file'):
        find('volume-1')
    assert find('volume-1', backing='same-directory').size == 8 * MIB


@pytest.mark.parametrize('compat', ['compat=1.1', 'compat=0.10'])
def test_a_chain_of_plain_names_is_allowed(compat, create, find):
    create('base', image_format='raw')
    create('middle', '-o', compat, '-b', 'base', '-F', 'raw')
    create('volume-1', '-o', compat, '-b', 'middle', '-F', 'qcow2')
    assert find('volume-1', backing='same-directory').size == 8 * MIB


@pytest.mark.parametrize(('name', 'image_format', 'why'), [
    ('/etc/passwd', 'raw', 'no plain name'),
    ('./base', 'raw', 'no plain name'),
    ('../a/base', 'raw', 'no plain name'),
    ('..', 'raw', 'no plain name'),
    ('file:base', 'raw', 'no plain name'),
    ('nbd:localhost:10809', 'raw', 'no plain name'),
    ('json:{"driver":"raw","file":{"driver":"file","filename":"base"}}', 'raw', 'no plain name'),
    ('base', None, 'names None as the format'),
    ('base', 'vmdk', "names 'vmdk' as the format"),
    ('base', 'qcow2', 'declared qcow2 but is none'),
    ('gone', 'raw', 'does not exist'),
    ('link', 'raw', 'no regular file'),
    ('directory', 'raw', 'no regular file'),
    ('evil', 'qcow2', "backing file '/etc/passwd' of backing file 'evil'"),
    ('volume-1', 'qcow2', 'loops'),
    ('other', 'qcow2', 'loops'),
])
def test_a_backing_file_that_leads_elsewhere_or_must_be_guessed_is_refused(
        name, image_format, why, create, share, find):
    create('base', image_format='raw')
    (share / 'link').symlink_to('base')
    (share / 'directory').mkdir()
    create('evil', '-u', '-b', '/etc/passwd', '-F', 'raw')
    create('other', '-u', '-b', 'volume-1', '-F', 'qcow2')
    create('volume-1')
    # rebase -u writes what it is given without looking for the file.
    subprocess.run(['qemu-img', 'rebase', '-u', '-f', 'qcow2', '-b', name,
                    *(['-F', image_format] if image_format else []), 'volume-1'], cwd=share,
                   check=False, stderr=subprocess.DEVNULL)
    if image_format is None:
        forget_backing_format(share / 'volume-1', name)
    with pytest.raises(exceptions.UnsafeVolumeFormat, match=why):
        find('volume-1', backing='same-directory')


def forget_backing_format(image, name):
    """Name a backing file without its format, as old versions of qemu-img did."""
    data = bytearray(image.read_bytes())
    where = 0x8000
    data[where:where + len(name)] = name.encode()
    data[8:20] = where.to_bytes(8, 'big') + len(name).to_bytes(4, 'big')
    image.write_bytes(data)


@pytest.mark.parametrize('backing', ['refuse', 'same-directory'])
def test_an_external_data_file_is_always_refused(backing, create, find):
    create('volume-1', '-o', 'data_file=data')
    with pytest.raises(exceptions.UnsafeVolumeFormat, match='data file'):
        find('volume-1', backing=backing)


def test_unknown_features_are_refused(create, find):
    create('volume-1', '-o', 'extended_l2=on')
    with pytest.raises(exceptions.UnsafeVolumeFormat, match='features'):
        find('volume-1')


def test_an_encrypted_image_is_refused(create, share, find):
    create('volume-1')
    with open(share / 'volume-1', 'r+b') as image:
        image.seek(32)      # crypt_method, 2 for LUKS
        image.write((2).to_bytes(4, 'big'))
    with pytest.raises(exceptions.UnsupportedVolume, match='encrypted'):
        find('volume-1')


def test_a_truncated_image_is_refused(create, share, find):
    create('volume-1')
    with open(share / 'volume-1', 'r+b') as image:
        image.truncate(100)
    with pytest.raises(exceptions.UnsafeVolumeFormat):
        find('volume-1')


@pytest.fixture
def attachments(novalink, settings, prober):
    allowing = dataclasses.replace(settings, qcow2_backing='same-directory')
    return Attachments(allowing, prober, client_for(allowing, novalink.adapter()))


@pytest.fixture
def map_to(novalink, attachments):
    """Attach a file of the share to one of two LPARs."""
    def map_to(lpar, name, image_format='qcow2', **more):
        spec = VolumeSpec(
            export='nas1:/vols', name=name, format=image_format,
            backstore='user:qcow' if image_format == 'qcow2' else 'loop',
            lpar_uuid=novalink.lpars[lpar].uuid, **more)
        return attachments.carry_out(attachments.plan_attach(spec))
    return map_to


@pytest.fixture
def chain(create):
    """Make an image upon an image upon a raw file."""
    create('base', image_format='raw')
    create('middle', '-b', 'base', '-F', 'raw')
    create('volume-1', '-b', 'middle', '-F', 'qcow2')


@pytest.mark.parametrize('replaced', [0, 1, 2])
def test_a_link_of_a_chain_that_is_made_anew_is_another_also_with_the_same_inode_number(
        replaced, chain, find, settings, prober):
    found = find('volume-1', backing='same-directory')
    if None in found.handles:
        pytest.skip('tmpfs tells no handles here')
    settings = dataclasses.replace(settings, qcow2_backing='same-directory')
    finder.recheck(found, settings, prober=prober)
    assert len(found.handles) == 3
    handles = [*found.handles]
    handles[replaced] = '1:other'
    with pytest.raises(exceptions.UnsafeVolumePath, match='replaced by another file'):
        finder.recheck(dataclasses.replace(found, handles=tuple(handles)), settings, prober=prober)


@pytest.mark.parametrize('lpar', [0, 1])
@pytest.mark.parametrize('is_multiattach', [False, True])
@pytest.mark.parametrize(('name', 'image_format'), [('base', 'raw'), ('middle', 'qcow2')])
def test_a_backing_file_is_not_mapped_beside_an_image_on_it(
        name, image_format, is_multiattach, lpar, chain, share, map_to, novalink):
    info = map_to(0, 'volume-1')
    with pytest.raises(exceptions.VolumeInUse,
                       match=f'volume-1 is mapped to .*, and has {share}/{name} as a backing file'):
        map_to(lpar, name, image_format, multiattach=is_multiattach)
    assert [mapping.path for mapping in novalink.mappings()] == [f'{share}/volume-1']
    assert dataclasses.replace(map_to(0, 'volume-1'), is_new=info.is_new) == info


@pytest.mark.parametrize('lpar', [0, 1])
@pytest.mark.parametrize('is_multiattach', [False, True])
@pytest.mark.parametrize(('name', 'image_format'), [('base', 'raw'), ('middle', 'qcow2')])
def test_an_image_is_not_mapped_beside_a_backing_file_of_it(
        name, image_format, is_multiattach, lpar, chain, share, map_to, novalink):
    map_to(0, name, image_format)
    with pytest.raises(exceptions.VolumeInUse,
                       match=f'{name} is mapped to .*, and is a backing file of {share}/volume-1'):
        map_to(lpar, 'volume-1', multiattach=is_multiattach)
    assert [mapping.path for mapping in novalink.mappings()] == [f'{share}/{name}']


@pytest.mark.parametrize('is_base_first', [False, True])
def test_a_backing_file_is_known_by_another_mount_and_by_hard_links(
        is_base_first, chain, share, mounter, tmp_path, attachments, map_to, novalink):
    os.link(share / 'base', share / 'linked')
    bound = mounter.bind(share, tmp_path / 'bound')

    def map_base():
        attachments.carry_out(attachments.plan_attach(VolumeSpec(
            path=f'{bound}/linked', lpar_uuid=novalink.lpars[1].uuid)))

    first, second = (map_base, lambda: map_to(0, 'volume-1'))[::1 if is_base_first else -1]
    first()
    with pytest.raises(exceptions.VolumeInUse, match='backing file'):
        second()
    assert len(novalink.mappings()) == 1


def test_two_images_on_one_backing_file_are_mapped(create, map_to, novalink):
    create('base', image_format='raw')
    for lpar, name in enumerate(('volume-1', 'volume-2')):
        create(name, '-b', 'base', '-F', 'raw')
        map_to(lpar, name)
    assert len(novalink.mappings()) == 2


def test_an_image_that_may_be_on_a_file_refuses_it_until_that_is_known(
        chain, share, create, map_to, novalink):
    map_to(0, 'volume-1')
    image = (share / 'volume-1').read_bytes()
    (share / 'volume-1').write_bytes(bytes(1 << 16))
    create('volume-2', image_format='raw')
    with pytest.raises(exceptions.VolumeInUse, match=r'may have .*volume-2 as a backing.*none'):
        map_to(1, 'volume-2', 'raw')
    (share / 'volume-1').write_bytes(image)
    map_to(1, 'volume-2', 'raw')
    assert len(novalink.mappings()) == 2


def test_images_that_are_not_inspected_in_time_are_no_reason_to_detach_them(
        chain, create, attachments, map_to, novalink, monkeypatch):
    map_to(0, 'volume-1')
    known = failures.raise_for

    def raise_for(answer, context):
        if context.path.endswith('/volume-1'):
            raise exceptions.MountNotResponding(path=context.path)
        known(answer, context)

    monkeypatch.setattr(failures, 'raise_for', raise_for)
    create('volume-2', '-b', 'base', '-F', 'raw')
    specs = [VolumeSpec(export='nas1:/vols', name='base', lpar_uuid=novalink.lpars[1].uuid),
             VolumeSpec(export='nas1:/vols', name='volume-2', format='qcow2',
                        backstore='user:qcow', lpar_uuid=novalink.lpars[1].uuid)]
    for spec in specs:
        plan = attachments.plan_attach(spec)
        assert isinstance(attachments.preview(plan).error, exceptions.MountNotResponding)
    results = attachments.carry_out_all([attachments.plan_attach(spec) for spec in specs])
    assert {type(result) for result in results} == {exceptions.MountNotResponding}
    assert all('attach volume' in str(result) for result in results)
    assert len(novalink.mappings()) == 1


def test_an_image_that_is_gone_refuses_no_file(chain, share, map_to, novalink):
    map_to(0, 'volume-1')
    (share / 'volume-1').unlink()
    map_to(1, 'base', 'raw')
    assert len(novalink.mappings()) == 2


def test_of_a_file_and_an_image_on_it_that_are_attached_at_once_one_is_mapped(
        chain, attachments, novalink):
    plans = [attachments.plan_attach(VolumeSpec(
        export='nas1:/vols', name=name, format=image_format, lpar_uuid=lpar.uuid,
        backstore='user:qcow' if image_format == 'qcow2' else 'loop'))
        for (name, image_format), lpar in zip(
            (('volume-1', 'qcow2'), ('base', 'raw')), novalink.lpars, strict=True)]
    results = attachments.carry_out_all(plans)
    assert [type(result) for result in results].count(exceptions.VolumeInUse) == 1
    assert len(novalink.mappings()) == 1


def test_files_beside_no_mapped_image_cost_no_more_than_where_backing_files_are_refused(
        create, novalink, settings, prober):
    def cost(name, backing, lpar):
        """Return the requests and probes of an attach."""
        chosen = dataclasses.replace(settings, qcow2_backing=backing)
        probed = []
        counting = prober.__class__(prober.timeout_s)
        counting.probe_all = lambda requests, *args: (
            probed.extend(requests) or prober.probe_all(requests, *args))
        attachments = Attachments(chosen, counting, client_for(chosen, novalink.adapter()))
        novalink.requests.clear()
        attachments.carry_out(attachments.plan_attach(VolumeSpec(
            export='nas1:/vols', name=name, lpar_uuid=novalink.lpars[lpar].uuid)))
        return novalink.requests.count(), len(probed)

    for name in ('warm', 'one', 'other'):
        create(name, image_format='raw')
    cost('warm', 'refuse', 0)
    assert cost('one', 'same-directory', 0) == cost('other', 'refuse', 0)
