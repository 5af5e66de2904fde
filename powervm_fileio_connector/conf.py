# SPDX-License-Identifier: Apache-2.0
"""The options of ``[powervm_fileio]``, as data.

Options are read once, at the edge (the connector's constructor or the command line), into
:class:`Settings`, which is then passed down by argument.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from oslo_config import cfg
from oslo_config import types
from oslo_log import log as logging

LOG = logging.getLogger(__name__)

GROUP = 'powervm_fileio'

MOST_MAPPINGS_PER_BUS = 32
"""Disks that a Linux client finds on one bus (``ibmvscsi``, run with Linux 6.1)."""

LPARCFG = '/proc/ppc64/lparcfg'
"""Where Linux says which partition it is. It is there on Power alone; elsewhere, NovaLink is a
simulator."""


class _Directories(types.List):
    """Absolute paths.

    :param may_be_empty: whether there may be none
    """

    def __init__(self, may_be_empty: bool = False) -> None:
        super().__init__()
        self._may_be_empty = may_be_empty

    def __call__(self, value: Any) -> list[Any]:
        directories = super().__call__(value)
        if not (directories or self._may_be_empty):
            raise ValueError('it is empty')
        for directory in directories:
            if not directory.startswith('/'):
                raise ValueError(f'{directory!r} is not an absolute path')
        return directories


OPTS: list[cfg.Opt] = [
    cfg.Opt(
        'mount_point_base', type=_Directories(),
        default=['/var/lib/nova/mnt', '/var/lib/cinder/mnt'],
        help='Directories below which exports are mounted under the MD5 of their name, as Nova and '
             'Cinder do. They are searched in this order, before the mount_point_base that comes '
             'with a volume.'),
    cfg.FloatOpt(
        'probe_timeout_s', default=10.0, min=0.01,
        help='Seconds that all probes of shares which one call makes may take together, those '
             'through the root helper included, before the share counts as hung. A quarter is '
             'kept for the check after NovaLink has answered.'),
    cfg.FloatOpt(
        'rest_timeout_s', default=600.0, min=0.01,
        help='Seconds that all requests of one call to NovaLink may take together, retries '
             'included. Probes of shares are not counted.'),
    cfg.StrOpt(
        'backstore', default='loop', choices=['loop', 'fileio'],
        help='How NovaLink serves raw files when the volume does not say: loop is faster, fileio '
             'supports SCSI persistent reservations.'),
    cfg.StrOpt(
        'qcow2_backing', default='refuse', choices=['refuse', 'same-directory'],
        help='Whether a qcow2 volume may have a backing file: never, or only plain names in its '
             'own directory, each with its format named (Cinder NFS snapshots need this).'),
    cfg.BoolOpt(
        'allow_block_devices', default=False,
        help='Whether a device_path may be a block device.'),
    cfg.Opt(
        'trusted_directories', type=_Directories(may_be_empty=True), default=[],
        help='Directories whose files may be attached although they lie on the root file system, '
             "such as NovaLink's own /var/lib/pvm/fileio, or on another file system of a local "
             'disk. Symlinks in them are resolved.'),
    cfg.IntOpt(
        'max_mappings_per_bus', default=32, min=1,
        help='Disks on one virtual SCSI bus before another adapter pair is created. More than '
             '32 counts as 32, which is what the ibmvscsi driver of a Linux client scans.'),
    cfg.HostAddressOpt(
        'novalink_host', default='localhost',
        help='Host of the NovaLink REST server.'),
    cfg.PortOpt(
        'novalink_port',
        help='Port of the NovaLink REST server; by default 12080 for http and 12443 for https.'),
    cfg.StrOpt(
        'novalink_protocol', choices=['http', 'https'],
        help='By default http for a local session authenticated by file, https with a password.'),
    cfg.StrOpt(
        'novalink_username',
        help='User for password authentication.'),
    cfg.StrOpt(
        'novalink_password', secret=True,
        help='Password; without one the session is authenticated by a file on this host, and '
             'novalink_host must be localhost.'),
    cfg.StrOpt(
        'novalink_certpath', default='/etc/ssl/certs/',
        help="Directory of the server's certificate, for https."),
]


def _default(name: str) -> Any:
    """Return an option's default, which stands in :data:`OPTS` alone."""
    value = next(opt.default for opt in OPTS if opt.dest == name)
    return tuple(value) if isinstance(value, list) else value


@dataclasses.dataclass(frozen=True)
class Settings:
    """The options in force, one field for each option of the same name."""

    mount_point_base: tuple[str, ...] = _default('mount_point_base')
    probe_timeout_s: float = _default('probe_timeout_s')
    rest_timeout_s: float = _default('rest_timeout_s')
    backstore: str = _default('backstore')
    qcow2_backing: str = _default('qcow2_backing')
    allow_block_devices: bool = _default('allow_block_devices')
    trusted_directories: tuple[str, ...] = _default('trusted_directories')
    max_mappings_per_bus: int = _default('max_mappings_per_bus')
    novalink_host: str = _default('novalink_host')
    novalink_port: int | None = _default('novalink_port')
    novalink_protocol: str | None = _default('novalink_protocol')
    novalink_username: str | None = _default('novalink_username')
    novalink_password: str | None = dataclasses.field(
        default=_default('novalink_password'), repr=False)
    novalink_certpath: str = _default('novalink_certpath')

    @property
    def allows_backing_files(self) -> bool:
        """Whether a qcow2 image may have backing files."""
        return self.qcow2_backing != 'refuse'


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options by group, for ``oslo-config-generator``."""
    return [(GROUP, OPTS)]


def read(conf: cfg.ConfigOpts | None = None) -> Settings:
    """Return the options in force.

    :param conf: where they are read from; None is oslo.config's global ``CONF``. Registering our
        options there is the only change made to it, and safe to repeat.
    """
    conf = cfg.CONF if conf is None else conf
    conf.register_opts(OPTS, group=GROUP)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(Settings):
        value = conf[GROUP][field.name]
        values[field.name] = tuple(value) if isinstance(value, list) else value
    if values['max_mappings_per_bus'] > MOST_MAPPINGS_PER_BUS:
        _warn_of_most(values['max_mappings_per_bus'])
        values['max_mappings_per_bus'] = MOST_MAPPINGS_PER_BUS
    return Settings(**values)


@functools.cache
def _warn_of_most(mappings_per_bus: int) -> None:
    """Warn of a value above the most, once: Nova and os-brick read the options for each volume."""
    LOG.warning('max_mappings_per_bus = %d counts as %d: a Linux client scans no more disks '
                'on one bus.', mappings_per_bus, MOST_MAPPINGS_PER_BUS)
