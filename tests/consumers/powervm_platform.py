"""What nova-powervm asks of the platform and no simulator has: LPARs, and disks of images."""

import contextlib
import types
from unittest import mock

from nova_powervm.virt.powervm import vm

MAX_SLOTS = 200

class Platform:
    """What NovaLink does with LPARs for nova-powervm: done in the simulator of an adapter."""

    def __init__(self):
        self.novalinks = {}

    def of(self, adapter):
        return self.novalinks[adapter.session.port]

    def create_lpar(self, adapter, host_wrapper, instance, nvram=None, slot_mgr=None):
        slot_mgr.build_map.get_max_vslots()     # a rebuild reads the slot map here
        self.of(adapter).add_lpar(name=instance.name, uuid=lpar_uuid(instance),
                                  state='not activated', rmc_state='inactive')
        slot_mgr.register_max_vslots(MAX_SLOTS)
        return self.wrapper(adapter, instance)

    def update(self, adapter, host_wrapper, instance, entry=None, name=None):
        return self.rename(adapter, instance, name or instance.name)

    def rename(self, adapter, instance, name, entry=None):
        self.of(adapter).change_lpar(lpar_uuid(instance), name=name)
        return self.wrapper(adapter, instance)

    def delete_lpar(self, adapter, instance):
        with contextlib.suppress(ValueError):
            self.of(adapter).remove_lpar(lpar_uuid(instance))

    def power_on(self, lpar, host, add_parms=None):
        self.of(lpar.adapter).change_lpar(lpar.uuid, state='running', rmc_state='active')

    def power_off(self, lpar, *args, **kwargs):
        self.of(lpar.adapter).change_lpar(lpar.uuid, state='not activated', rmc_state='inactive')

    @staticmethod
    def wrapper(adapter, instance):
        return vm.get_instance_wrapper(adapter, instance)

    @contextlib.contextmanager
    def in_place(self):
        """Have nova-powervm ask here."""
        power = types.SimpleNamespace(
            power_on=self.power_on, power_off_progressive=self.power_off,
            PowerOp=types.SimpleNamespace(stop=self.power_off))
        with mock.patch.multiple(
                vm, create_lpar=self.create_lpar, update=self.update, rename=self.rename,
                delete_lpar=self.delete_lpar, power=power, get_cnas=lambda *args, **kwargs: []):
            yield self


class NoDisks:
    """The disks of images: none of a volume is among them."""

    def __init__(self):
        self.capabilities = {'shared_storage': True, 'has_imagecache': False}

    def create_disk_from_image(self, *args, **kwargs):
        return 'disk'

    get_disk_ref = create_disk_from_image

    def connect_disk(self, *args, **kwargs):
        pass

    disconnect_disk = delete_disks = extend_disk = connect_disk

    def get_info(self):
        return {}

    def validate(self, info):
        return None


def lpar_uuid(instance):
    return vm.get_pvm_uuid(instance)
