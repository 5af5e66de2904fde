# SPDX-License-Identifier: Apache-2.0
"""The kernel's NFS server in the machine, with the exports that the cases use.

It is reached as ``nas1`` and ``nas1.example.com``, by a second name of the same address (``nas2``),
and by a second address (``nas3``).
"""

import contextlib
import ctypes
import os
import pathlib
import signal
import subprocess

import retrying

ADDRESSES = {'192.0.2.1': 'nas1 nas1.example.com nas2', '192.0.2.2': 'nas3', '2001:db8::1': 'nas6'}

# What the server exports; an export's directory lies below it, since an overlay cannot be exported.
ROOT = pathlib.Path('/srv/nfs')

_OPTIONS = 'no_subtree_check,sync'
_EXPORTS = f"""
/vols *(rw,no_root_squash,crossmnt,fsid=1,{_OPTIONS})
/read-only *(ro,no_root_squash,fsid=2,{_OPTIONS})
/squash *(rw,root_squash,fsid=3,{_OPTIONS})
/moved *(rw,no_root_squash,refer=/vols/cinder@192.0.2.2,{_OPTIONS})
"""
_CONFIGURATION = f"""
[exports]
rootdir={ROOT}
[nfsd]
grace-time=10
lease-time=10
threads=4
"""


_CLONE_NEWNS, _CLONE_NEWNET = 0x20000, 0x40000000


def prepare():
    """Do what servers of all networks need, once in the machine."""
    run('modprobe', '--all', 'loop', 'ext4', 'ipv6', 'nfsd', 'nfs', 'nfsv3', 'nfsv4')
    with open('/etc/hosts', 'a') as hosts:
        hosts.writelines(f'{address} {names}\n' for address, names in ADDRESSES.items())
    with open('/etc/passwd', 'a') as users:
        users.write('_rpc:x:1:1::/run/rpcbind:/bin/false\n')
    mounts = pathlib.Path('/etc/mtab')
    if not mounts.exists():     # as in a minimal Debian; mountd would crash
        mounts.symlink_to('/proc/self/mounts')
    pathlib.Path('/etc/nfs.conf').write_text(_CONFIGURATION)
    pathlib.Path('/etc/exports').write_text(_EXPORTS)


def leave_the_mounts_of_others():
    """Give this process mounts of its own."""
    ctypes.CDLL(None).unshare(_CLONE_NEWNS)
    run('mount', '--make-rprivate', '/')


def leave_the_server_of_others(results):
    """Give this process mounts and a network of its own, where it can start a server of its own.

    :param results: what stays in ``/run``, which is where a server's programs have their sockets
    """
    leave_the_mounts_of_others()
    ctypes.CDLL(None).unshare(_CLONE_NEWNET)
    run('mount', '-t', 'tmpfs', 'run', '/mnt')
    kept = pathlib.Path('/mnt', results.name)
    kept.mkdir()
    run('mount', '--bind', results, kept)
    # Of the mount table in /run nothing is kept.
    run('mount', '--no-mtab', '--move', '/mnt', '/run')
    run('mount', '-t', 'tmpfs', 'state', '/var/lib/nfs')
    run('ip', 'link', 'set', 'lo', 'up')


class Server:
    """The server of this process's network, which is started once."""

    def __init__(self):
        for address in ADDRESSES:
            length = '128' if ':' in address else '32'
            run('ip', 'address', 'add', f'{address}/{length}', 'dev', 'lo')
        make_file_system(ROOT)
        for directory in ('vols/cinder', 'vols/inner', 'read-only', 'squash', 'moved'):
            (ROOT / directory).mkdir(parents=True)
        make_file_system(ROOT / 'vols/inner')
        for state in ('etab', 'rmtab'):
            pathlib.Path('/var/lib/nfs', state).touch()
        for directory in ('/run/rpcbind', '/var/lib/nfs/sm', '/var/lib/nfs/v4recovery'):
            pathlib.Path(directory).mkdir(parents=True, exist_ok=True)
        run('mount', '-t', 'nfsd', 'nfsd', '/proc/fs/nfsd')
        run('rpcbind')
        run('rpc.statd', '--no-notify')
        run('exportfs', '-r')
        self._exported = set()
        self.start()
        self.start_mountd()

    def start(self):
        """Start the server, unless it runs."""
        if pathlib.Path('/proc/fs/nfsd/threads').read_text().strip() == '0':
            run('rpc.nfsd', '4')
            # There is nothing to reclaim. In a network that is not the first one, the kernel keeps
            # no record of clients, and refuses to end the time for that before it has passed.
            with contextlib.suppress(OSError):
                pathlib.Path('/proc/fs/nfsd/v4_end_grace').write_text('Y')

    def stop(self):
        run('rpc.nfsd', '0')

    def start_mountd(self):
        """Start mountd, unless it runs."""
        if not _mountds():
            run('rpc.mountd')

    def stop_mountd(self):
        """Stop mountd, and have the server forget what it was told of exports and clients."""
        for pid in _mountds():
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not _mountds())
        self.forget()

    def forget(self):
        run('exportfs', '-f')

    def export(self, name, fsid):
        """Export a directory, which is made where it is missing."""
        (ROOT / name).mkdir(exist_ok=True)
        run('exportfs', '-o', f'rw,no_root_squash,fsid={fsid},{_OPTIONS}', f'*:/{name}')
        self._exported.add(name)
        self.forget()

    def unexport(self, name):
        """Take an export back, unless that has been done."""
        if name in self._exported:
            run('exportfs', '-u', f'*:/{name}')
            self._exported.remove(name)
            self.forget()


def _mountds():
    """Return the processes that are a mountd of this process's network."""
    found = []
    network = os.readlink('/proc/self/ns/net')
    for process in pathlib.Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError):      # it has just ended
            if (process / 'comm').read_text().strip() == 'rpc.mountd' and os.readlink(
                    process / 'ns/net') == network:
                found.append(int(process.name))
    return found


def make_file_system(place):
    image = pathlib.Path('/run', f'image-{place.name}')
    with open(image, 'wb') as file:
        file.truncate(64 << 20)
    run('mkfs.ext4', '-q', '-F', '-O', '^has_journal', image)
    place.mkdir(parents=True, exist_ok=True)
    run('mount', '-o', 'loop', image, place)


def run(*command, timeout_s=60):
    """Run a command that must succeed, and is not what any check is about."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s,
                            check=False, stdin=subprocess.DEVNULL)
    if result.returncode:
        raise RuntimeError(f'{" ".join(map(os.fspath, command))}: {result.stderr.strip()}')
    return result.stdout


def wait_until(condition, timeout_s=60):
    """Wait for a condition; fails where it does not hold in time."""
    retrying.Retrying(retry_on_result=lambda held: not held, wait_fixed=100,
                      stop_max_delay=timeout_s * 1000).call(condition)
