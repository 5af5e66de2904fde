# SPDX-License-Identifier: Apache-2.0
"""Whatever comes in: a file strictly inside its mount comes out, or one of our errors."""

import contextlib
import os
import threading

import hypothesis
import pytest
from hypothesis import strategies as st

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.volume import VolumeSpec
from tests import effort
from tests.host.conftest import write

EXPORT = 'nas1:/vols'

# The share stays the same for all examples of a test.
per_example = hypothesis.settings(
    max_examples=effort.of(150, 3400), deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])

names = st.sampled_from(['a', 'b', 'volume-1', 'link', 'up', '.', '..', '', 'etc', 'shadow',
                         'outside', 'back', 'proc', 'self', 'root', 'mnt'])
paths = st.one_of(st.lists(names, max_size=8).map('/'.join),
                  st.lists(names, max_size=8).map(lambda parts: '/' + '/'.join(parts)),
                  st.text(max_size=20))


@pytest.fixture
def share(mounter, tmp_path):
    """A share with files, directories and links in and out of it, and a file beside it."""
    share = mounter.tmpfs(EXPORT, tmp_path / 'mnt')
    (share / 'a/b').mkdir(parents=True)
    for directory in (share, share / 'a', share / 'a/b'):
        write(directory / 'volume-1')
        (directory / 'up').symlink_to('..')
        (directory / 'back').symlink_to('b/../volume-1')
    (share / 'root').symlink_to('/')
    write(tmp_path / 'outside')
    write(tmp_path / 'volume-1')
    return share


def check(spec, settings, prober, share):
    """Find a volume, and make sure that what is found lies on the share."""
    try:
        found = finder.find(spec, settings, prober=prober)
    except exceptions.FileIOConnectorError:
        return
    seen = os.lstat(found.path)
    assert found.path == os.path.realpath(found.path)
    assert found.path.startswith(f'{share}/')
    assert seen.st_dev == os.stat(share).st_dev
    assert found.identity == (seen.st_dev, seen.st_ino)


@per_example
@hypothesis.given(path=paths)
def test_any_path_stays_in_the_mount_or_is_refused(path, share, settings, prober):
    check(VolumeSpec(path=f'{share}/{path}'), settings, prober, share)
    check(VolumeSpec(path=f'/{path}'), settings, prober, share)


@per_example
@hypothesis.given(target=paths.filter(lambda path: path and '\0' not in path),
                  depth=st.sampled_from(['', 'a', 'a/b']))
def test_any_symlink_stays_in_the_mount_or_is_refused(target, depth, share, settings, prober):
    link = share / depth / 'link'
    with contextlib.suppress(FileNotFoundError):
        link.unlink()
    try:
        link.symlink_to(target)
    except UnicodeEncodeError:
        return
    check(VolumeSpec(path=str(link)), settings, prober, share)
    check(VolumeSpec(path=f'{link}/volume-1'), settings, prober, share)
    check(VolumeSpec(export=EXPORT, name='link'), settings, prober, share)


@per_example
@hypothesis.given(export=st.one_of(st.text(max_size=30), st.sampled_from(
    [EXPORT, EXPORT + '/', '/', '..', '/etc', 'nas1:/'])), name=st.one_of(paths, names))
def test_any_export_and_name_stays_in_the_mount_or_is_refused(
        export, name, share, settings, prober):
    # Names with slashes are refused before; they must not matter if one ever came this far.
    check(VolumeSpec(export=export, name=name), settings, prober, share)
    check(VolumeSpec(export=EXPORT, name=name), settings, prober, share)


@pytest.mark.parametrize('place', ['file', 'directory'])
@pytest.mark.parametrize('goal', ['the host', 'another share'])
def test_a_symlink_that_is_swapped_meanwhile_never_leads_out(
        goal, place, mounter, tmp_path, share, settings, prober):
    """Swap the file, or its directory, for a symlink out of the share thousands of times."""
    outside = '/etc'
    if goal == 'another share':
        outside = mounter.tmpfs('nas9:/others', tmp_path / 'others')
        write(outside / 'shadow')
    target, honest = (f'{outside}/shadow', share / 'a/volume-1') if place == 'file' else (
        outside, share)
    swapped = share / 'swapped'
    spec = VolumeSpec(path=str(swapped if place == 'file' else swapped / 'shadow'))
    (share / 'shadow').symlink_to('volume-1')
    ended = threading.Event()

    def swap():
        for _ in range(effort.of(2_000, 10_000)):
            for aim in (target, os.path.relpath(honest, share)):
                os.symlink(aim, share / 'next')
                os.rename(share / 'next', swapped)
        ended.set()

    swapper = threading.Thread(target=swap)
    swapper.start()
    found, refused = 0, 0
    while not ended.is_set():
        try:
            path = finder.find(spec, settings, prober=prober).path
        except (exceptions.UnsafeVolumePath, exceptions.VolumeFileNotFound,
                exceptions.ShareNotMounted):
            refused += 1
        else:
            assert path in (f'{share}/volume-1', f'{share}/a/volume-1')
            found += 1
    swapper.join()
    assert found
    assert refused
