# SPDX-License-Identifier: Apache-2.0
"""nova-powervm's compute driver, with our volume adapter, as the installed Nova calls it.

nova-powervm 9.0.0 was written for the Nova of 2019. Later releases pass more arguments to some
methods, and no longer have some names; see :mod:`.nova_names` for those.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from nova import exception
from nova import objects
from nova.compute import task_states
from nova.virt import driver as nova_driver
from nova_powervm.virt.powervm import driver as powervm_driver
from oslo_log import log as logging

from powervm_fileio_connector.nova import enabling
from powervm_fileio_connector.nova import nova_names
from powervm_fileio_connector.nova import slots

LOG = logging.getLogger(__name__)

# What nova-powervm's driver would do for each of these, or why it need not know.
_NEEDLESS = frozenset(('allocations', 'block_device_info', 'context', 'destroy_secrets',
                       'migration', 'power_on'))


def takes_calls_of(nova_class: type) -> Callable[[type], type]:
    """Make the methods of a driver class take what the installed Nova passes to them.

    An argument that the driver's own method does not know is left out, with a warning where it
    would have made a difference; one that Nova passes no longer is None.

    :param nova_class: has the signatures by which Nova calls
    """
    def decorate(driver_class: type) -> type:
        for name, expected in inspect.getmembers(nova_class, inspect.isfunction):
            own = getattr(driver_class, name)
            if _parameters(own) != _parameters(expected):
                setattr(driver_class, name, _translated(own, expected))
        return driver_class
    return decorate


def _parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def _translated(own: Callable[..., Any], expected: Callable[..., Any]) -> Callable[..., Any]:
    known = inspect.signature(own).parameters
    calls = inspect.signature(expected)

    @functools.wraps(expected)
    def method(*args: Any, **kwargs: Any) -> Any:
        given = calls.bind(*args, **kwargs).arguments
        for name in given.keys() - known.keys() - _NEEDLESS:
            if given[name]:
                LOG.warning('nova-powervm ignores %(name)s of %(method)s: %(value)s', {
                    'name': name, 'method': expected.__name__, 'value': given[name]})
        missing = [name for name, parameter in known.items()
                   if name not in given and parameter.default is parameter.empty]
        return own(**{name: value for name, value in given.items() if name in known},
                   **dict.fromkeys(missing))
    return method


def image_of_spawn(instance: Any, image_meta: Any, host: str) -> Any:
    """Return the image for a spawn; without its id where the instance is evacuated to this host.

    By the missing id nova-powervm tells an evacuation, which keeps disks and slots, from a rebuild.
    Since Nova 24 the id is always there; but the instance still belongs to the other host.
    """
    is_evacuation = (instance.task_state == task_states.REBUILD_SPAWNING
                     and instance.host != host)
    if not (is_evacuation and 'id' in image_meta):
        return image_meta
    return objects.ImageMeta(**{name: getattr(image_meta, name) for name in image_meta.fields
                                if name != 'id' and name in image_meta})


@takes_calls_of(nova_driver.ComputeDriver)
class _Driver(powervm_driver.PowerVMDriver):
    """nova-powervm's driver, as the installed Nova calls it."""


class PowerVMDriver(_Driver):
    """nova-powervm's driver, whose volumes that are files are attached by our adapter.

    What ``compute_driver = powervm_fileio.PowerVMDriver`` in nova.conf names.

    :param virtapi: Nova's
    """

    def __init__(self, virtapi: Any) -> None:
        nova_names.supply()
        enabling.enable()
        super().__init__(virtapi)

    def spawn(self, context: Any, instance: Any, image_meta: Any, *args: Any,
              power_on: bool = True, **kwargs: Any) -> None:
        """Create an instance.

        :param power_on: False, as for an evacuation to a stopped instance: it is powered off once
            it has been created, since nova-powervm always starts it
        """
        image_meta = image_of_spawn(instance, image_meta, powervm_driver.CONF.host)
        super().spawn(context, instance, image_meta, *args, **kwargs)
        if not power_on:
            self.power_off(instance)

    def _setup_rebuild_store(self) -> None:
        super()._setup_rebuild_store()
        if self.store_api is not None:
            slots.take_bytes(self.store_api)

    def check_can_live_migrate_destination(self, context: Any, instance: Any, *args: Any,
                                           **kwargs: Any) -> Any:
        """Check whether an instance can be migrated to here.

        :raises MigrationPreCheckError: this Nova has no data object for it any more; for another
            error Nova's conductor would put the running instance into ERROR
        """
        if not nova_names.can_live_migrate():
            raise exception.MigrationPreCheckError(
                reason='this release of Nova has no PowerVMLiveMigrateData, without which '
                'nova-powervm cannot migrate a running instance')
        return super().check_can_live_migrate_destination(context, instance, *args, **kwargs)
