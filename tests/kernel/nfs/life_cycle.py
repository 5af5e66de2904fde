# SPDX-License-Identifier: Apache-2.0
"""One file that is reached in two ways is one disk: attached, repeated, extended and detached.

The first way is ``nas1:/vols/cinder``, or another export, at its conventional place. To add a
second way, add a line to ``WAYS``.
"""

import contextlib
import dataclasses
import os
import pathlib
import shutil

from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.volume import VolumeSpec
from tests.kernel import cases
from tests.kernel.nfs import server as nfs_server
from tests.kernel.nfs import site as sites

V4 = ('4.0', '4.1', '4.2')
ALL = ('3', *V4)
EXPORT = 'nas1:/vols/cinder'


@dataclasses.dataclass(frozen=True)
class Way:
    """A second way to the file.

    :ivar source: what is mounted
    :ivar directory: where the file is below that mount
    :ivar bind: a directory of the mount that is bound elsewhere; the file is reached through that
    :ivar other_address: the versions whose mount table shows another address of the server, so that
        nobody can say that both are the same server
    """

    name: str
    source: str
    directory: str = '.'
    options: str = ''
    bind: str | None = None
    export: str = EXPORT
    versions: tuple[str, ...] = ALL
    other_address: tuple[str, ...] = ()


WAYS = (
    Way('directory', 'nas1:/vols', 'cinder'),
    Way('bind_of_directory', 'nas1:/vols', bind='cinder', versions=('3', '4.2')),
    Way('nosharecache', 'nas1:/vols', 'cinder', 'nosharecache', versions=('3', '4.2')),
    Way('second_name', 'nas2:/vols/cinder'),
    Way('second_name_of_directory', 'nas2:/vols', 'cinder', versions=('3', '4.2')),
    Way('second_name_nosharecache', 'nas2:/vols', 'cinder', 'nosharecache'),
    Way('second_address', 'nas3:/vols/cinder', other_address=('3', '4.0')),
    Way('second_address_of_directory', 'nas3:/vols', 'cinder', versions=('3', '4.2'),
        other_address=('3',)),
    Way('qualified_name', 'nas1.example.com:/vols/cinder', versions=('4.2',)),
    Way('address', '192.0.2.1:/vols/cinder', versions=('3',)),
    Way('ipv6_address', '[2001:db8::1]:/vols/cinder', versions=('3', '4.2'), other_address=('3',)),
    Way('crossmnt', 'nas1:/vols', 'inner', export='nas1:/vols/inner',
        versions=('3', '4.2')),
    Way('pseudo_root', 'nas1:/', 'vols/cinder', versions=('4.0', '4.2')),
    Way('referral', 'nas1:/', 'moved', versions=('4.0', '4.2'), other_address=('4.0',)),
)


def repeat_by_path_keeps_the_mapping(share):
    info = share.site.attach(share.by_export)
    assert share.site.attach(share.by_path) == info
    assert len(share.site.mapped_paths()) == 1


def second_lpar_by_path_is_refused(share):
    share.site.attach(share.by_export)
    with share.site.refused(exceptions.VolumeInUse):
        share.site.attach(share.by_path, lpar=2)


def second_lpar_by_export_is_refused(share):
    share.site.detach_all()
    share.site.attach(share.by_path)
    with share.site.refused(exceptions.VolumeInUse):
        share.site.attach(share.by_export, lpar=2)


def extend_by_path_returns_the_new_size_at_once(share):
    share.site.attach(share.by_export)
    size = share.grow()
    assert share.site.connector().extend_volume(share.by_path) == size


def extend_by_export_returns_the_new_size_at_once(share):
    share.site.attach(share.by_path)
    size = share.grow()
    assert share.site.connector().extend_volume(share.by_export) == size


def detach_by_path_removes_the_mapping(share):
    share.site.attach(share.by_export)
    share.site.detach(share.by_path)
    assert not share.site.mapped_paths()


def detach_by_export_removes_the_mapping(share):
    share.site.attach(share.by_path)
    share.site.detach(share.by_export)
    assert not share.site.mapped_paths()


def detach_by_path_removes_the_mapping_or_is_refused(share):
    share.site.detach_all()
    share.site.attach(share.by_export)
    with contextlib.suppress(exceptions.MappingFailed):
        share.site.detach(share.by_path)
        assert not share.site.mapped_paths()


def second_lpar_by_a_hard_link_is_refused(share):
    share.site.detach_all()
    link = share.file.with_name(f'link-{share.file.name}')
    os.link(share.file, link)
    try:
        by_link = sites.by_path(pathlib.Path(share.by_path['path']).with_name(link.name))
        info = share.site.attach(share.by_export)
        with share.site.refused(exceptions.VolumeInUse):
            share.site.attach(by_link, lpar=2)
        assert share.site.attach(by_link) == info
        share.site.detach_all()
    finally:
        link.unlink()


def attach_by_the_second_export_maps_the_file(share):
    share.site.detach_all()
    share.site.attach(share.by_other_export)
    assert len(share.site.mapped_paths()) == 1


def a_file_made_anew_with_its_inode_number_is_another(share):
    share.site.detach_all()
    spec, settings = VolumeSpec(path=share.by_path['path']), conf.Settings()
    prober = probe.Prober(30)
    found = finder.find(spec, settings, prober=prober)
    finder.recheck(found, settings, prober=prober)
    _make_anew(share, is_inode_wanted=True)
    with share.site.refused(exceptions.UnsafeVolumePath):
        finder.recheck(found, settings, prober=prober)


def a_file_made_anew_at_the_server_is_attached(share):
    share.site.attach(share.by_path)
    share.site.detach_all()
    _make_anew(share)
    share.site.attach(share.by_path)
    _make_anew(share)
    assert share.site.connector().extend_volume(share.by_path) == share.file.stat().st_size
    share.site.detach_all()


def a_file_that_was_renamed_at_the_server_is_not_found_by_its_old_name(share):
    share.site.attach(share.by_path)
    share.site.detach_all()
    aside = share.file.rename(share.file.with_name(f'old-{share.file.name}'))
    sites.make_volume(share.file.parent.relative_to(nfs_server.ROOT), share.file.name)
    size = share.grow()
    share.site.attach(share.by_path)
    assert share.site.connector().extend_volume(share.by_path) == size
    share.site.detach_all()
    aside.unlink()


def a_directory_made_anew_at_the_server_is_entered(share):
    directory = share.file.with_name(f'directory-{share.file.name}')
    by_path = sites.by_path(
        pathlib.Path(share.by_path['path']).with_name(directory.name) / share.file.name)
    for _ in range(2):
        directory.mkdir()
        sites.make_volume(directory.relative_to(nfs_server.ROOT), share.file.name)
        share.site.attach(by_path)
        share.site.detach_all()
        shutil.rmtree(directory)
    with share.site.refused(exceptions.VolumeFileNotFound):
        share.site.attach(by_path)


def a_file_that_was_missing_is_found_once_it_is_there(share):
    share.file.unlink()
    with share.site.refused(exceptions.VolumeFileNotFound):
        share.site.attach(share.by_path)
    sites.make_volume(share.file.parent.relative_to(nfs_server.ROOT), share.file.name)
    share.site.attach(share.by_path)
    share.site.detach_all()


def a_link_made_anew_at_the_server_is_followed_to_its_new_target(share):
    link = share.file.with_name(f'anew-{share.file.name}')
    by_link = sites.by_path(pathlib.Path(share.by_path['path']).with_name(link.name))
    link.symlink_to(share.file.name)
    share.site.attach(by_link)
    share.site.detach_all()
    link.unlink()
    link.symlink_to('/etc/passwd')
    with share.site.refused(exceptions.UnsafeVolumePath):
        share.site.attach(by_link)
    link.unlink()


def _make_anew(share, is_inode_wanted=False):
    """Delete the file at the server, and make another one of its name there."""
    inode, directory = share.file.stat().st_ino, share.file.parent.relative_to(nfs_server.ROOT)
    for _ in range(1000):       # others make files too
        share.file.unlink()
        sites.make_volume(directory, share.file.name)
        if not is_inode_wanted or share.file.stat().st_ino == inode:
            return
    raise RuntimeError('the server used no inode number again')


# In an order in which most of them find attached, or detached, what they need so.
ONE_DISK = (
    repeat_by_path_keeps_the_mapping,
    second_lpar_by_path_is_refused,
    extend_by_path_returns_the_new_size_at_once,
    detach_by_path_removes_the_mapping,
    second_lpar_by_export_is_refused,
    extend_by_export_returns_the_new_size_at_once,
    detach_by_export_removes_the_mapping,
)
_CHANGED_AT_THE_SERVER = (
    a_file_made_anew_at_the_server_is_attached,
    a_file_that_was_renamed_at_the_server_is_not_found_by_its_old_name,
    a_directory_made_anew_at_the_server_is_entered,
    a_file_that_was_missing_is_found_once_it_is_there,
    a_link_made_anew_at_the_server_is_followed_to_its_new_target,
)
# Replicas may have equal file handles, or directories, as well, so these only refuse.
_PERHAPS_ONE_DISK = (
    second_lpar_by_path_is_refused,
    second_lpar_by_export_is_refused,
    detach_by_path_removes_the_mapping_or_is_refused,
)


def groups():
    return [cases.Group(version, way.name, _setup(way), _checks(way, version))
            for version in ALL for way in WAYS if version in way.versions]


def _checks(way, version):
    steps = _PERHAPS_ONE_DISK if version in way.other_address else ONE_DISK
    if _is_an_export_of_its_own(way):
        steps = (*steps, attach_by_the_second_export_maps_the_file)
    if way.name == 'directory':
        steps = (*steps, *_CHANGED_AT_THE_SERVER)
        if version != '4.0':    # which tells no handles
            steps = (*steps, a_file_made_anew_with_its_inode_number_is_another)
    if way.name == 'nosharecache':
        steps = (*steps, second_lpar_by_a_hard_link_is_refused)
    return (*steps, sites.no_process_is_left)


def _is_an_export_of_its_own(way):
    return way.directory == '.' and way.bind is None


def _setup(way):
    @contextlib.contextmanager
    def setup(site, version):
        # Cases of several versions run at the same time.
        name = f'volume-{version}'
        file = sites.make_volume(way.export.partition(':/')[2], name)
        with contextlib.ExitStack() as mounts:
            site.keep_mounted(way.export, version)
            place = mounts.enter_context(site.mounted(way.source, version, way.options))
            if way.bind:
                place = mounts.enter_context(
                    site.bound(place / way.bind, sites.BASE.parent / 'bound'))
            other = sites.by_export(way.source, name) if _is_an_export_of_its_own(way) else None
            yield sites.Share(site, file, sites.by_export(way.export, name),
                              sites.by_path(place / way.directory / name), other)
    return setup
