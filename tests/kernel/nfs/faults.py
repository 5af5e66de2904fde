# SPDX-License-Identifier: Apache-2.0
"""What a server does to its clients: each fault is named rightly, and stops no detach.

To add a fault, write a set-up, and a line in ``_FAULTS``, or ``_FAULTS_OF_ALL`` if other mounts
would not answer either.
"""

import contextlib
import dataclasses
import pathlib
import shutil
import subprocess

from powervm_fileio_connector import exceptions
from tests.kernel import cases
from tests.kernel.nfs import server as servers
from tests.kernel.nfs import site as sites

# Tenths of a second: they give up sooner than the connector.
_KINDS = {'soft': 'soft,timeo=5,retrans=1', 'softerr': 'softerr,timeo=5,retrans=1', 'hard': 'hard'}
_VOLUMES = ('volume-1', 'volume-2', 'volume-3')


@dataclasses.dataclass(frozen=True)
class Faulty:
    """Volumes on a mount that something happens to.

    :ivar attached: one that is attached: its properties and device_info
    :ivar seen: one that was attached and detached before, so that its attributes are cached
    :ivar other: one that was not asked for before
    """

    site: sites.Site
    place: pathlib.Path
    other: dict
    seen: dict | None = None
    attached: tuple = ()
    timeout_s: int = sites.SHORT_S


def attach_says_that_the_mount_does_not_respond(faulty):
    with faulty.site.refused(exceptions.MountNotResponding):
        faulty.site.attach(faulty.other, timeout_s=faulty.timeout_s)


def attach_of_a_file_seen_before_says_that_the_mount_does_not_respond(faulty):
    with faulty.site.refused(exceptions.MountNotResponding):
        faulty.site.attach(faulty.seen, timeout_s=faulty.timeout_s)


def attach_says_that_the_mount_is_stale(faulty):
    with faulty.site.refused(exceptions.StaleMount):
        faulty.site.attach(faulty.other)


def attach_of_a_file_seen_before_says_that_the_mount_is_stale(faulty):
    with faulty.site.refused(exceptions.StaleMount):
        faulty.site.attach(faulty.seen)


def attach_says_that_the_path_is_unsafe(faulty):
    with faulty.site.refused(exceptions.UnsafeVolumePath):
        faulty.site.attach(faulty.other)


def detach_by_device_info_removes_the_mapping(faulty):
    properties, info = faulty.attached
    faulty.site.detach(properties, info)
    assert info['path'] not in faulty.site.mapped_paths()


def attach_succeeds_once_the_server_is_back(faulty):
    faulty.site.server.start()
    faulty.site.server.start_mountd()
    servers.wait_until(lambda: _answers(faulty.place))
    faulty.site.attach(faulty.other)


_NOT_RESPONDING = (
    attach_of_a_file_seen_before_says_that_the_mount_does_not_respond,
    attach_says_that_the_mount_does_not_respond,
    detach_by_device_info_removes_the_mapping,
    attach_succeeds_once_the_server_is_back,
    sites.no_process_is_left,
)
_STALE = (
    attach_of_a_file_seen_before_says_that_the_mount_is_stale,
    attach_says_that_the_mount_is_stale,
    detach_by_device_info_removes_the_mapping,
    sites.no_process_is_left,
)


def _of(kind, check):
    """Return a check of the mount of one kind, of several that are mounted."""
    def check_of_kind(by_kind):
        check(by_kind[kind])
    check_of_kind.__name__ = f'{kind}-{check.__name__}'
    return check_of_kind


@contextlib.contextmanager
def _attached(site, version, export='nas1:/vols/cinder', options='', place=None):
    """Mount an export and attach a volume of it to the first LPAR."""
    _make_volumes(export.partition(':/')[2])
    with site.mounted(export, version, options, place) as place:
        attached, seen, other = (sites.by_path(place / name) for name in _VOLUMES)
        connector = site.connector()
        connector.disconnect_volume(seen, connector.connect_volume(seen))
        info = connector.connect_volume(attached)
        try:
            yield Faulty(site, place, other, seen, (attached, info))
            site.detach_all()
        finally:
            site.detach(attached, info)


def _make_volumes(directory):
    (servers.ROOT / directory).mkdir(exist_ok=True)
    for name in _VOLUMES:
        sites.make_volume(directory, name)


@contextlib.contextmanager
def server_stopped(site, version):
    site.unmount_kept()
    with contextlib.ExitStack() as mounts:
        by_kind = {
            kind: mounts.enter_context(_attached(
                site, version, f'nas1:/vols/{kind}', options, sites.BASE / kind))
            for kind, options in _KINDS.items()}
        site.server.stop()
        try:
            # A soft mount's own error comes after some 3 s.
            yield {kind: faulty if kind == 'hard' else dataclasses.replace(faulty, timeout_s=6)
                   for kind, faulty in by_kind.items()}
        finally:
            site.server.start()
            for faulty in by_kind.values():
                servers.wait_until(lambda place=faulty.place: _answers(place))


@contextlib.contextmanager
def mountd_stopped(site, version):
    site.unmount_kept()
    with _attached(site, version) as faulty:
        site.server.stop_mountd()
        try:
            yield faulty
        finally:
            site.server.start_mountd()
            servers.wait_until(lambda: _answers(faulty.place))


@contextlib.contextmanager
def unexported(site, version):
    with _fickle(site, version) as faulty:
        site.server.unexport('fickle')
        yield faulty


@contextlib.contextmanager
def fsid_changed(site, version):
    with _fickle(site, version) as faulty:
        site.server.unexport('fickle')
        site.server.export('fickle', fsid=102)
        yield faulty


@contextlib.contextmanager
def _fickle(site, version):
    """Mount an export that the other exports do not depend on."""
    site.server.export('fickle', fsid=101)
    try:
        with _attached(site, version, 'nas1:/fickle') as faulty:
            yield faulty
    finally:
        site.server.unexport('fickle')


@contextlib.contextmanager
def directory_recreated(site, version):
    # Not an export's own directory: its file handle may name nothing but the export.
    with _attached(site, version, 'nas1:/vols/fickle') as faulty:
        shutil.rmtree(servers.ROOT / 'vols/fickle')
        _make_volumes('vols/fickle')
        yield faulty


@contextlib.contextmanager
def read_only_export(site, version):
    with _unattachable(site, version, 'nas1:/read-only') as faulty:
        yield faulty


@contextlib.contextmanager
def squashed_directory(site, version):
    with _unattachable(site, version, 'nas1:/squash', 'private') as faulty:
        (servers.ROOT / 'squash/private').chmod(0o700)
        yield faulty


@contextlib.contextmanager
def squashed_file(site, version):
    with _unattachable(site, version, 'nas1:/squash') as faulty:
        (servers.ROOT / 'squash/volume-2').chmod(0o600)
        yield faulty


@contextlib.contextmanager
def _unattachable(site, version, export, directory='.'):
    exported = servers.ROOT / export.partition(':/')[2]
    (exported / directory).mkdir(exist_ok=True)
    sites.make_volume(exported / directory, 'volume-2')
    with site.mounted(export, version) as place:
        yield Faulty(site, place, sites.by_path(place / directory / 'volume-2'))


def _answers(place):
    """Whether a mount answers, as a process tells that can be killed."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return subprocess.run(['stat', '-f', place], capture_output=True, timeout=2,
                              check=False).returncode == 0
    return False


_UNSAFE = (attach_says_that_the_path_is_unsafe, sites.no_process_is_left)
_FAULTS_OF_ALL = {
    'server_stopped': (server_stopped, tuple(
        _of(kind, check) for check in _NOT_RESPONDING for kind in _KINDS)),
    'mountd_stopped': (mountd_stopped, _NOT_RESPONDING),
}
_FAULTS = {
    'unexported': (unexported, _STALE),
    'directory_recreated': (directory_recreated, _STALE),
    'fsid_changed': (fsid_changed, _STALE),
    # Where a mount is read-write, the server's answer to ACCESS decides, which says EACCES.
    'read_only_export': (read_only_export, _UNSAFE),
    'squashed_directory': (squashed_directory, _UNSAFE),
    'squashed_file': (squashed_file, _UNSAFE),
}


def groups():
    """Return the groups that disturb no mount but their own."""
    return _groups(_FAULTS)


def groups_of_all():
    """Return the groups that stop the server for all mounts."""
    return _groups(_FAULTS_OF_ALL)


def _groups(faults):
    return [cases.Group(version, name, setup, checks)
            for version in ('3', '4.2') for name, (setup, checks) in faults.items()]
