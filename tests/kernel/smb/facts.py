# SPDX-License-Identifier: Apache-2.0
"""What the connector does with the shares of a Samba, as the kernel mounts them.

To add a fact, write a function whose name says it, and a line in ``FACTS``.
"""

import contextlib
import os
import pathlib
import socket

from powervm_fileio_connector import exceptions
from tests.kernel.nfs import site as sites
from tests.kernel.nfs.server import run

EXPORT = '//nas1/vols'
# The same share by another name of its server, in another case, and by the address.
OTHER_EXPORTS = ('//nas2/vols', '//nas1/VOLS', '//127.0.0.1/vols')

_DIRECTORY = pathlib.Path('/srv/smb/vols')
_CONFIGURATION = f"""
[global]
    server role = standalone
    smb ports = 445
    interfaces = lo
    bind interfaces only = yes
    load printers = no
    disable spoolss = yes
[vols]
    path = {_DIRECTORY}
    read only = no
    force user = root
"""


def linux_shows_serverino_and_nothing_where_it_is_off(site):
    for options, is_shown in (('', True), ('noserverino', False)):
        with _mounted(EXPORT, options) as place:
            [line] = [line for line in pathlib.Path('/proc/self/mountinfo').read_text().split('\n')
                      if f' {place} ' in line]
            assert (',serverino,' in line) is is_shown, line
            assert 'noserverino' not in line


def a_volume_is_attached_again_extended_and_detached(site):
    volume = _volume('volume-life')
    with _mounted(EXPORT):
        info = site.attach(volume)
        assert site.attach(volume) == info
        os.truncate(_DIRECTORY / 'volume-life', 2 * sites.SIZE)
        assert site.connector().extend_volume(volume) == 2 * sites.SIZE
        with site.refused(exceptions.VolumeInUse):
            site.attach(volume, lpar=2)
        site.detach(volume, info)
        site.detach(volume, info)
        assert site.mapped_paths() == []


def one_file_goes_to_one_lpar_by_whatever_name_of_share_and_file(site):
    _goes_to_one_lpar(site, '')


def one_file_goes_to_one_lpar_where_each_mount_has_a_connection_of_its_own(site):
    _goes_to_one_lpar(site, 'nosharesock')


def one_file_goes_to_one_lpar_where_inode_numbers_are_made_up(site):
    _goes_to_one_lpar(site, 'noserverino')


def another_file_of_the_share_is_another_one(site):
    for options in ('', 'noserverino'):
        with _mounted(EXPORT, options), _mounted(OTHER_EXPORTS[0], options):
            site.attach(_volume('volume-a'))
            site.attach({**_volume('volume-b'), 'export': OTHER_EXPORTS[0]}, lpar=2)
            site.detach_all()


def a_file_that_is_made_anew_at_the_server_is_found(site):
    volume = _volume('volume-new')
    with _mounted(EXPORT):
        site.attach(volume)
        site.detach_all()
        (_DIRECTORY / 'volume-new').rename(_DIRECTORY / 'kept')
        with site.refused(exceptions.VolumeFileNotFound):
            site.attach(volume)
        _volume('volume-new')
        site.attach(volume)


def a_server_that_stops_is_told_and_holds_up_no_detach(site):
    volume = _volume('volume-stop')
    with _mounted(EXPORT):
        info = site.attach(volume)
        run('pkill', '-STOP', 'smbd')
        try:
            with site.refused(exceptions.MountNotResponding):
                site.attach(_volume('volume-other'), timeout_s=sites.SHORT_S)
            site.detach(volume, info)
            assert site.mapped_paths() == []
        finally:
            run('pkill', '-CONT', 'smbd')
        site.attach(volume)


FACTS = (
    linux_shows_serverino_and_nothing_where_it_is_off,
    a_volume_is_attached_again_extended_and_detached,
    one_file_goes_to_one_lpar_by_whatever_name_of_share_and_file,
    one_file_goes_to_one_lpar_where_each_mount_has_a_connection_of_its_own,
    one_file_goes_to_one_lpar_where_inode_numbers_are_made_up,
    another_file_of_the_share_is_another_one,
    a_file_that_is_made_anew_at_the_server_is_found,
    a_server_that_stops_is_told_and_holds_up_no_detach,
)


def prepare():
    """Start Samba, with one share."""
    run('modprobe', 'cifs')
    with open('/etc/hosts', 'a') as hosts:
        hosts.write('127.0.0.1 nas1 nas2\n')
    for directory in ('/srv', '/var/lib/samba', '/var/log/samba', '/run/samba'):
        pathlib.Path(directory).mkdir(parents=True, exist_ok=True)
        run('mount', '-t', 'tmpfs', 'samba', directory)
    for directory in (_DIRECTORY, pathlib.Path('/var/lib/samba/private'), sites.BASE):
        directory.mkdir(parents=True)
    pathlib.Path('/etc/samba').mkdir(exist_ok=True)
    pathlib.Path('/etc/samba/smb.conf').write_text(_CONFIGURATION)
    run('sh', '-c', 'printf "secret\\nsecret\\n" | smbpasswd -s -a root')
    run('smbd', '-D')
    sites.wait_until(_accepts)


def _accepts():
    with socket.socket() as client:
        return client.connect_ex(('127.0.0.1', 445)) == 0


def _goes_to_one_lpar(site, options):
    """Check each path of one file against each, from both ends."""
    volume = _volume('volume-1')
    with contextlib.ExitStack() as mounts:
        places = [mounts.enter_context(_mounted(export, options))
                  for export in (EXPORT, *OTHER_EXPORTS)]
        paths = [{'path': f'{place}/{name}'} for place in places
                 for name in ('volume-1', 'VOLUME-1')]
        for first in (volume, *paths):
            site.attach(first)
            for second in (volume, *paths):
                with site.refused(exceptions.VolumeInUse):
                    site.attach(second, lpar=2)
            site.detach_all()
            assert site.mapped_paths() == [], first


@contextlib.contextmanager
def _mounted(export, options=''):
    place = sites.place_of(export)
    place.mkdir(exist_ok=True)
    run('mount', '-t', 'cifs', '-o', ','.join(filter(None, (
        'username=root,password=secret', options))), export, place)
    try:
        yield place
    finally:
        run('umount', place)


def _volume(name):
    path = _DIRECTORY / name
    path.touch()
    os.truncate(path, sites.SIZE)
    return {'export': EXPORT, 'name': name, 'format': 'raw', 'options': None}
