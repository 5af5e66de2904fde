"""Start nova-powervm's driver as nova-compute does, by ``compute_driver``, and use one volume.

Run by ``test_compute_driver`` in a process of its own, and by hand for other releases of Nova. The
argument is the path of a volume's file, on a file system of its own. Prints a line for each step.

What is stood in for, since the simulator has none of it: disks of images, processor statistics, and
the search for orphaned network adapters.
"""

import functools
import importlib.metadata
import os
import sys
import uuid
from unittest import mock

from nova import context
from nova import objects
from nova.virt import driver

from powervm_fileio_connector.simulator import NovaLinkSimulator

GIB = 1 << 30


def start(compute, novalink):
    from nova_powervm.virt.powervm import driver as powervm
    session = functools.partial(powervm.pvm_apt.Session, host='127.0.0.1', port=novalink.port,
                                protocol='http', username='nova', password='secret')
    with (mock.patch.object(powervm.pvm_apt, 'Session', session),
          mock.patch.object(compute, '_setup_disk_adapter'),
          mock.patch.object(powervm.pvm_hcpu, 'HostCPUMetricCache'),
          mock.patch.object(compute, '_cleanup_orphan_adapters')):
        compute.init_host('neo-1')
    print(f'started for nova {importlib.metadata.version("nova")}')


def use_a_volume(compute, novalink, path):
    from nova_powervm.virt.powervm import vm
    ctx = context.get_admin_context()
    instance = objects.Instance(ctx, id=1, uuid=str(uuid.uuid4()), display_name='web',
                                task_state=None, vm_state='active', system_metadata={},
                                host='neo-1')
    novalink.add_lpar(name=instance.name, uuid=vm.get_pvm_uuid(instance))
    info = {'driver_volume_type': 'local', 'serial': str(uuid.uuid4()),
            'data': {'device_path': path}}
    with mock.patch.object(objects.Instance, 'save'):
        compute.attach_volume(ctx, info, instance, '/dev/sdb', disk_bus='scsi')
    print(f'attached {[mapping.path for mapping in novalink.mappings()]}')
    os.truncate(path, 2 * GIB)
    # Nova 20 is the last one that passes no context.
    takes = driver.ComputeDriver.extend_volume.__code__.co_varnames[1]
    compute.extend_volume(*([ctx] if takes == 'context' else []), info, instance, 2 * GIB)
    print(f'extended {[float(mapping.capacity_gb) for mapping in novalink.mappings()]}')
    compute.detach_volume(ctx, info, instance, '/dev/sdb', encryption=None)
    print(f'detached {novalink.mappings()}')


def main(path):
    objects.register_all()
    with NovaLinkSimulator(lpars=0) as novalink:
        compute = driver.load_compute_driver(None, 'powervm_fileio.PowerVMDriver')
        print(f'loaded {type(compute).__name__} from {sys.modules["nova.virt.powervm_fileio"]}')
        start(compute, novalink)
        use_a_volume(compute, novalink, path)
        compute.cleanup_host('neo-1')
        sys.stdout.flush()
        os._exit(0)     # pypowervm's threads would wait for events of a server that is gone


if __name__ == '__main__':
    main(*sys.argv[1:])
