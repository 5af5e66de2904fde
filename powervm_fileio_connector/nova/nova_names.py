# SPDX-License-Identifier: Apache-2.0
"""Names that nova-powervm 9.0.0 uses, and that later releases of Nova no longer have.

Read in the released packages: ``nova.image.API`` is gone since Nova 21; since Nova 26 the options
that both PowerVM drivers shared, and ``PowerVMLiveMigrateData``.
"""

from __future__ import annotations

from nova import image
from nova.objects import migrate_data
from nova_powervm import conf
from oslo_config import cfg

_OPTIONS = (
    cfg.StrOpt('disk_driver', choices=['localdisk', 'ssp'], default='localdisk',
               help='Where nova-powervm keeps the disks that it makes from images.'),
    cfg.FloatOpt('proc_units_factor', default=0.1, min=0.05, max=1,
                 help='Processing units of an instance for each of its virtual processors.'),
    cfg.StrOpt('volume_group_name', default='',
               help='Volume group of the disks of disk_driver = localdisk.'),
)


def supply() -> None:
    """Put in place what the installed Nova lacks, and no more. Safe to repeat."""
    if not hasattr(image, 'API'):
        from nova.image import glance
        image.API = glance.API
    for option in _OPTIONS:
        if option.dest not in conf.CONF.powervm:
            conf.CONF.register_opt(option, group='powervm')


def can_live_migrate() -> bool:
    """Tell whether Nova can carry what nova-powervm's hosts tell each other for a migration.

    It could not be supplied here: Nova's conductor has to know it as well.
    """
    return hasattr(migrate_data, 'PowerVMLiveMigrateData')
