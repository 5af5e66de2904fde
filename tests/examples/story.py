# SPDX-License-Identifier: Apache-2.0
"""The outputs that the documentation shows: one story, told by the real command.

    python -m tests.examples.story          writes doc/source/output/*.txt afresh

It runs in mount and network namespaces of its own, so that an export can be mounted where Nova
mounts it and NovaLink's own port is free. A tmpfs stands for the export, the simulator for
NovaLink.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import fcntl
import hashlib
import itertools
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator

OUTPUT = pathlib.Path(__file__).parents[2] / 'doc' / 'source' / 'output'

EXPORT = 'nas1:/vols'
PLACE = f'/var/lib/nova/mnt/{hashlib.md5(EXPORT.encode()).hexdigest()}'
PORT = 12080
WIDTH = 80      # columns of the terminal
VOLUME_ID = '7c1e0b1e-2a34-4a57-9d7c-51ce44f0f5a1'
GIB = 1 << 30
HOST = 'neo-1'
CLOUDS = """\
clouds:
  files:
    auth:
      auth_url: {url}/identity/v3
      username: operator
      password: SECRET
      project_name: files
      user_domain_name: Default
      project_domain_name: Default
"""


def volume_id(number: int) -> str:
    """The id of one of the story's other volumes."""
    return f'0000000{number}-9a1f-4c55-8a3e-2f4f1c7b6d10'


def connection_info(id_: str) -> dict[str, object]:
    """What Cinder's NFS driver sends, as far as it matters."""
    return {'driver_volume_type': 'nfs', 'volume_id': id_,
            'data': {'export': EXPORT, 'name': f'volume-{id_}', 'options': None, 'format': 'raw'}}


@dataclasses.dataclass
class Teller:
    """Runs commands in a directory, whose ``bin`` holds it, and keeps what they say."""

    directory: pathlib.Path
    outputs: dict[str, str] = dataclasses.field(default_factory=dict)

    def tell(self, name: str, *lines: str, stdin: str = '', code: int = 0) -> None:
        """Run commands; their output, one after the other, is the text of that name.

        :param code: what each of them ends with, and a reader is shown
        """
        text = ''
        for line in lines:
            done = subprocess.run(
                ['bash', '-c', f'{line} 2>&1'], input=stdin, text=True, check=False,
                stdout=subprocess.PIPE, timeout=120, cwd=self.directory,
                env={**os.environ, 'PATH': f'{self.directory}/bin:/usr/bin:/bin',
                     'COLUMNS': str(WIDTH), 'CLIFF_MAX_TERM_WIDTH': str(WIDTH),   # a terminal's
                     'XDG_STATE_HOME': str(self.directory)})
            text += _folded(f'$ {line}\n{done.stdout}')
            assert done.returncode == code, text
            if code:
                text += f'$ echo $?\n{done.returncode}\n'
        self.outputs[name] = text

    def write_json(self, name: str, content: object) -> None:
        """Put a file where the commands run."""
        (self.directory / name).write_text(json.dumps(content, indent=2) + '\n')


def tell() -> dict[str, str]:
    """Tell the story; return the text of each of its parts by name."""
    with _directory_with_the_command() as directory:
        return {**_tell_of_a_host(Teller(directory)), **_tell_by_hand(Teller(directory))}


def _tell_of_a_host(story: Teller) -> dict[str, str]:
    with _host() as (sim, db):
        path = f'{PLACE}/volume-{VOLUME_ID}'
        _grow(path, 10 * GIB)
        story.write_json('volume.json', connection_info(VOLUME_ID))
        story.outputs['volume_json'] = (story.directory / 'volume.json').read_text()
        story.tell('help', 'powervm-fileio --help')
        story.tell('config', 'powervm-fileio config')
        story.tell('check', 'powervm-fileio check volume.json --lpar web01')
        story.tell('dry_run', 'powervm-fileio attach volume.json --lpar web01 --dry-run')
        story.tell('attach', 'powervm-fileio attach volume.json --lpar web01')
        story.tell('attach_json',
                   'powervm-fileio attach volume.json --lpar web01 -f json | tee device_info.json')
        story.tell('in_use', 'powervm-fileio attach volume.json --lpar db01', code=8)
        story.tell('check_failed', 'powervm-fileio check volume.json --lpar db01', code=12)
        _grow(path, 20 * GIB)
        story.tell('extend', f'powervm-fileio extend {VOLUME_ID}')
        for number in (1, 2):
            _grow(f'{PLACE}/volume-{volume_id(number)}', number * GIB)
        story.write_json('many.json', [
            {**connection_info(volume_id(1)), 'lpar': 'web01', 'slot': 5},
            {**connection_info(volume_id(2)), 'lpar': 'db01'},
            {**connection_info(volume_id(3)), 'lpar': 'db01'}])
        story.tell('many', 'powervm-fileio attach many.json', code=11)
        story.outputs['many_json'] = (story.directory / 'many.json').read_text()
        story.tell('list', 'powervm-fileio list')
        story.tell('show', f'powervm-fileio show {VOLUME_ID}')
        sim.remove_lpar(db.uuid)
        os.unlink(f'{PLACE}/volume-{volume_id(1)}')
        story.tell('audit', 'powervm-fileio audit', code=12)
        story.tell('audit_fix', 'powervm-fileio audit --fix', stdin='y\n', code=12)
        story.tell('detach', 'powervm-fileio detach --device-info device_info.json')
        story.tell('detach_path', f'powervm-fileio detach {PLACE}/volume-{volume_id(1)}')
        story.tell('not_attached', f'powervm-fileio show {VOLUME_ID}', code=13)
        story.tell('not_mounted', 'powervm-fileio attach --export nas2:/other --name volume-1 '
                                  '--lpar web01', code=4)
        story.tell('where', 'powervm-fileio where nas2:/other', code=4)
        story.tell('qualify', 'powervm-fileio qualify --help')
        story.tell('demo', 'powervm-fileio demo')
        _tell_of_cinder(story)
        _lose_a_share(story)
        return story.outputs


@contextlib.contextmanager
def _directory_with_the_command() -> Iterator[pathlib.Path]:
    """The command there is forked from a process that has imported it in that directory."""
    from tests import fork_server

    script = shutil.which('powervm-fileio', path=os.path.dirname(sys.executable))
    with (tempfile.TemporaryDirectory() as directory, contextlib.chdir(directory),
          fork_server.Server(script) as server):
        command = pathlib.Path(directory, 'bin/powervm-fileio')
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nexec {shlex.join(server.client)} "$@"\n')
        command.chmod(0o755)
        yield pathlib.Path(directory)


def _tell_of_cinder(story: Teller) -> None:
    """What an operator does who has a cloud; a stand-in of Keystone and Cinder serves it."""
    from tests import cinder_api

    with cinder_api.CinderApi() as cloud:
        volume = cloud.add_volume('data', connection_info(VOLUME_ID)['data'] | {
            'driver_volume_type': 'nfs'}, id=VOLUME_ID)
        cloud.capabilities.update(vendor_name='Open Source', storage_protocol='NFS')
        (story.directory / 'clouds.yaml').write_text(CLOUDS.format(url=cloud.url))
        story.outputs['clouds_yaml'] = (story.directory / 'clouds.yaml').read_text()
        (story.directory / 'clouds.yaml').write_text(
            story.outputs['clouds_yaml'].replace('SECRET', cinder_api.PASSWORD))
        story.tell('cinder_attach',
                   'powervm-fileio cinder attach data --lpar web01 --os-cloud files')
        story.tell('cinder_extend',
                   'powervm-fileio cinder extend data --size 30 --os-cloud files', code=9)
        other = cloud.attach(volume, 'neo-2')
        story.tell('cinder_audit',
                   'powervm-fileio cinder audit --all-projects --os-cloud files -f json', code=12)
        del cloud.attachments[other['id']]
        story.tell('cinder_detach', 'powervm-fileio cinder detach data --os-cloud files')


def _lose_a_share(story: Teller) -> None:
    """A disk lies on a share that is not mounted any more."""
    _mount('nas2:/archive', '/srv')
    _grow('/srv/volume-1', GIB)
    story.tell('attach_archive', 'powervm-fileio attach /srv/volume-1 --lpar web01')
    subprocess.run(['umount', '/srv'], check=True)
    story.tell('check_shares', 'powervm-fileio check', code=12)
    del story.outputs['attach_archive']


def _tell_by_hand(story: Teller) -> dict[str, str]:
    """What a reader does who has the simulator in another terminal."""
    command = ['powervm-fileio', 'simulate', '--port', str(PORT)]
    script = shutil.which(command[0], path=os.path.dirname(sys.executable))
    with subprocess.Popen([script, *command[1:]], text=True,
                          stdout=subprocess.PIPE) as simulator:
        said = ''
        while 'Ctrl-C' not in said:
            line = simulator.stdout.readline()
            assert line, 'the simulator has ended'
            said += line
        story.tell('by_hand', 'truncate -s 1G /dev/shm/volume-1',
                   'powervm-fileio attach /dev/shm/volume-1 --lpar lpar1',
                   'powervm-fileio list -c LPAR -c Slot -c LUA -c Path -c Size -c File',
                   'powervm-fileio detach /dev/shm/volume-1', 'rm /dev/shm/volume-1')
        simulator.send_signal(signal.SIGINT)
    return {**story.outputs, 'simulate': f'$ {" ".join(command)}\n{said}'}


def normalised(text: str) -> str:
    """A text without what differs from run to run: times, new UUIDs, the widths they make."""
    text = re.sub(r'\b[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\b', 'UUID', text)
    text = re.sub(r'\b[\d.]+ (ms|s)\b', 'N s', text)
    text = re.sub(r'server slot \d+', 'server slot N', text)
    return re.sub(r'-{2,}| {2,}', ' ', text)


def _folded(text: str) -> str:
    """A text as a terminal shows it, but broken at blanks where there are any. JSON stays valid."""
    if '\n{' in text or '\n[' in text:
        return text
    lines = [textwrap.wrap(line, WIDTH, break_on_hyphens=False) if len(line) > WIDTH else [line]
             for line in text.splitlines()]
    return '\n'.join(itertools.chain.from_iterable(lines)) + '\n'


def _grow(path: str, size: int) -> None:
    with open(path, 'ab') as file:
        file.truncate(size)


@contextlib.contextmanager
def _host() -> Iterator[tuple]:
    """A machine with an export mounted, and a simulated NovaLink on NovaLink's own port."""
    from powervm_fileio_connector.simulator import NovaLinkSimulator
    from powervm_fileio_connector.simulator.model import Host
    from powervm_fileio_connector.simulator.model import Partition
    from powervm_fileio_connector.simulator.state import State

    _mount('tmpfs', '/var/lib')
    os.makedirs(PLACE)
    _mount(EXPORT, PLACE)
    web = Partition('2B7C9D4E-0A51-4C38-9E0F-6B1D5A7F3C21', 'web01', 2)
    db = Partition('5F1A6E83-7D24-4B9A-8C35-0E9B2D4A6F17', 'db01', 3)
    novalink = Partition('1C0F7A2B-93D6-4E18-A5B4-7F6E3C2D1B09', 'novalink', 1, is_io_server=True,
                         is_management=True, rmc_state='inactive', max_slots=8192)
    state = State(Host('0e6d1c9b-4f2a-4b7e-9c11-3a5d8f7b2e60', 'power1', '8247.22L.2100001'),
                  [novalink, web, db])
    with NovaLinkSimulator(port=PORT, state=state) as sim:
        yield sim, db


def _mount(source: str, place: str) -> None:
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64m', source, place], check=True)


def _raise_loopback() -> None:
    with socket.socket() as any_socket:
        request = struct.pack('16sh', b'lo', 0x1)      # IFF_UP
        fcntl.ioctl(any_socket, 0x8914, request)       # SIOCSIFFLAGS


def _is_possible() -> str | None:
    """Why the story cannot be told here, or None."""
    if not shutil.which('unshare'):
        return 'needs unshare'
    done = subprocess.run(['unshare', *_flags(), 'true'], capture_output=True, check=False)
    return None if done.returncode == 0 else 'needs namespaces of its own'


def _flags() -> list[str]:
    own = ['--mount', '--net', '--uts']
    return own if os.geteuid() == 0 else [*own, '--map-root-user']


def outputs() -> dict[str, str]:
    """Tell the story in a process of its own, away from the machine's mounts and ports.

    :raises RuntimeError: this machine does not allow it
    """
    why_not = _is_possible()
    if why_not:
        raise RuntimeError(why_not)
    done = subprocess.run(['unshare', *_flags(), sys.executable, '-m', __spec__.name, '--tell'],
                          cwd=pathlib.Path(__file__).parents[2], text=True, check=True,
                          stdout=subprocess.PIPE, timeout=300)
    return json.loads(done.stdout)


def main() -> None:
    """Write the outputs, or (in the namespaces) print them as JSON."""
    if '--tell' in sys.argv:
        ctypes.CDLL(None).mount(b'none', b'/', None, 0x40000 | 0x4000, None)   # private, recursive
        _raise_loopback()
        socket.sethostname(HOST)
        _mount('tmpfs', '/dev/shm')
        json.dump(tell(), sys.stdout)
        return
    OUTPUT.mkdir(exist_ok=True)
    told = outputs()
    for path in OUTPUT.glob('*.txt'):
        path.unlink()
    for name, text in told.items():
        (OUTPUT / f'{name}.txt').write_text(text)


if __name__ == '__main__':
    main()
