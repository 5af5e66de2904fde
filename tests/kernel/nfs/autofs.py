# SPDX-License-Identifier: Apache-2.0
"""Shares that autofs mounts when they are asked for."""

import contextlib
import os
import pathlib
import subprocess

from powervm_fileio_connector import exceptions
from tests.kernel import cases
from tests.kernel.nfs import life_cycle
from tests.kernel.nfs import server as servers
from tests.kernel.nfs import site as sites

_DIRECT = 'nas2:/vols/cinder'       # at its conventional place
_INDIRECT = pathlib.Path('/auto/indirect')
_WILDCARD = pathlib.Path('/auto/wildcard')


@contextlib.contextmanager
def automounter(version):
    """Run an automount daemon, which mounts nothing yet."""
    direct = sites.place_of(_DIRECT)
    options = f'-fstype=nfs,vers={version},{sites.CACHING}'
    maps = {
        'auto.master': f'/- /etc/auto.direct\n{_INDIRECT} /etc/auto.indirect\n'
                       f'{_WILDCARD} /etc/auto.wildcard\n',
        'auto.direct': f'{direct} {options} {_DIRECT}\n',
        'auto.indirect': f'cinder {options} nas1:/vols/cinder\n',
        'auto.wildcard': f'* {options} nas1:/vols/&\n',
    }
    for name, text in maps.items():
        _replace(pathlib.Path('/etc', name), text)
    # A directory that one made itself it would remove when it ends, and with it, in the kernel,
    # the mount that another has there.
    for place in (direct, _INDIRECT, _WILDCARD):
        place.mkdir(parents=True, exist_ok=True)
    # In a session of its own, or signals for the cases would reach it as well.
    daemon = subprocess.Popen(['automount', '--foreground', '--negative-timeout', '1'],
                              start_new_session=True, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        servers.wait_until(lambda: all(f' {place} ' in pathlib.Path('/proc/mounts').read_text()
                                     for place in (direct, _INDIRECT, _WILDCARD)))
        yield
    finally:
        daemon.terminate()
        daemon.wait(timeout=60)


def _replace(path, text):
    """Write a file that another daemon, with mounts of its own, may be reading."""
    new = path.with_name(f'{path.name}-{os.getpid()}')
    new.write_text(text)
    new.replace(path)


def _share(place, other_export=None):
    @contextlib.contextmanager
    def setup(site, version):
        volume = f'volume-{version}'
        file = sites.make_volume('vols/cinder', volume)
        site.keep_mounted(life_cycle.EXPORT, version)
        with automounter(version):
            yield sites.Share(site, file, sites.by_export(life_cycle.EXPORT, volume),
                              sites.by_path(place / volume),
                              other_export and sites.by_export(other_export, volume))
    return setup


def attach_while_the_server_is_down_is_refused(share):
    share.site.server.stop()
    try:
        with share.site.refused(exceptions.MountNotResponding, exceptions.ShareNotMounted):
            share.site.attach(share.by_path, timeout_s=sites.SHORT_S)
    finally:
        share.site.server.start()


def attach_succeeds_once_the_server_is_back(share):
    def is_attached():
        with contextlib.suppress(exceptions.MountNotResponding, exceptions.ShareNotMounted):
            return share.site.attach(share.by_path)
        return None
    # autofs remembers for a minute that it could not mount.
    servers.wait_until(is_attached, timeout_s=2 * sites.LONG_S)


_DOWN = (attach_while_the_server_is_down_is_refused, attach_succeeds_once_the_server_is_back,
         sites.no_process_is_left)
_ONE_DISK = (*life_cycle.ONE_DISK, sites.no_process_is_left)
_DIRECT_DISK = (life_cycle.attach_by_the_second_export_maps_the_file, *_ONE_DISK)


def groups():
    """Return the groups that need the server to run."""
    return [
        _group('direct', _DIRECT_DISK, sites.place_of(_DIRECT), _DIRECT),
        _group('indirect', _ONE_DISK, _INDIRECT / 'cinder'),
        _group('wildcard', _ONE_DISK, _WILDCARD / 'cinder'),
    ]


def fault_groups():
    return [_group('server_down', _DOWN, _WILDCARD / 'cinder')]


def _group(name, checks, *place):
    return cases.Group('4.2', f'autofs_{name}', _share(*place), checks)
