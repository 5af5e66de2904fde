# SPDX-License-Identifier: Apache-2.0
"""Shares that autofs mounts when somebody looks."""

import contextlib
import dataclasses
import hashlib
import pathlib
import subprocess
import sys
import time

import pytest

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import host
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.volume import VolumeSpec

EXPORT = 'nas1:/vols'
HASH = hashlib.md5(EXPORT.encode()).hexdigest()
SPEC = VolumeSpec(export=EXPORT, name='volume-1')


@pytest.fixture
def automount():
    """Have a place automounted."""
    if 'autofs' not in pathlib.Path('/proc/filesystems').read_text():
        pytest.skip('this kernel has no autofs')
    with contextlib.ExitStack() as daemons:
        def start(place, kind='indirect', source=EXPORT, behaviour='mount'):
            place.mkdir(parents=True)
            script = pathlib.Path(__file__).with_name('automounter.py')
            daemon = subprocess.Popen(
                [sys.executable, script, place, kind, source, behaviour], text=True,
                stdout=subprocess.PIPE, start_new_session=True)
            daemons.callback(subprocess.run, ['umount', '--recursive', '--lazy', place], check=True)
            daemons.callback(daemon.stdout.close)
            daemons.callback(daemon.wait)
            daemons.callback(daemon.kill)
            assert daemon.stdout.readline().strip() == 'ready'
        yield start


@pytest.mark.parametrize(('kind', 'place'), [('indirect', 'nova'), ('direct', f'nova/{HASH}')])
def test_a_look_at_the_conventional_place_mounts_the_export(
        kind, place, automount, tmp_path, settings, prober):
    automount(tmp_path / place, kind)
    assert finder.find(SPEC, settings, prober=prober).path == (
        f'{tmp_path}/nova/{HASH}/volume-1')


@pytest.mark.parametrize('kind', ['indirect', 'direct'])
def test_a_look_at_a_path_mounts_what_it_lies_on(kind, automount, tmp_path, settings, prober):
    automount(tmp_path / 'auto', kind)
    path = f'{tmp_path}/auto/{"fs1/" if kind == "indirect" else ""}volume-1'
    assert finder.find(VolumeSpec(path=path), settings, prober=prober).path == path


def test_another_export_that_was_automounted_is_wrong(automount, tmp_path, settings, prober):
    automount(tmp_path / 'nova', source='nas2:/other')
    with pytest.raises(exceptions.ShareNotMounted, match=r'nas2:/other .* where nas1:/vols should'):
        finder.find(SPEC, settings, prober=prober)


@pytest.mark.parametrize('is_path', [True, False])
def test_a_mount_that_fails_at_first_is_looked_for_again(
        is_path, automount, tmp_path, settings, prober):
    spec = VolumeSpec(path=f'{tmp_path}/nova/{HASH}/volume-1') if is_path else SPEC
    automount(tmp_path / 'nova', behaviour='fail-once')
    with pytest.raises(exceptions.ShareNotMounted):
        finder.find(spec, settings, prober=prober)
    automount(tmp_path / 'cinder', behaviour='fail-once')
    assert finder.find(spec, settings, prober=prober, attempts=3)


@pytest.mark.parametrize(('behaviour', 'is_same'), [('mount', True), ('change', False)])
@pytest.mark.parametrize('kind', ['indirect', 'direct'])
def test_a_file_is_the_same_after_autofs_made_its_mount_anew_from_the_same_source(
        kind, behaviour, is_same, automount, tmp_path, settings, prober):
    place = tmp_path / 'nova' / HASH
    automount(place if kind == 'direct' else place.parent, kind, behaviour=behaviour)
    found = finder.find(SPEC, settings, prober=prober)
    subprocess.run(['umount', place], check=True)
    if is_same:
        # A server's file keeps its handle; that of a tmpfs that is made anew is another file.
        finder.recheck(dataclasses.replace(found, handles=()), settings, prober=prober)
    else:
        with pytest.raises(exceptions.UnsafeVolumePath, match='another mount'):
            finder.recheck(found, settings, prober=prober)


def test_a_mount_that_autofs_made_anew_may_have_the_id_of_the_one_before(
        automount, tmp_path, settings, prober):
    automount(tmp_path / 'nova')
    found = finder.find(SPEC, settings, prober=prober)
    device, inode = found.identity
    # As if the mount before had another device number: the kernel gives ids again.
    finder.recheck(dataclasses.replace(found, identity=(device + 1, inode)), settings,
                   prober=prober)
    with pytest.raises(exceptions.UnsafeVolumePath, match='another file'):
        finder.recheck(dataclasses.replace(found, identity=(device, inode + 1)), settings,
                       prober=prober)


def test_an_automounter_that_hangs_is_told_by_the_deadline(
        automount, tmp_path, settings, hasty_prober):
    automount(tmp_path / 'nova', behaviour='hang')
    for spec in (SPEC, VolumeSpec(path=f'{tmp_path}/nova/fs1/volume-1')):
        started = time.monotonic()
        with pytest.raises(exceptions.MountNotResponding):
            finder.find(spec, settings, prober=hasty_prober)
        assert time.monotonic() - started < hasty_prober.timeout_s + 1.5


def test_a_list_of_files_does_not_mount_anything(automount, tmp_path, settings, prober):
    automount(tmp_path / 'nova' / HASH, 'direct')
    assert host.list_files(None, settings, prober=prober) == []
