# SPDX-License-Identifier: Apache-2.0
"""One real Cinder for all of these tests, a simulated NovaLink, and the commands beside them."""

import contextlib
import fcntl
import os
import pathlib
import signal
import socket
import struct
import tempfile

import pytest

from powervm_fileio_connector.simulator import NovaLinkSimulator
from tests.conftest import Outcome
from tests.openstack import identity
from tests.openstack import services
from tests.openstack.__main__ import IN_NAMESPACES
from tests.openstack.__main__ import WHY_NOT

_WAIT_S = 60
_EACH_S = 0.1


@pytest.fixture(scope='session')
def namespaces():
    """The tree of packages; these tests run in namespaces of their own, with loopback alone."""
    if IN_NAMESPACES not in os.environ:
        pytest.skip(os.environ.get(WHY_NOT, 'needs namespaces of its own: tox -e openstack'))
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack('16sh', b'lo', 0x1))     # SIOCSIFFLAGS, IFF_UP
    return pathlib.Path(os.environ[IN_NAMESPACES])


@pytest.fixture(scope='session')
def cinder_services(namespaces):
    with tempfile.TemporaryDirectory(prefix='powervm-fileio-') as home:
        # MariaDB and RabbitMQ may run as others than root.
        os.chmod(home, 0o755)
        with services.Services(namespaces, home) as running:
            print({what: f'{seconds:.0f} s' for what, seconds in running.took_s.items()})
            yield running


@pytest.fixture(scope='session')
def keystone(namespaces):
    stand_in = identity.Identity(services.IDENTITY, services.CINDER)
    yield stand_in
    stand_in.close()


@pytest.fixture(scope='session')
def admin(keystone, cinder_services):
    """openstacksdk's block storage of the cloud."""
    import openstack

    with pytest.MonkeyPatch.context() as patch:
        for name, value in keystone.environment().items():
            patch.setenv(name, value)
        proxy = openstack.connect().block_storage
    for backend in ('nfs', 'gpfs'):
        proxy.create_type(name=backend, extra_specs={'volume_backend_name': backend})
    return proxy


@pytest.fixture
def novalink():
    with NovaLinkSimulator(lpars=2, foreign=False) as sim:
        yield sim


class Cloud:
    """What the tests do to Cinder, and ask of it."""

    def __init__(self, admin):
        self.admin = admin
        self.volumes = []

    def create(self, backend, **fields):
        return self.wait(self.begin(backend, **fields))

    def begin(self, backend, **fields):
        """Have Cinder create a volume, without waiting for it."""
        volume = self.admin.create_volume(size=1, volume_type=backend, **fields)
        self.volumes.append(volume.id)
        return volume

    def wait(self, resource, status='available'):
        return self.admin.wait_for_status(resource, status, ['error'], _EACH_S, _WAIT_S)

    def volume(self, volume):
        return self.admin.get_volume(volume.id)

    def attachments(self, volume):
        return list(self.admin.attachments(details=True, volume_id=volume.id))

    def delete_all(self):
        """Delete the volumes of a test.

        What a test that failed has left goes too, so that it fails no other; one that succeeded
        leaves no attachment, since Cinder deletes no volume that has one.
        """
        from openstack import exceptions

        errors = []
        for volume_id in self.volumes:
            try:
                self.admin.delete_volume(volume_id)
            except exceptions.HttpException as err:
                errors.append(err)
                for attachment in self.admin.attachments(details=True, volume_id=volume_id):
                    self.admin.delete_attachment(attachment.id)
                self.admin.delete_volume(volume_id, force=True)
        for volume_id in self.volumes:
            with contextlib.suppress(exceptions.NotFoundException):
                self.admin.wait_for_delete(self.admin.get_volume(volume_id), _EACH_S, _WAIT_S)
        return errors

    @staticmethod
    def files():
        """The files of volumes on both shares."""
        return sorted(str(path) for base in ('/var/lib/cinder/mnt', services.GPFS)
                      for path in pathlib.Path(base).rglob('volume-*'))


@pytest.fixture
def cloud(admin, novalink):
    """Cinder; afterwards nothing is left in it, at NovaLink and on the shares."""
    cloud = Cloud(admin)
    yield cloud
    errors, files = cloud.delete_all(), Cloud.files()
    for path in files:
        os.unlink(path)
    assert (errors, files, novalink.mappings()) == ([], [], [])


@pytest.fixture
def start(forks, keystone, novalink, tmp_path):
    """Start a command of the group ``cinder`` as a host; return its process and its outputs."""
    def start(name, *args, host='neo-1', config=None, is_plain=False):
        streams = [tempfile.TemporaryFile('w+') for _ in range(3)]      # noqa: SIM115
        environment = {**os.environ, **keystone.environment(),
                       'XDG_STATE_HOME': str(tmp_path / host)}
        group, own = ([], []) if is_plain else (['cinder'], ['--host', host])
        arguments = [*group, name, *map(str, args), *own, '--simulator', novalink.url]
        if config is not None:
            path = tmp_path / 'powervm-fileio.conf'
            path.write_text(f'[powervm_fileio]\n{config}\n')
            arguments += ['--config-file', str(path)]
        return forks.start(arguments, [one.fileno() for one in streams], environment), streams
    return start


@pytest.fixture
def cinder(start):
    """Run a command of the group ``cinder`` to its end."""
    def run(*args, **kwargs):
        child, streams = start(*args, **kwargs)
        code = child.wait(180)
        said = []
        for stream in streams[1:]:
            stream.seek(0)
            said.append(stream.read())
        for stream in streams:
            stream.close()
        return Outcome(code, *said)
    return run


@pytest.fixture
def killed_at(start, keystone, novalink):
    """Run a command, and kill it at one of its requests to Cinder.

    Before the request, so that Cinder never gets it, or after it, so that its answer is not seen.
    Returns whether it came to that request.
    """
    def run(moment, method, path, *args):
        children, reached = [], []

        def at(when, asked, place):
            if (when, asked) == (moment, method) and path in place and not reached:
                reached.append(place)
                os.kill(children[0].pid, signal.SIGKILL)
                return True
            return False

        keystone.at = at
        child, streams = start(*args)
        children.append(child)
        code = child.wait(180)
        keystone.at = None
        for stream in streams:
            stream.close()
        assert code == -signal.SIGKILL if reached else code == 0
        return bool(reached)
    return run


@pytest.fixture
def operate_novalink(start):
    """Run a command that knows nothing of Cinder."""
    def run(name, *args):
        child, streams = start(name, *args, is_plain=True)
        with contextlib.ExitStack() as stack:
            for stream in streams:
                stack.callback(stream.close)
            assert child.wait(120) == 0
    return run
