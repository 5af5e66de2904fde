# SPDX-License-Identifier: Apache-2.0
"""The kernel's NFS server in the machine, with the exports that the cases use.

It is reached as ``nas1`` and ``nas1.example.com``, by a second name of the same address (``nas2``),
and by a second address (``nas3``).
"""

import os
import pathlib
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


class Server:
    """The server, which is started once."""

    def __init__(self):
        for module in ('loop', 'ext4', 'nfsd', 'nfs', 'nfsv3', 'nfsv4'):
            run('modprobe', module)
        with open('/etc/hosts', 'a') as hosts:
            for address, names in ADDRESSES.items():
                hosts.write(f'{address} {names}\n')
                length = '128' if ':' in address else '32'
                run('ip', 'address', 'add', f'{address}/{length}', 'dev', 'lo')
        make_file_system(ROOT)
        for directory in ('vols/cinder', 'vols/inner', 'read-only', 'squash', 'moved'):
            (ROOT / directory).mkdir(parents=True)
        make_file_system(ROOT / 'vols/inner')
        pathlib.Path('/etc/nfs.conf').write_text(_CONFIGURATION)
        pathlib.Path('/etc/exports').write_text(_EXPORTS)
        with open('/etc/passwd', 'a') as users:
            users.write('_rpc:x:1:1::/run/rpcbind:/bin/false\n')
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
            # There is nothing to reclaim.
            pathlib.Path('/proc/fs/nfsd/v4_end_grace').write_text('Y')

    def stop(self):
        run('rpc.nfsd', '0')

    def start_mountd(self):
        """Start mountd, unless it runs."""
        if not _is_mountd_running():
            run('rpc.mountd')

    def stop_mountd(self):
        """Stop mountd, and have the server forget what it was told of exports and clients."""
        run('busybox', 'killall', 'rpc.mountd')
        wait_until(lambda: not _is_mountd_running())
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


def _is_mountd_running():
    return subprocess.run(['busybox', 'pidof', 'rpc.mountd'], capture_output=True,
                          check=False).returncode == 0


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
