# SPDX-License-Identifier: Apache-2.0
"""A process that runs Cinder's own drivers: requests and answers are lines of JSON.

Cinder and Nova cannot live in one process, since both register the same options. Cinder's manager
and drivers are the real ones; only its database, the commands of a GPFS node, and the helper that
runs a function as root are answered here.
"""

import json
import sys
import types
import uuid
import warnings
from unittest import mock

warnings.simplefilter('ignore')

from cinder import context  # noqa: E402
from cinder import objects  # noqa: E402

objects.register_all()      # the modules below need it when they are imported

from cinder import coordination  # noqa: E402
from cinder import privsep  # noqa: E402
from cinder.common import config  # noqa: E402, F401  registers the service's options
from cinder.volume import configuration  # noqa: E402
from cinder.volume import driver as cinder_driver  # noqa: E402
from cinder.volume import manager  # noqa: E402
from cinder.volume.drivers import nfs  # noqa: E402
from cinder.volume.drivers.ibm import gpfs  # noqa: E402
from oslo_concurrency import processutils  # noqa: E402
from oslo_config import cfg  # noqa: E402

CONNECTOR = {'host': 'neo-1', 'ip': '192.0.2.50', 'multipath': False, 'do_local_attach': False,
             'os_type': 'linux', 'platform': 'ppc64le'}

# What the commands of a healthy GPFS cluster print, as far as the driver reads it.
GPFS = {
    'mmlsconfig clusterId': 'mmlsconfig::HEADER:version:reserved:reserved:configParameter:value:\n'
                            'mmlsconfig::0:1:::clusterId:42:\n',
    'mmlsconfig minreleaseLeveldaemon':
        'mmlsconfig::HEADER:version:reserved:reserved:configParameter:value:\n'
        'mmlsconfig::0:1:::minReleaseLevel:1600:\n',
    'mmlsfs': 'mmlsfs::HEADER:version:reserved:reserved:deviceName:fieldName:data:remarks:\n'
              'mmlsfs::0:1:::gpfs0:encryption:No:::\n',
    'mmlsattr': '', 'mmlspool': '', 'mmchattr': '',
    'mount.nfs': '',      # only its presence is asked for
}

really_execute = processutils.execute


def execute(*command, **kwargs):
    """Run commands as the user that the tests have; answer those that only a GPFS node knows."""
    for known, output in GPFS.items():
        if ' '.join(command).startswith(known):
            return output, ''
    kwargs.pop('run_as_root', None)
    kwargs.pop('root_helper', None)
    return really_execute(*command, **kwargs)


class Database:
    """What the drivers and the manager ask the database for: the volumes made here."""

    def __init__(self):
        self.volumes = {}

    def make_volume(self, size):
        volume = objects.Volume(
            context.get_admin_context(), id=str(uuid.uuid4()), size=size, admin_metadata={},
            metadata={}, encryption_key_id=None, volume_type_id=None, group_id=None,
            consistencygroup_id=None, snapshot_id=None, source_volid=None, provider_location=None,
            volume_attachment=objects.VolumeAttachmentList(objects=[]), _name_id=None,
            name_id=None, status='available', attach_status='detached', host='cinder@files#pool')
        self.volumes[volume.id] = volume
        return volume

    def get(self, _context, volume_id):
        return self.volumes[volume_id]


class Host:
    """One cinder-volume with as many back ends as are asked for."""

    def __init__(self):
        self.database = Database()
        self.backends = {}

    def backend(self, kind, base, options):
        """A driver that is set up, as the service would."""
        name = f'{kind}-{uuid.uuid4().hex}'
        settings = configuration.Configuration(cinder_driver.volume_opts, config_group=name)
        settings.append_config_values(
            gpfs.gpfs_opts if kind == 'gpfs' else nfs.nfs_opts + nfs.remotefs.nas_opts)
        for option, value in {f'{kind}_mount_point_base': base, **options}.items():
            cfg.CONF.set_override(option, value, group=name)
        kinds = {'gpfs': gpfs.GPFSDriver, 'nfs': nfs.NfsDriver}
        driver = kinds[kind](configuration=settings, host='cinder@files', execute=execute)
        driver.do_setup(context.get_admin_context())
        self.backends[name] = driver
        return name

    def create(self, backend, size_gb=1):
        """Make a volume and its file; return the volume's id."""
        driver = self.backends[backend]
        volume = self.database.make_volume(size_gb)
        volume.update(driver.create_volume(volume) or {})
        return volume.id

    def attach(self, backend, volume_id):
        """Return the connection_info that the attachments API keeps of a volume."""
        bare = object.__new__(manager.VolumeManager)
        bare.driver, bare.db = self.backends[backend], mock.Mock()
        attachment = types.SimpleNamespace(id=str(uuid.uuid4()))
        return bare._connection_create(context.get_admin_context(),
                                       self.database.volumes[volume_id], attachment, CONNECTOR)

    def extend(self, backend, volume_id, size_gb):
        """Extend a volume's file the driver's way."""
        self.backends[backend].extend_volume(self.database.volumes[volume_id], size_gb)
        self.database.volumes[volume_id].size = size_gb


def main(state_path):
    host = Host()
    cfg.CONF([], project='cinder', default_config_files=[])
    cfg.CONF.set_override('state_path', state_path)
    cfg.CONF.set_override('connection', 'sqlite://', group='database')
    privsep.sys_admin_pctxt.set_client_mode(False)      # the tests are root already
    coordination.COORDINATOR.start()
    # Only what is printed here is an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    with mock.patch.object(processutils, 'execute', execute), \
            mock.patch.object(objects.Volume, 'save', objects.Volume.obj_reset_changes), \
            mock.patch.object(objects.Volume, 'get_by_id', host.database.get):
        for line in sys.stdin:
            operation, arguments = json.loads(line)
            try:
                answer = {'result': getattr(host, operation)(**arguments)}
            except Exception as err:  # noqa: BLE001  whatever it is, the test shall see it
                answer = {'error': f'{type(err).__name__}: {err}'}
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == '__main__':
    main(sys.argv[1])
