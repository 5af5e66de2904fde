# SPDX-License-Identifier: Apache-2.0
"""A Linux on an emulated Power machine, started with the disks that NovaLink's mappings give it.

Each mapping is a disk at its LUA, on a virtual adapter whose address is that of its slot.
"""

import contextlib
import dataclasses
import json
import re
import select
import socket
import subprocess
import time

from tests.kernel import apt

_TIMEOUT_S = 600        # a busy host without hardware virtualisation is slow


@dataclasses.dataclass(frozen=True)
class SeenDisk:
    """A disk as the guest sees it.

    :ivar slot: of the adapter that it is on, by the adapter's unit address
    :ivar address: host, channel, target and LUN
    :ivar marker: the letters that it begins with
    """

    slot: int
    address: str
    size: int
    marker: str

    @property
    def lun(self):
        return int(self.address.rpartition(':')[2])


class Partition:
    """A guest that runs."""

    def __init__(self, process, monitor):
        self._process = process
        self._monitor = monitor
        self._printed = b''
        self.kernel = self._until(r'ready with (.*)')[1].strip()

    def disks(self):
        """Return the disks that the guest has, by the order of their addresses."""
        text = self._ask('disks')
        return sorted((SeenDisk(int(unit, 16) & 0xfff, address, int(sectors) * 512, marker)
                       for unit, address, sectors, marker in re.findall(
                           r'disk (\S+) (\S+) (\d+) ?(\S*)', text)), key=lambda disk: disk.lun)

    def rescan(self):
        self._ask('rescan')

    def resize(self, lua, size):
        """Tell the guest's disk of this LUA that its file has another size, as NovaLink does."""
        self._monitor.ask('block_resize', device=lua, size=size)

    def _ask(self, command):
        self._process.stdin.write(f'{command}\n'.encode())
        self._process.stdin.flush()
        return self._until(f'([^\0]*)done {command}')[1]

    def _until(self, pattern):
        """Read what the guest prints until a pattern; return its match."""
        until = time.monotonic() + _TIMEOUT_S
        while True:
            text = self._printed.decode(errors='replace').replace('\r', '')
            match = re.search(pattern + '\n', text)
            if match:
                self._printed = b''
                return match
            left = until - time.monotonic()
            if left < 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise TimeoutError(f'the guest did not answer:\n{text[-3000:]}')
            chunk = self._process.stdout.read1(65536)
            if not chunk:
                raise ConnectionError(f'the guest has ended:\n{text[-3000:]}')
            self._printed += chunk


class _Monitor:
    """QEMU's monitor."""

    def __init__(self, place):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(place)
        self._lines = self._socket.makefile()
        self._lines.readline()
        self.ask('qmp_capabilities')

    def ask(self, command, **arguments):
        message = json.dumps({'execute': command, 'arguments': arguments})
        self._socket.sendall(message.encode())
        for line in self._lines:
            answer = json.loads(line)
            if 'return' in answer:
                return answer['return']
            if 'error' in answer:
                raise RuntimeError(f'{command}: {answer["error"]["desc"]}')
        raise ConnectionError('QEMU has ended')

    def close(self):
        self._lines.close()
        self._socket.close()


@contextlib.contextmanager
def started(made, mappings, directory):
    """Start a guest with the disks of these mappings, until the end of the context.

    :param mappings: as the simulator has them
    :param directory: where QEMU's monitor is
    """
    place = str(directory / 'monitor')
    process = subprocess.Popen(
        [*_qemu(made, place), *_disks(mappings)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    monitor = None
    try:
        # QEMU listens before it prints anything.
        select.select([process.stdout], [], [], _TIMEOUT_S)
        monitor = _Monitor(place)
        yield Partition(process, monitor)
    finally:
        if monitor:
            monitor.close()
        process.kill()
        process.communicate()


def _qemu(made, monitor):
    return ['setpriv', '--pdeathsig', 'KILL', *apt.command(made.tools, 'qemu-system-ppc64'),
            *_firmware(made.tools), '-machine', 'pseries,cap-cfpc=broken,cap-sbbc=broken,'
            'cap-ibs=broken,cap-ccf-assist=off', '-cpu', 'power9', '-accel', 'tcg,thread=multi',
            '-smp', '1', '-m', '768', '-nodefaults', '-no-user-config', '-display', 'none',
            '-nic', 'none', '-no-reboot', '-chardev', 'stdio,id=console',
            '-device', 'spapr-vty,chardev=console', '-qmp', f'unix:{monitor},server=on,wait=off',
            '-kernel', made.kernel, '-initrd', made.initramfs,
            '-append', 'console=hvc0 quiet panic=-1 mitigations=off audit=0']


def _firmware(tree):
    return [word for place in ('share/qemu', 'share/seabios', 'lib/ipxe/qemu')
            if (tree / 'usr' / place).is_dir() for word in ('-L', tree / 'usr' / place)]


def _disks(mappings):
    arguments = []
    for slot in sorted({mapping.slot for mapping in mappings}):
        # The unit address by which PowerVM shows the adapter of a slot.
        arguments += ['-device', f'spapr-vscsi,id=slot{slot},reg={0x30000000 | slot:#x}']
    for mapping in mappings:
        lun = mapping.lua.removeprefix('lun')
        kind = 'qcow2' if mapping.backstore == 'user:qcow' else 'raw'
        path = mapping.path.replace(',', ',,')
        arguments += [
            '-drive', f'if=none,id={mapping.lua},format={kind},file={path}',
            '-device', f'scsi-hd,bus=slot{mapping.slot}.0,drive={mapping.lua},channel=0,scsi-id=0,'
            f'lun={lun}']
    return arguments
