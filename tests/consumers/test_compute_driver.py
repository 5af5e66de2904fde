"""``compute_driver = powervm_fileio.PowerVMDriver``: loaded, started and called by Nova."""

import inspect
import logging
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

import pytest

pytest.importorskip('nova_powervm', reason='nova-powervm is not installed')

import nova
from nova import exception
from nova import objects
from nova.virt import driver as nova_driver

from powervm_fileio_connector.nova import compute_driver
from powervm_fileio_connector.nova import nova_names

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = pathlib.Path(__file__).with_name('start_driver.py')


def build_wheel(directory):
    """Build our wheel; what builds it may have to be fetched."""
    uv = shutil.which('uv')
    command = ([uv, 'build', '-q', '--wheel', '-o', directory] if uv else
               [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '-w', directory])
    done = subprocess.run([*command, ROOT], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f'no wheel can be built here: {done.stderr[-300:]}')
    [wheel] = directory.glob('*.whl')
    return wheel


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """A directory like site-packages, with all that is in ours, but us from our wheel."""
    wheel = build_wheel(tmp_path_factory.mktemp('wheel'))
    site = tmp_path_factory.mktemp('site')
    # Nova has a directory of its own, since the wheel adds to it.
    shutil.copytree(pathlib.Path(nova.__file__).parent, site / 'nova', copy_function=os.symlink,
                    ignore=shutil.ignore_patterns('tests', '__pycache__', 'locale'))
    for place in pathlib.Path(sysconfig.get_path('purelib')).iterdir():
        if place.name != 'nova' and 'powervm_fileio' not in place.name:
            (site / place.name).symlink_to(place)
    shutil.unpack_archive(wheel, site, 'zip')
    return site


def test_novas_loader_starts_the_driver_from_a_wheel_and_it_serves_a_volume(
        site, mounter, tmp_path):
    path = mounter.mount('share', tmp_path / 'share') / 'volume'
    with open(path, 'wb') as file:
        file.truncate(1 << 30)
    code = f'import sys; sys.path.append({str(site)!r}); import runpy; ' \
           f'sys.argv[1:] = [{str(path)!r}]; runpy.run_path({str(SCRIPT)!r}, run_name="__main__")'
    done = subprocess.run([sys.executable, '-I', '-S', '-W', 'ignore', '-c', code], text=True,
                          capture_output=True, timeout=120, cwd=tmp_path, check=False)
    steps = done.stdout.splitlines()
    assert [step.split(' ', 1)[0] for step in steps] == [
        'loaded', 'started', 'attached', 'extended', 'detached'], done.stderr[-3000:]
    assert f'{site}/nova/virt/powervm_fileio' in steps[0]
    assert steps[2:] == [f"attached ['{path}']", 'extended [2.0]', 'detached []']


def test_an_editable_install_has_the_driver_where_nova_looks(nova):
    loaded = nova_driver.load_compute_driver(None, 'powervm_fileio.PowerVMDriver')
    assert isinstance(loaded, compute_driver.PowerVMDriver)


@pytest.mark.parametrize('name', [
    name for name, _ in inspect.getmembers(nova_driver.ComputeDriver, inspect.isfunction)
    if not name.startswith('_')])
def test_each_method_takes_every_argument_that_nova_may_pass(name):
    expected = inspect.signature(getattr(nova_driver.ComputeDriver, name))
    taken = inspect.signature(getattr(compute_driver.PowerVMDriver, name))
    names = [name for name, parameter in expected.parameters.items()
             if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    taken.bind(*names)
    taken.bind(**dict.fromkeys(names))


class Old:
    """A driver of 2019."""

    def spawn(self, context, instance, network_info=None):
        return (context, instance, network_info)

    def extend_volume(self, connection_info, instance, requested_size):
        return (connection_info, instance, requested_size)

    def unrescue(self, instance, network_info):
        return (instance, network_info)


class New:
    """What Nova calls today."""

    def spawn(self, context, instance, network_info=None, power_on=True, accel_info=None):
        pass

    def extend_volume(self, context, connection_info, instance, requested_size):
        pass

    def unrescue(self, context, instance):
        pass


@pytest.fixture
def translated():
    return compute_driver.takes_calls_of(New)(type('Driver', (Old,), {}))()


def test_arguments_reach_the_parameters_of_their_names(translated):
    assert translated.extend_volume('context', 'info', 'instance', 5) == ('info', 'instance', 5)
    assert translated.spawn('context', 'instance', accel_info=[]) == ('context', 'instance', None)


def test_an_argument_that_nova_passes_no_longer_is_none(translated):
    assert translated.unrescue('context', 'instance') == ('instance', None)


def test_an_ignored_argument_that_would_matter_is_warned_of(translated, caplog):
    translated.spawn('context', 'instance', accel_info=['fpga'])
    translated.spawn('context', 'instance', accel_info=[], power_on=True)
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert 'accel_info' in record.message
    assert 'fpga' in record.message


def test_an_evacuated_instance_is_told_from_one_that_is_rebuilt_with_an_image(nova):
    image_meta = objects.ImageMeta(id='image', name='linux', properties=objects.ImageMetaProps())
    instance = objects.Instance(host='neo-1', task_state='rebuild_spawning')
    # nova-powervm takes an image without an id for that of an evacuation.
    found = compute_driver.image_of_spawn(instance, image_meta, 'neo-2')
    assert 'id' not in found
    assert found.name == 'linux'
    assert compute_driver.image_of_spawn(instance, image_meta, 'neo-1') is image_meta
    instance.task_state = 'spawning'
    assert compute_driver.image_of_spawn(instance, image_meta, 'neo-2') is image_meta


def test_a_live_migration_is_refused_before_it_starts_where_nova_cannot_carry_its_data(nova):
    if nova_names.can_live_migrate():
        pytest.skip('this Nova can')
    loaded = compute_driver.PowerVMDriver(None)
    with pytest.raises(exception.MigrationPreCheckError, match='PowerVMLiveMigrateData'):
        loaded.check_can_live_migrate_destination(None, None, {}, {})
