# SPDX-License-Identifier: Apache-2.0
"""Volumes that are named by an export and a name."""

import hashlib
import itertools
import os
import pathlib
import time

import pytest

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import host
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.volume import VolumeSpec
from tests.host.conftest import write

EXPORT = 'nas1:/vols'


def spec(export=EXPORT, name='volume-1', **fields):
    return VolumeSpec(protocol='nfs', export=export, name=name, **fields)


def conventional(base, export=EXPORT):
    return base / hashlib.md5(export.encode()).hexdigest()


@pytest.fixture
def find(settings, prober):
    def find(spec, settings=settings, prober=prober, **options):
        return finder.find(spec, settings, prober=prober, **options)
    return find


@pytest.mark.parametrize(('source', 'export'), [
    ('nas1:/vols', 'nas1:/vols'),
    ('nas1:/vols/', 'nas1:/vols'),
    ('nas1:/vols', 'nas1:/vols/'),
    ('nas1:/vols', 'nas1://vols'),
    ('NAS1:/vols', 'nas1:/vols'),
    ('[fd00::3]:/vols', 'fd00::3:/vols'),
    ('fd00:0::3:/vols', '[fd00::3]:/vols/'),
    ('nas1:/with blank and ä', 'nas1:/with blank and ä'),
])
def test_an_export_is_found_by_its_source_however_that_is_spelled(
        source, export, mounter, tmp_path, find):
    write(mounter.tmpfs(source, tmp_path / 'somewhere') / 'volume-1')
    assert find(spec(export)).path == str(tmp_path / 'somewhere/volume-1')


@pytest.mark.parametrize('place', ['with blank', 'with\ttab', 'back\\slash', '#hash', 'ä€𝄞'])
def test_a_mount_point_may_have_any_name_that_can_be_sent(place, mounter, tmp_path, find):
    path = write(mounter.tmpfs(EXPORT, tmp_path / place) / 'volume-1')
    if '\t' in place:
        with pytest.raises(exceptions.UnsafeVolumePath, match='cannot be sent'):
            find(spec())
    else:
        assert find(spec()).path == str(path)


def test_what_is_found_is_described(mounter, tmp_path, find):
    path = write(mounter.tmpfs(EXPORT, tmp_path / 'a') / 'volume-1', size=12345)
    found = find(spec())
    seen = os.stat(path)
    assert (found.size, found.identity) == (12345, (seen.st_dev, seen.st_ino))
    assert (found.format, found.is_block_device) == ('raw', False)
    assert (found.mount.mount_point, found.mount.source) == (str(tmp_path / 'a'), EXPORT)


def test_the_conventional_place_comes_before_others(mounter, tmp_path, find):
    for place in (tmp_path / 'a', conventional(tmp_path / 'cinder'),
                  conventional(tmp_path / 'nova')):
        write(mounter.tmpfs(EXPORT, place) / 'volume-1')
    assert find(spec()).path == f'{conventional(tmp_path / "nova")}/volume-1'


def test_the_base_that_comes_with_the_volume_comes_after_our_own(mounter, tmp_path, find):
    theirs = spec(mount_point_base=str(tmp_path / 'theirs'))
    write(mounter.tmpfs(EXPORT, conventional(tmp_path / 'theirs')) / 'volume-1')
    assert find(theirs).path == f'{conventional(tmp_path / "theirs")}/volume-1'
    write(mounter.tmpfs(EXPORT, conventional(tmp_path / 'cinder')) / 'volume-1')
    assert find(theirs).path == f'{conventional(tmp_path / "cinder")}/volume-1'


def test_a_base_may_be_a_symlink(mounter, fuse_share, tmp_path, find):
    (tmp_path / 'nova').symlink_to('elsewhere')
    place = conventional(tmp_path / 'elsewhere')
    mounter.tmpfs('nas2:/other', place)
    with pytest.raises(exceptions.ShareNotMounted, match='nas2:/other'):
        find(spec())
    fuse_share('quobyte@registry', place, 'quobyte')
    assert find(spec()).path == f'{place}/volume-1'


def test_a_fuse_mount_counts_at_the_conventional_place_alone(fuse_share, tmp_path, find):
    fuse_share('quobyte@registry', tmp_path / 'a', 'quobyte')
    with pytest.raises(exceptions.ShareNotMounted):
        find(spec())
    fuse_share('quobyte@registry', conventional(tmp_path / 'nova'), 'quobyte')
    assert find(spec()).path == f'{conventional(tmp_path / "nova")}/volume-1'


def test_an_export_that_is_not_mounted_is_said_to_be(find, tmp_path):
    with pytest.raises(exceptions.ShareNotMounted, match='not in the mount table') as caught:
        find(spec())
    assert caught.value.kwargs['export'] == EXPORT
    assert caught.value.kwargs['mount_point'] == str(conventional(tmp_path / 'nova'))
    assert caught.value.kwargs['volume'] == 'volume-1'


def test_a_file_below_an_unmounted_mount_point_is_never_used(tmp_path, find):
    place = conventional(tmp_path / 'nova')
    place.mkdir(parents=True)
    write(place / 'volume-1')
    with pytest.raises(exceptions.ShareNotMounted):
        find(spec())


def test_another_export_at_the_conventional_place_is_told_from_none(mounter, tmp_path, find):
    write(mounter.tmpfs('nas2:/other', conventional(tmp_path / 'nova')) / 'volume-1')
    with pytest.raises(exceptions.ShareNotMounted,
                       match=r'nas2:/other \(tmpfs\) on .* is mounted where nas1:/vols should be'):
        find(spec())


def test_another_export_at_the_conventional_place_does_not_hide_the_right_one(
        mounter, tmp_path, find):
    write(mounter.tmpfs('nas2:/other', conventional(tmp_path / 'nova')) / 'volume-1')
    path = write(mounter.tmpfs(EXPORT, tmp_path / 'a') / 'volume-1')
    assert find(spec()).path == str(path)


@pytest.mark.parametrize('cover', ['a/b', 'a'])
def test_an_export_that_another_mount_covers_is_not_mounted(cover, mounter, tmp_path, find):
    write(mounter.tmpfs(EXPORT, tmp_path / 'a/b') / 'volume-1')
    find(spec())
    mounter.tmpfs('nas2:/other', tmp_path / cover)
    (tmp_path / 'a/b').mkdir(exist_ok=True)
    write(tmp_path / 'a/b/volume-1')
    with pytest.raises(exceptions.ShareNotMounted):
        find(spec())


def test_a_directory_of_an_export_is_not_the_export(mounter, tmp_path, find):
    place = mounter.tmpfs(EXPORT, tmp_path / 'a')
    (place / 'sub').mkdir()
    write(place / 'sub/volume-1')
    mounter.bind(place / 'sub', tmp_path / 'b')
    mounter.unmount(place)
    with pytest.raises(exceptions.ShareNotMounted, match='only directory /sub of nas1:/vols'):
        find(spec())


def test_other_spellings_of_the_same_file_are_known(mounter, tmp_path, find):
    place = mounter.tmpfs(EXPORT, tmp_path / 'a')
    write(place / 'volume-1')
    mounter.bind(place, tmp_path / 'b')
    covered = mounter.bind(place, tmp_path / 'c')
    mounter.tmpfs('nas2:/other', covered)
    assert f'{tmp_path}/b/volume-1' in find(spec()).spellings


def test_a_bound_directory_shows_the_same_file_under_another_path(mounter, tmp_path, find):
    place = mounter.tmpfs(EXPORT, tmp_path / 'a')
    (place / 'sub').mkdir()
    write(place / 'sub/volume-1')
    mounter.bind(place / 'sub', tmp_path / 'b')
    found = find(VolumeSpec(path=f'{tmp_path}/b/volume-1'))
    assert found.path == f'{tmp_path}/b/volume-1'
    assert f'{place}/sub/volume-1' in found.spellings


def test_a_read_only_mount_is_refused(mounter, tmp_path, find):
    write(mounter.tmpfs(EXPORT, tmp_path / 'a') / 'volume-1')
    mounter.remount_read_only(tmp_path / 'a')
    with pytest.raises(exceptions.UnsupportedVolume, match='read-only'):
        find(spec())


def test_a_writable_mount_is_preferred_to_a_read_only_one(mounter, tmp_path, find):
    write(mounter.tmpfs(EXPORT, tmp_path / 'a') / 'volume-1')
    mounter.bind(tmp_path / 'a', tmp_path / 'b')
    mounter.remount_read_only(tmp_path / 'a')
    assert find(spec()).path == str(tmp_path / 'b/volume-1')


def test_a_missing_file_of_a_mounted_export_is_missing(mounter, tmp_path, find):
    mounter.tmpfs(EXPORT, tmp_path / 'a')
    with pytest.raises(exceptions.VolumeFileNotFound) as caught:
        find(spec())
    assert caught.value.kwargs['path'] == str(tmp_path / 'a/volume-1')


def test_a_mount_that_is_covered_while_we_look_is_not_looked_at(mounter, tmp_path, find):
    class CoveringProber(probe.Prober):
        def probe_any(self, requests, *arguments):
            mounter.tmpfs('nas2:/other', requests[0].mount_point)
            return super().probe_any(requests, *arguments)

    write(mounter.tmpfs(EXPORT, tmp_path / 'a') / 'volume-1')
    with pytest.raises(exceptions.ShareNotMounted):
        find(spec(), prober=CoveringProber(20))


class LateProber(probe.Prober):
    """Has the file appear after the first look."""

    def probe_any(self, requests, *arguments):
        answer = super().probe_any(requests, *arguments)
        write(pathlib.Path(requests[0].mount_point) / requests[0].path)
        return answer


def test_a_file_that_appears_late_is_found_by_a_later_look(mounter, tmp_path, find):
    place = mounter.tmpfs(EXPORT, tmp_path / 'a')
    with pytest.raises(exceptions.VolumeFileNotFound):
        find(spec(), prober=LateProber(2))
    (place / 'volume-1').unlink()
    assert find(spec(), prober=LateProber(2), attempts=2).path == str(place / 'volume-1')


def test_looks_for_a_file_that_never_appears_end_by_the_deadline(mounter, tmp_path, find):
    mounter.tmpfs(EXPORT, tmp_path / 'a')
    started = time.monotonic()
    with pytest.raises(exceptions.VolumeFileNotFound):
        find(spec(), prober=probe.Prober(2), attempts=1000)
    assert time.monotonic() - started < 2.5


@pytest.mark.parametrize('step_s', [3600, -3600])
def test_a_file_is_looked_for_by_a_clock_that_is_never_set(
        step_s, mounter, tmp_path, find, monkeypatch):
    place = mounter.tmpfs(EXPORT, tmp_path / 'a')
    clock = itertools.count(time.time(), step_s)
    monkeypatch.setattr(time, 'time', lambda: next(clock))
    assert find(spec(), prober=LateProber(2), attempts=2).path == str(place / 'volume-1')
    (place / 'volume-1').unlink()
    started = time.monotonic()
    with pytest.raises(exceptions.VolumeFileNotFound):
        find(spec(), prober=probe.Prober(2), attempts=1000)
    assert time.monotonic() - started < 2.5


def test_a_name_longer_than_any_file_is_missing(mounter, tmp_path, find):
    mounter.tmpfs(EXPORT, tmp_path / 'a')
    with pytest.raises(exceptions.VolumeFileNotFound):
        find(spec(name='x' * 5000))


def test_candidate_paths_name_every_place_without_a_look(mounter, fuse_share, settings, tmp_path):
    share = fuse_share(EXPORT, tmp_path / 'hung')
    share.tell('hang')
    assert host.candidate_paths(
        spec(mount_point_base=str(tmp_path / 'theirs')), settings) == (
            f'{conventional(tmp_path / "nova")}/volume-1',
            f'{conventional(tmp_path / "cinder")}/volume-1',
            f'{conventional(tmp_path / "theirs")}/volume-1',
            f'{tmp_path}/hung/volume-1')


def test_the_password_of_an_export_is_never_shown(mounter, tmp_path, find, caplog):
    export = 'mds1,mds2:/cluster:CANARY'
    mounter.tmpfs(export, tmp_path / 'a')
    mounter.tmpfs('mds1,mds2:/other:CANARY', conventional(tmp_path / 'nova', 'mds3:/c:CANARY'))
    for wanted in (export, 'mds3:/c:CANARY', 'mds4:/c:CANARY'):
        with pytest.raises(exceptions.FileIOConnectorError) as caught:
            find(spec(wanted))
        assert 'CANARY' not in f'{caught.value} {caught.value.kwargs}'
    write(tmp_path / 'a/volume-1')
    assert 'CANARY' not in repr(find(spec(export))) + caplog.text
