# SPDX-License-Identifier: Apache-2.0
"""Images as qemu-img makes them."""

import dataclasses
import shutil
import subprocess

import pytest

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.host import finder
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
