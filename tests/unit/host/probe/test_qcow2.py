# SPDX-License-Identifier: Apache-2.0
"""Image headers as nobody's qemu-img would write them; tests/host has those that it does write."""

import contextlib
import os
import struct

import hypothesis
import pytest
from hypothesis import strategies as st

from powervm_fileio_connector.host.probe import qcow2
from powervm_fileio_connector.host.probe.path_walk import Refused

SIZE = 10 << 20
BACKING_FORMAT, DATA_FILE = 0xE2792ACA, 0x44415441


def header(version=3, size=SIZE, crypt=0, features=0, extensions=(), backing=b'', offset=None):
    """Return the first cluster of an image."""
    length = 104 if version >= 3 else 72
    body = b''.join(struct.pack('>II', kind, len(data)) + data.ljust(-(-len(data) // 8) * 8, b'\0')
                    for kind, data in (*extensions, (0, b'')))
    where = (length + len(body) if offset is None else offset) if backing else 0
    start = struct.pack('>4sIQIIQIIQQIIQ', b'QFI\xfb', version, where, len(backing), 16, size,
                        crypt, 1, 0x30000, 0x10000, 1, 0, 0)
    if version >= 3:
        start += struct.pack('>QQQII', features, 0, 0, 4, length)
    return (start + body + (backing if offset is None else b'')).ljust(65536, b'\0')


@pytest.fixture
def judge(tmp_path):
    """Judge an image by its bytes and return its virtual size."""
    def judge(data, backing='same-directory'):
        (tmp_path / 'image').write_bytes(data)
        with contextlib.ExitStack() as opened:
            directory, image = (os.open(path, os.O_PATH) for path in (tmp_path, tmp_path / 'image'))
            opened.callback(os.close, directory)
            opened.callback(os.close, image)
            return qcow2.inspect_chain(image, directory, backing)[0]
    return judge


@pytest.mark.parametrize('version', [2, 3])
def test_an_image_without_references_is_safe(version, judge):
    assert judge(header(version), 'refuse') == SIZE


@pytest.mark.parametrize('version', [2, 3])
def test_a_backing_file_that_names_its_format_is_safe(version, judge, tmp_path):
    (tmp_path / 'base').touch()
    os.truncate(tmp_path / 'base', SIZE)
    assert judge(header(version, extensions=[(BACKING_FORMAT, b'raw')], backing=b'base')) == SIZE


def test_version_2_images_with_a_qcow2_backing_file_are_not_taken_for_external_data(
        judge, tmp_path):
    # The length of 'qcow2', 5, has the bit set that means a data file in version 3.
    (tmp_path / 'base').write_bytes(header())
    assert judge(header(2, extensions=[(BACKING_FORMAT, b'qcow2')], backing=b'base')) == SIZE


@pytest.mark.parametrize(('image', 'why'), [
    (header(version=1), 'not safe'),
    (header(version=4), 'not safe'),
    (header(features=1 << 2), 'external data file'),
    (header(features=1 << 63), 'features'),
    (header(extensions=[(DATA_FILE, b'/etc/passwd')]), 'external data file'),
    (header(2, extensions=[(DATA_FILE, b'/etc/passwd')]), 'external data file'),
    (header(backing=b'base'), 'names None'),
    (header(extensions=[(BACKING_FORMAT, b'')], backing=b'base'), "names ''"),
    (header(extensions=[(BACKING_FORMAT, b'raw')], backing=b'b', offset=1 << 40), 'no plain name'),
    (header(extensions=[(BACKING_FORMAT, b'raw')], backing=b'x' * 1024), 'no plain name'),
    (header(extensions=[(BACKING_FORMAT, b'raw')], backing=b'ba\0se'), 'no plain name'),
    (header(extensions=[(BACKING_FORMAT, b'raw')], backing=b'gone'), 'does not exist'),
    (header(extensions=[(BACKING_FORMAT, b'raw')], backing=b'x' * 1000), 'does not exist'),
    (b'', 'declared qcow2 but is none'),
    (b'QFI\xfb', 'declared qcow2 but is none'),
    (b'KDMV'.ljust(65536, b'\0'), 'declared qcow2 but is none'),
])
def test_anything_else_is_refused(image, why, judge):
    with pytest.raises(Refused, match=why) as refusal:
        judge(image)
    assert refusal.value.kind == 'format'


def test_an_encrypted_image_is_told_from_an_unsafe_one(judge):
    with pytest.raises(Refused) as refusal:
        judge(header(crypt=2))
    assert refusal.value.kind == 'encrypted'


def test_a_chain_ends_somewhere(judge, tmp_path):
    for number in range(100):
        (tmp_path / f'{number}').write_bytes(header(
            extensions=[(BACKING_FORMAT, b'qcow2')], backing=b'%d' % (number + 1)))
    with pytest.raises(Refused, match='longer than 64'):
        judge(header(extensions=[(BACKING_FORMAT, b'qcow2')], backing=b'0'))


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(data=st.data())
def test_whatever_a_header_says_is_judged(data, judge):
    image = bytearray(header(extensions=[(BACKING_FORMAT, b'raw')], backing=b'base'))
    for _ in range(data.draw(st.integers(0, 5))):
        where = data.draw(st.integers(4, 200))
        image[where:where + 1] = data.draw(st.binary(min_size=1, max_size=1))
    with contextlib.suppress(Refused):
        assert judge(bytes(image[:data.draw(st.sampled_from([65536, 200, 512, 513]))])) >= 0


@pytest.mark.parametrize(('bit', 'name'), [
    (0, 'dirty'), (1, 'corrupt'), (3, 'compression type'), (4, 'extended L2'), (5, 'number 5'),
    (63, 'number 63')])
def test_any_incompatible_feature_is_refused(judge, bit, name):
    with pytest.raises(Refused, match=name):
        judge(header(features=1 << bit))


@pytest.mark.parametrize('bits', [0, 8, 17, 21, 200])
def test_clusters_that_tcmu_runner_does_not_know_are_refused(judge, bits):
    image = bytearray(header())
    struct.pack_into('>I', image, 20, bits)
    with pytest.raises(Refused):
        judge(bytes(image))


@pytest.fixture
def judge_chain(tmp_path, judge):
    """Judge an overlay over a backing file of these bytes and this format."""
    def judge_chain(backing, image_format):
        (tmp_path / 'base').write_bytes(backing)
        with open(tmp_path / 'base', 'ab') as base:
            base.truncate(max(SIZE, len(backing)) if image_format == b'raw' else len(backing))
        return judge(header(backing=b'base', extensions=[(BACKING_FORMAT, image_format)]))
    return judge_chain


@pytest.mark.parametrize('version', [0, 1, 2, 3, 4, 0xFFFFFFFF])
def test_a_raw_backing_file_that_begins_like_a_qcow_image_is_refused(judge_chain, version):
    with pytest.raises(Refused, match='begins like a qcow image'):
        judge_chain(b'QFI\xfb' + struct.pack('>I', version), b'raw')


def test_a_raw_backing_file_of_the_same_size_is_taken(judge_chain):
    assert judge_chain(b'QFI', b'raw') == SIZE


@pytest.mark.parametrize('size', [SIZE - 512, SIZE + 512])
def test_a_backing_file_of_another_size_is_refused(judge_chain, tmp_path, size):
    with pytest.raises(Refused, match='both have to be the same'):
        judge_chain(header(size=size), b'qcow2')


def test_a_dirty_backing_file_is_refused(judge_chain):
    with pytest.raises(Refused, match=r"'base' has features.*dirty"):
        judge_chain(header(features=1), b'qcow2')
