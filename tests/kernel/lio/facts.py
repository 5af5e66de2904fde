# SPDX-License-Identifier: Apache-2.0
"""What rules of ours rest on, seen on the kernel itself.

To add a fact, write a function whose name says it, and a line in ``FACTS``.
"""

import contextlib
import errno
import functools
import os
import pathlib
import subprocess

from tests.kernel.lio import target
from tests.kernel.nfs import server as servers
from tests.kernel.nfs.server import run
from tests.kernel.nfs.server import wait_until

DIRECTORY = pathlib.Path('/srv/lio')
SIZE = 1 << 20
_BLOCKED_S = 10     # what has not ended by then waits for the share


def fileio_cuts_a_path_at_255_bytes_and_creates_what_is_left():
    path = _volume(_path_of(257))
    cut = pathlib.Path(str(path)[:255])
    target.fileio(path, SIZE)
    assert cut.stat().st_size == 0, 'made by LIO'
    _is_served(target.fileio(_volume(_path_of(255)), SIZE))


def fileio_makes_one_store_of_two_paths_that_differ_after_255_bytes():
    one, other = (_volume(_path_of(257).with_name(name)) for name in (
        _path_of(257).name[:-1] + end for end in 'ab'))
    target.Target().add(target.fileio(one, SIZE)).write(b'written to the one')
    read = target.Target().add(target.fileio(other, SIZE)).read()
    assert read.startswith(b'written to the one')
    assert not any(path.read_bytes().startswith(b'written') for path in (one, other))


def fileio_cuts_a_path_at_a_comma_and_at_a_newline():
    for separator in ',\n':
        path = _volume(DIRECTORY / f'before{ord(separator)}{separator}after')
        target.fileio(path, SIZE)
        assert (DIRECTORY / f'before{ord(separator)}').exists()


def loop_serves_a_path_of_a_thousand_bytes_and_any_character():
    path = _volume(_path_of(1000).with_name('a,b\nc:d e\u00e9'), b'marker')
    while len(os.fsencode(path)) < 1000:
        path = path.rename(path.with_name(path.name + 'f'))
    store, _ = target.loop(path)
    assert target.Target().add(store).read().startswith(b'marker')


def loop_shows_a_new_size_after_losetup_c_and_a_rescan():
    path = _volume(DIRECTORY / 'grows-on-loop')
    store, device = target.loop(path)
    disk = target.Target().add(store)
    os.truncate(path, 2 * SIZE)
    assert (disk.size, disk.rescan()) == (SIZE, SIZE)
    run('losetup', '-c', device)
    assert (disk.size, disk.rescan()) == (SIZE, 2 * SIZE)


def fileio_shows_a_new_size_after_a_new_fd_dev_size_and_a_rescan():
    path = _volume(DIRECTORY / 'grows-on-fileio')
    store = target.fileio(path, SIZE)
    disk = target.Target().add(store)
    os.truncate(path, 2 * SIZE)
    assert (disk.size, disk.rescan()) == (SIZE, SIZE)
    store.control(f'fd_dev_size={2 * SIZE}')
    assert (disk.size, disk.rescan()) == (SIZE, 2 * SIZE)


def sizes_are_rounded_down_to_sectors():
    path = _volume(DIRECTORY / 'odd', size=SIZE + 700)
    store, _ = target.loop(path)
    assert target.Target().add(store).size == SIZE + 512
    assert target.Target().add(target.fileio(path, SIZE + 700)).size == SIZE + 512


def a_name_of_an_object_is_unique_within_its_hba_only():
    target.Backstore('fileio', 'same-name')
    with _error(errno.EEXIST):
        target.Backstore('fileio', 'same-name')
    target.Backstore('fileio', 'same-name', hba=1)


def a_name_of_an_object_may_hold_a_blank():
    target.Backstore('fileio', 'a blank')


def a_hung_share_delays_the_removal_of_its_lun_and_new_luns_of_its_target():
    with _share('removal') as (server, file):
        one, other = target.Target(), target.Target()
        hanging = one.add(target.fileio(file, SIZE), 0)
        healthy = one.add(target.fileio(_volume(DIRECTORY / 'healthy'), SIZE), 1)
        second, third = (target.fileio(_volume(DIRECTORY / name), SIZE) for name in '23')
        server.stop()
        with _started(_writing(hanging)) as io:
            wait_until(lambda: hanging.is_busy)
            with _started(one.remove_command(0)) as removal:
                assert not _ends(removal), 'removal of the LUN'
                assert not _ends(io), 'writing to it'
                healthy.write(b'to another disk of the same target')
                with _started(one.add_command(2, second)) as addition:
                    assert not _ends(addition), 'addition of a LUN to the same target'
                    print(f'addition: {_waits_in(addition)}; removal: {_waits_in(removal)}')
                    run('sh', '-c', other.add_command(0, third))
                    server.start()
                    for process in (io, removal, addition):
                        process.wait(timeout=120)
                    assert addition.returncode == 0


def loop_acknowledges_a_write_to_a_hung_share_but_no_flush():
    with _share('loop') as (server, file):
        disk = target.Target().add(target.loop(file)[0])
        server.stop()
        with _started(_writing(disk)) as io:
            assert _ends(io)
        with _started(f'blockdev --flushbufs {disk.device}; {_writing(disk)} conv=fsync') as io:
            assert not _ends(io)
            server.start()
            io.wait(timeout=120)


def qcow_shows_the_contents_of_an_image():
    path = _image(DIRECTORY / 'image.qcow2', b'marker')
    assert _read_qcow(path).startswith(b'marker')


def qcow_cuts_a_path_at_250_bytes():
    path = _image(_path_of(251), b'of the whole path')
    _image(pathlib.Path(str(path)[:250]), b'of what is left')
    assert _read_qcow(path).startswith(b'of what is left')
    assert _read_qcow(_image(_path_of(250, 'g'), b'250 bytes')).startswith(b'250 bytes')


def qcow_cuts_a_path_at_a_comma():
    path = _image(DIRECTORY / 'image,after', b'of the whole path')
    _image(DIRECTORY / 'image', b'of what is left')
    assert _read_qcow(path).startswith(b'of what is left')


def qcow_takes_a_path_with_a_colon():
    assert _read_qcow(_image(DIRECTORY / 'a:b', b'marker')).startswith(b'marker')


def qcow_probes_a_backing_file_that_is_named_raw():
    secret = _volume(DIRECTORY / 'secret', b'secret')
    raw = DIRECTORY / 'named-raw'
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', secret, '-F', 'raw', raw)
    path = DIRECTORY / 'above.qcow2'
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-u', '-b', raw, '-F', 'raw', path, str(SIZE))
    assert _read_qcow(path).startswith(b'secret')


def qcow_writes_to_images_on_ext4_and_on_tmpfs():
    for path in (DIRECTORY / 'written', pathlib.Path('/dev/shm/written')):
        disk = target.Target().add(target.qcow(_image(path, b'before'), SIZE))
        disk.write(b'after')
        assert disk.read().startswith(b'after')
        run('qemu-img', 'check', '-q', path)


FACTS = (
    fileio_cuts_a_path_at_255_bytes_and_creates_what_is_left,
    fileio_makes_one_store_of_two_paths_that_differ_after_255_bytes,
    fileio_cuts_a_path_at_a_comma_and_at_a_newline,
    loop_serves_a_path_of_a_thousand_bytes_and_any_character,
    loop_shows_a_new_size_after_losetup_c_and_a_rescan,
    fileio_shows_a_new_size_after_a_new_fd_dev_size_and_a_rescan,
    sizes_are_rounded_down_to_sectors,
    a_name_of_an_object_is_unique_within_its_hba_only,
    a_name_of_an_object_may_hold_a_blank,
    qcow_shows_the_contents_of_an_image,
    qcow_cuts_a_path_at_250_bytes,
    qcow_cuts_a_path_at_a_comma,
    qcow_takes_a_path_with_a_colon,
    qcow_probes_a_backing_file_that_is_named_raw,
    qcow_writes_to_images_on_ext4_and_on_tmpfs,
    # Last: what hangs in the kernel may not come back.
    loop_acknowledges_a_write_to_a_hung_share_but_no_flush,
    a_hung_share_delays_the_removal_of_its_lun_and_new_luns_of_its_target,
)


def _path_of(size, letter='f'):
    """Return a path of so many bytes, on a file system that LIO can use."""
    path = DIRECTORY
    while size - len(str(path)) > 250:
        path /= 'd' * min(200, size - len(str(path)) - 20)
    return path / (letter * (size - len(str(path)) - 1))


def _volume(path, data=b'', size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'wb') as file:
        file.write(data)
        file.truncate(size)
    return path


def _image(path, data):
    """Make a qcow2 image with these contents, of a megabyte."""
    raw = _volume(DIRECTORY / 'contents', data)
    run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw, path)
    return path


def _read_qcow(path):
    return target.Target().add(target.qcow(path, SIZE)).read()


def _is_served(store):
    target.Target().add(store).write(b'marker')


@contextlib.contextmanager
def _error(number):
    seen = None
    try:
        yield
    except OSError as err:
        seen = err.errno
    assert seen == number


@contextlib.contextmanager
def _share(name):
    """Mount an NFS share with a file; yield its server and the file. At the end the server runs."""
    server = _server()
    _volume(servers.ROOT / 'vols/cinder' / name)
    place = pathlib.Path('/mnt', name)
    place.mkdir(parents=True)
    run('mount', '-t', 'nfs', '-o', 'vers=4.2,hard,nosharecache', 'nas1:/vols/cinder', place)
    try:
        yield server, place / name
    finally:
        server.start()


@functools.cache
def _server():
    servers.prepare()
    return servers.Server()


def _writing(disk):
    return f'dd if=/dev/zero of={disk.device} bs=512 count=8 oflag=direct'


@contextlib.contextmanager
def _started(command):
    process = subprocess.Popen(['sh', '-c', f'exec 2>&1; {command}'], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL)
    yield process


def _ends(process):
    try:
        process.wait(timeout=_BLOCKED_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _waits_in(process):
    """Return the kernel's functions that a process, or its child, waits in."""
    children = pathlib.Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()
    stack = pathlib.Path('/proc', (children or [str(process.pid)])[0], 'stack').read_text()
    return ' < '.join(line.split()[1].partition('+')[0] for line in stack.splitlines()[:8])


def prepare():
    """Make the file system that the files lie on."""
    servers.make_file_system(DIRECTORY)
    wait_until(DIRECTORY.is_mount)
