# SPDX-License-Identifier: Apache-2.0
"""A real Cinder: its API, scheduler and volume service, with RabbitMQ and MariaDB.

All of it runs in the namespaces of this process, listens on loopback, and keeps its files in one
directory. Nothing of Cinder is replaced.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request

from tests.openstack import stand_ins
from tests.openstack.identity import PROJECT

MARIADB, RABBIT, DISTRIBUTION, CINDER, IDENTITY = 13306, 15672, 15673, 18776, 15000
URL = f'http://127.0.0.1:{CINDER}'
SHARE = 'nas1:/vols'
GPFS = '/gpfs/cinder'

_CONF = """
[DEFAULT]
state_path = {home}/state
log_dir = {home}/log
lock_path = {home}/state
rootwrap_config = {home}/rootwrap.conf
api_paste_config = {data}/api-paste.ini
resource_query_filters_file = {data}/resource_filters.json
auth_strategy = noauth
osapi_volume_listen = 127.0.0.1
osapi_volume_listen_port = {cinder}
osapi_volume_workers = 1
my_ip = 127.0.0.1
host = cinder
public_endpoint = http://127.0.0.1:{identity}/volume
transport_url = rabbit://guest:guest@127.0.0.1:{rabbit}//
enabled_backends = nfs,gpfs
default_volume_type = __DEFAULT__
backend_stats_polling_interval = 20
service_down_time = 600
quota_volumes = -1
quota_gigabytes = -1
quota_snapshots = -1
rpc_response_timeout = 60
[database]
connection = mysql+pymysql://root@127.0.0.1:{mariadb}/cinder?charset=utf8mb4
[oslo_concurrency]
lock_path = {home}/state
[coordination]
backend_url = file://{home}/coordination
[nova]
auth_type = password
auth_url = http://127.0.0.1:{identity}/identity/v3
username = cinder
password = canary-of-the-cloud
project_name = service
user_domain_id = default
project_domain_id = default
token_auth_url = http://127.0.0.1:{identity}/identity/v3
[nfs]
volume_driver = cinder.volume.drivers.nfs.NfsDriver
volume_backend_name = nfs
nfs_shares_config = {home}/shares
nfs_mount_point_base = /var/lib/cinder/mnt
nas_secure_file_operations = false
nas_secure_file_permissions = false
nfs_snapshot_support = true
[gpfs]
volume_driver = cinder.volume.drivers.ibm.gpfs.GPFSDriver
volume_backend_name = gpfs
gpfs_mount_point_base = {gpfs}
gpfs_sparse_volumes = true
"""


class NotStarted(Exception):
    """A service did not start; the text has the end of its log."""


class Services:
    """Starts everything, and stops it with the block."""

    def __init__(self, tree, home):
        self._tree, self.home = tree, pathlib.Path(home)
        self._running = []
        self.took_s = {}

    def __enter__(self):
        self._lay_over_usr()
        for place in ('/var/lib', '/gpfs', '/dev/shm'):
            os.makedirs(place, exist_ok=True)
            _run('mount', '-t', 'tmpfs', '-o', 'size=64g', 'tmpfs', place)
        os.makedirs(GPFS)
        _run('mount', '-t', 'tmpfs', '-o', 'size=64g', 'gpfs0', GPFS)
        os.makedirs('/var/lib/cinder/mnt')
        self._configure()
        try:
            with self._timed('MariaDB and RabbitMQ'):
                self._start_rabbitmq()
                self._start_mariadb()
                self._wait('rabbitmq', lambda: _listens(RABBIT))
            with self._timed('database'):
                self._run_logged('manage', [self._script('cinder-manage'), *self._options,
                                            'db', 'sync'])
            with self._timed('Cinder'):
                for name in ('api', 'scheduler', 'volume'):
                    self.start(f'cinder-{name}')
                self._wait('cinder-api', lambda: _answers(URL))
                self._wait('cinder-volume', self._is_each_backend_up)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exc_info):
        self._stop()

    def start(self, name):
        """Start one of Cinder's services."""
        self._start(name, [self._script(name), *self._options])

    def log(self, name):
        """What a service has said."""
        return (self.home / 'log' / f'{name}.out').read_text(errors='replace')

    def _lay_over_usr(self):
        stand_ins.write(self.home / 'stand-ins')
        (self.home / 'stand-ins').chmod(0o755)
        _run('mount', '--make-rprivate', '/')
        _run('mount', '-t', 'overlay', '-o',
             f'lowerdir={self.home}/stand-ins:{self._tree}:/usr', 'overlay', '/usr')

    def _configure(self):
        data = pathlib.Path(sysconfig.get_path('data'), 'etc', 'cinder')
        for name in ('log', 'state', 'coordination', 'rabbitmq', 'mariadb', 'tmp'):
            (self.home / name).mkdir()
        (self.home / 'shares').write_text(f'{SHARE}\n')
        (self.home / 'cinder.conf').write_text(_CONF.format(
            home=self.home, data=data, mariadb=MARIADB, rabbit=RABBIT, cinder=CINDER, gpfs=GPFS,
            identity=IDENTITY))
        (self.home / 'rootwrap.conf').write_text(
            (data / 'rootwrap.conf').read_text()
            .replace('/etc/cinder/rootwrap.d', str(data / 'rootwrap.d'))
            .replace('exec_dirs=', f'exec_dirs={sysconfig.get_path("scripts")},'))
        self._options = ['--config-file', str(self.home / 'cinder.conf')]

    def _start_rabbitmq(self):
        home = self.home / 'rabbitmq'
        (home / 'rabbitmq.conf').write_text(
            f'listeners.tcp.1 = 127.0.0.1:{RABBIT}\nloopback_users = none\n'
            'vm_memory_high_watermark.absolute = 200MB\ndisk_free_limit.absolute = 1MB\n')
        (home / 'enabled_plugins').write_text('[].\n')
        self._start('rabbitmq', ['/usr/lib/rabbitmq/bin/rabbitmq-server'], {
            'HOME': str(home), 'RABBITMQ_NODENAME': 'rabbit@localhost',
            'RABBITMQ_MNESIA_BASE': str(home / 'mnesia'), 'RABBITMQ_LOG_BASE': str(home / 'log'),
            'RABBITMQ_CONFIG_FILE': str(home / 'rabbitmq.conf'),
            'RABBITMQ_ENABLED_PLUGINS_FILE': str(home / 'enabled_plugins'),
            'RABBITMQ_PID_FILE': str(home / 'pid'), 'RABBITMQ_LOGS': '-',
            'RABBITMQ_DIST_PORT': str(DISTRIBUTION), 'ERL_EPMD_ADDRESS': '127.0.0.1',
            # Schedulers that spin take the processor that the others need.
            'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS':
                '+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none '
                '-kernel inet_dist_use_interface {127,0,0,1}'})

    def _start_mariadb(self):
        data = self.home / 'mariadb'
        (data / 'data').mkdir()
        self._run_logged('mariadb-install', [
            '/usr/bin/mariadb-install-db', '--no-defaults', f'--datadir={data}/data', '--user=root',
            '--auth-root-authentication-method=normal', '--skip-test-db', '--skip-name-resolve'])
        (data / 'init.sql').write_text('CREATE DATABASE IF NOT EXISTS cinder CHARACTER SET utf8;\n')
        self._start('mariadb', [
            '/usr/sbin/mariadbd', '--no-defaults', f'--datadir={data}/data', '--user=root',
            f'--socket={data}/socket', f'--pid-file={data}/pid', f'--port={MARIADB}',
            '--bind-address=127.0.0.1', f'--init-file={data}/init.sql', '--skip-name-resolve',
            '--innodb-buffer-pool-size=64M', '--innodb-flush-log-at-trx-commit=0',
            '--innodb-flush-method=nosync', '--max-connections=200'])
        self._wait('mariadb', lambda: _listens(MARIADB))

    def _is_each_backend_up(self):
        request = urllib.request.Request(f'{URL}/v3/{PROJECT}/scheduler-stats/get_pools',
                                         headers={'X-Auth-Token': f'operator:{PROJECT}'})
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=30) as answer:
            return {'cinder@nfs#nfs', 'cinder@gpfs#gpfs'} <= {
                pool['name'] for pool in json.load(answer)['pools']}
        return False

    @contextlib.contextmanager
    def _timed(self, what):
        start = time.monotonic()
        yield
        self.took_s[what] = time.monotonic() - start

    def _script(self, name):
        return os.path.join(sysconfig.get_path('scripts'), name)

    def _environment(self, more=None):
        scripts = sysconfig.get_path('scripts')
        return {**os.environ, 'PATH': f'{scripts}:/usr/sbin:/usr/bin:/usr/lpp/mmfs/bin',
                # MariaDB's temporary files have names of which there may be two.
                'TMPDIR': str(self.home / 'tmp'), 'PYTHONWARNINGS': 'ignore', **(more or {})}

    def _start(self, name, command, environment=None):
        with open(self.home / 'log' / f'{name}.out', 'ab') as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       env=self._environment(environment),
                                       start_new_session=True, cwd=self.home)
        self._running.append((name, process))

    def _run_logged(self, name, command):
        with open(self.home / 'log' / f'{name}.out', 'ab') as log:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                  env=self._environment(), timeout=300, check=False)
        if done.returncode:
            raise NotStarted(f'{name} failed: {self.log(name)[-3000:]}')

    def _wait(self, name, is_ready, seconds=240):
        end = time.monotonic() + seconds
        while not is_ready():
            ended = [other for other, process in self._running if process.poll() is not None]
            if ended or time.monotonic() > end:
                raise NotStarted(f'{name} is not ready after {seconds} s; ended: {ended}; it said: '
                                 f'{self.log((ended or [name])[0])[-3000:]}')
            time.sleep(0.3)

    def _stop(self):
        """End all at once: nobody uses their data again. The rest ends with the namespace."""
        for _, process in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for _, process in self._running:
            process.wait(10)
        if os.environ.get('POWERVM_FILEIO_KEEP_LOGS'):
            shutil.copytree(self.home / 'log', os.environ['POWERVM_FILEIO_KEEP_LOGS'],
                            dirs_exist_ok=True)


def _run(*command):
    subprocess.run(command, check=True, timeout=60, stdout=sys.stderr)


def _listens(port):
    with socket.socket() as client:
        return client.connect_ex(('127.0.0.1', port)) == 0


def _answers(url):
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
