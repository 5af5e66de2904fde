# SPDX-License-Identifier: Apache-2.0
"""Devices and files that this host uses itself: what it writes there, a guest would destroy."""

import contextlib
import ctypes
import dataclasses
import fcntl
import os
import stat
import struct
import subprocess

import pytest
import retrying

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import host
from powervm_fileio_connector.attachments import Attachments
from powervm_fileio_connector.host import checks
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.host import lookup
from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host.probe import in_use
from powervm_fileio_connector.novalink import client_for
from powervm_fileio_connector.volume import VolumeSpec

BLKPG, ADD_PARTITION, DELETE_PARTITION = 0x1269, 1, 2
IN_USE = r'used? by this host itself|that this host uses itself'


@pytest.fixture
def allowing(settings):
    return dataclasses.replace(settings, allow_block_devices=True)


@pytest.fixture
def find(allowing, prober):
    def find(path):
        return finder.find(VolumeSpec(protocol='local', path=str(path)), allowing, prober=prober)
    return find


@pytest.fixture
def map_to(novalink, allowing, prober):
    """Attach a file or device to one of two LPARs."""
    attachments = Attachments(allowing, prober, client_for(allowing, novalink.adapter()))

    def map_to(lpar, path, **more):
        return attachments.carry_out(attachments.plan_attach(VolumeSpec(
            protocol='local', path=str(path), lpar_uuid=novalink.lpars[lpar].uuid, **more)))
    return map_to


@pytest.fixture
def share(mounter, tmp_path):
    return mounter.tmpfs('nas1:/vols', tmp_path / 'share', 'size=1g')


@pytest.fixture
def make_image(share):
    def make_image(name, size=256 << 20):
        image = share / name
        image.touch()
        os.truncate(image, size)
        return image
    return make_image


@pytest.fixture
def attach(mounter):
    """Make loop devices, with nodes in a tmpfs of the tests; return a node and the device."""
    with contextlib.ExitStack() as attached:
        directory = mounter.tmpfs('devices', '/dev/shm')

        def attach(image, *options):
            made = subprocess.run(['losetup', '--find', '--show', *options, image],
                                  capture_output=True, text=True)
            if made.returncode:
                pytest.skip(f'no loop device: {made.stderr.strip()}')
            loop = made.stdout.strip()
            attached.callback(subprocess.run, ['losetup', '--detach', loop], check=True)
            return node(loop), loop

        def node(device):
            path = directory / f'{os.path.basename(device)}-{len(os.listdir(directory))}'
            os.mknod(path, stat.S_IFBLK | 0o600, os.stat(device).st_rdev)
            return path

        attach.node = node
        yield attach


def make_file_system(fstype, *devices):
    try:
        subprocess.run([f'mkfs.{fstype}', *devices], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as err:
        pytest.skip(f'no {fstype} here: {err}')


def change_partition(disk, change, number, start=0, sectors=0):
    """Add a partition to a disk, or delete one, by the ioctl BLKPG of <linux/blkpg.h>.

    Not every release of a distribution has a command for it.
    """
    partition = ctypes.create_string_buffer(
        struct.pack('qqi64s64s0q', 512 * start, 512 * sectors, number, b'', b''))
    with open(disk, 'rb') as device:
        fcntl.ioctl(device, BLKPG, struct.pack(
            'iiiP', change, 0, len(partition), ctypes.addressof(partition)))


@contextlib.contextmanager
def partitions(loop, count=1, sectors=65536):
    """Give a loop device partitions of 32 MiB each, whether or not it has a table of them."""
    numbers = range(1, count + 1)
    with contextlib.ExitStack() as added:
        for number in numbers:
            try:
                change_partition(loop, ADD_PARTITION, number, 65536 * number, sectors)
            except OSError as err:
                pytest.skip(f'no partitions of loop devices here: {err}')
            added.callback(change_partition, loop, DELETE_PARTITION, number)
        yield [f'{loop}p{number}' for number in numbers]


@contextlib.contextmanager
def swap_space(path):
    subprocess.run(['mkswap', path], check=True, capture_output=True)
    try:
        subprocess.run(['swapon', path], check=True, capture_output=True)
    except subprocess.CalledProcessError as err:
        pytest.skip(f'no swap space here: {err.stderr}')
    try:
        yield
    finally:
        subprocess.run(['swapoff', path], check=True)


@pytest.mark.parametrize('fstype', ['ext4', 'xfs', 'btrfs'])
def test_a_device_with_a_mounted_file_system_and_its_file_are_refused(
        fstype, make_image, attach, mounter, tmp_path, find):
    image = make_image('disk', 512 << 20)
    make_file_system(fstype, image)
    node, loop = attach(image)
    assert find(node).is_block_device
    mounter._mount(tmp_path / 'var', loop)
    for path in (node, image):
        with pytest.raises(exceptions.UnsafeVolumePath, match=IN_USE) as caught:
            find(path)
        assert 'journal' not in str(caught.value)
    mounter.unmount(tmp_path / 'var')


@contextlib.contextmanager
def mounted_elsewhere(device, place):
    """Mount a device in another mount namespace only."""
    place.mkdir()
    with subprocess.Popen(
            ['unshare', '--mount', 'sh', '-c', f'mount {device} {place} && echo done && cat'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout.readline() == b'done\n'
            yield
        finally:
            other.communicate()         # the end of its input ends it
    retrying.Retrying(retry_on_exception=lambda _: True, stop_max_delay=5000, wait_fixed=10).call(
        lambda: os.close(os.open(device, os.O_RDWR | os.O_EXCL)))


FILE_SYSTEMS = [('ext4',), ('ext4', '-O', '^has_journal'), ('xfs',), ('f2fs',), ('btrfs',)]


@pytest.mark.parametrize('made', FILE_SYSTEMS, ids=' '.join)
@pytest.mark.parametrize('is_partition', [False, True])
def test_what_is_mounted_in_another_mount_namespace_is_refused(
        made, is_partition, make_image, attach, tmp_path, find):
    image = make_image('disk', 800 << 20)
    node, loop = attach(image)
    with contextlib.ExitStack() as stack:
        device, nodes = loop, [node]
        if is_partition:
            [device] = stack.enter_context(partitions(loop, sectors=700 << 11))
            nodes.append(attach.node(device))
        make_file_system(made[0], *made[1:], device)
        assert [find(one).is_block_device for one in nodes] == [True] * len(nodes)
        stack.enter_context(mounted_elsewhere(device, tmp_path / 'elsewhere'))
        for path in (*nodes, attach(image)[0], image):
            with pytest.raises(exceptions.UnsafeVolumePath, match=IN_USE) as caught:
                find(path)
            assert 'journal' not in str(caught.value)


@pytest.mark.parametrize('made', FILE_SYSTEMS, ids=' '.join)
def test_what_was_unmounted_while_a_file_of_it_is_open_is_refused(
        made, make_image, attach, mounter, tmp_path, find):
    image = make_image('disk', 512 << 20)
    make_file_system(*made, image)
    node, loop = attach(image)
    place = mounter._mount(tmp_path / 'var', loop)
    with open(place / 'open', 'wb'):
        mounter.unmount(place)
        for path in (node, image):
            with pytest.raises(exceptions.UnsafeVolumePath, match=IN_USE):
                find(path)
    assert find(node).is_block_device


def test_a_mount_that_another_one_covers_goes_on_using_its_device(
        make_image, attach, mounter, tmp_path, find):
    image = make_image('disk')
    make_file_system('ext4', image)
    node, loop = attach(image)
    mounter._mount(tmp_path / 'var', loop)
    mounter.tmpfs('cover', tmp_path / 'var')
    for path in (node, image):
        with pytest.raises(exceptions.UnsafeVolumePath, match=IN_USE):
            find(path)
    mounter.unmount(tmp_path / 'var')
    mounter.unmount(tmp_path / 'var')


def test_a_loop_device_on_another_one_uses_that_and_its_file(
        make_image, attach, mounter, tmp_path, find):
    image = make_image('disk')
    make_file_system('ext4', image)
    node, loop = attach(image)
    upper_node, upper = attach(loop)
    assert find(node).is_block_device
    mounter._mount(tmp_path / 'var', upper)
    for path in (upper_node, node, image):
        with pytest.raises(exceptions.UnsafeVolumePath, match=IN_USE):
            find(path)
    mounter.unmount(tmp_path / 'var')


def test_the_file_behind_a_loop_device_that_is_swap_space_is_refused(make_image, attach, find):
    image = make_image('swap', 2 << 20)
    _, loop = attach(image)
    with swap_space(loop), pytest.raises(exceptions.UnsafeVolumePath, match='swap space'):
        find(image)


def test_a_block_device_is_known_by_each_of_its_names(make_image, attach, find, prober):
    node, loop = attach(make_image('disk'))
    other, _ = attach(make_image('other'))
    names = [f'/dev/shm/{name}' for name in ('by-id', 'by-path', 'of-another')]
    for name, target in zip(names, (node, attach.node(loop), other), strict=True):
        os.symlink(target, name)
    found = find(names[0])
    assert found.may_have_other_names
    assert set(host.names_among(found, [*names, str(node), '/dev/shm/none', '/none'],
                                prober=prober).same) == {*names[:2], str(node)}


def test_each_device_and_file_of_a_mounted_btrfs_is_refused(
        make_image, attach, mounter, tmp_path, share, find):
    nodes, loops = zip(*(attach(make_image(name)) for name in ('one', 'two')), strict=True)
    make_file_system('btrfs', *loops)
    mounter._mount(tmp_path / 'var', '-o', f'device={loops[1]}', loops[0])
    for path in (*nodes, share / 'one', share / 'two'):
        with pytest.raises(exceptions.UnsafeVolumePath, match=IN_USE):
            find(path)
    mounter.unmount(tmp_path / 'var')


def test_a_disk_is_refused_while_a_partition_of_it_is_mounted(
        make_image, attach, mounter, tmp_path, find):
    image = make_image('disk')
    partition = struct.pack('<8xII', 2048, 100_000)
    partition = bytes((0, 0, 0, 0, 0x83, 0, 0, 0)) + partition[8:]
    with open(image, 'r+b') as disk:
        disk.seek(446)
        disk.write(partition + bytes(48) + b'\x55\xaa')
    node, loop = attach(image)
    added = subprocess.run(['partx', '--add', loop], capture_output=True, text=True)
    if added.returncode:
        pytest.skip(f'no partitions of loop devices here: {added.stderr.strip()}')
    try:
        make_file_system('ext4', f'{loop}p1')
        assert find(node).is_block_device
        mounter._mount(tmp_path / 'var', f'{loop}p1')
        for path in (node, attach.node(f'{loop}p1'), image):
            with pytest.raises(exceptions.UnsafeVolumePath, match=IN_USE):
                find(path)
        mounter.unmount(tmp_path / 'var')
    finally:
        subprocess.run(['partx', '--delete', loop], check=True)


def test_a_partition_is_refused_while_its_disk_is_mounted(
        make_image, attach, mounter, tmp_path, find):
    image = make_image('disk')
    make_file_system('ext4', image)
    _, loop = attach(image)
    with partitions(loop) as [partition]:
        node = attach.node(partition)
        assert find(node).is_block_device
        mounter._mount(tmp_path / 'var', loop)
        with pytest.raises(exceptions.UnsafeVolumePath, match=IN_USE):
            find(node)
        mounter.unmount(tmp_path / 'var')


def test_a_partition_is_served_while_another_of_its_disk_is_mounted(
        make_image, attach, mounter, tmp_path, find):
    _, loop = attach(make_image('disk'))
    with partitions(loop, 2) as [mounted, other]:
        make_file_system('ext4', mounted)
        mounter._mount(tmp_path / 'var', mounted)
        assert find(attach.node(other)).is_block_device
        mounter.unmount(tmp_path / 'var')


def test_a_loop_device_is_refused_while_another_one_over_its_file_is_mounted(
        make_image, attach, mounter, tmp_path, find):
    image = make_image('disk')
    make_file_system('ext4', image)
    (node, _), (_, other) = attach(image), attach(image)
    assert find(node).is_block_device
    mounter._mount(tmp_path / 'var', other)
    with pytest.raises(exceptions.UnsafeVolumePath, match=IN_USE):
        find(node)
    mounter.unmount(tmp_path / 'var')


@pytest.fixture
def halves(make_image, attach):
    """A file, and a loop device over each half of it, as node and device."""
    image = make_image('disk', 512 << 20)
    size = str(256 << 20)
    return image, attach(image, '--sizelimit', size), attach(image, '--offset', size)


def test_loop_devices_over_other_parts_of_a_file_share_nothing(
        halves, mounter, tmp_path, find, map_to, novalink):
    image, (_, mounted), (node, _) = halves
    make_file_system('ext4', mounted)
    mounter._mount(tmp_path / 'var', mounted)
    assert find(node).is_block_device
    with pytest.raises(exceptions.UnsafeVolumePath, match=IN_USE):
        find(image)
    mounter.unmount(tmp_path / 'var')


def test_loop_devices_over_other_parts_of_a_file_are_mapped_but_not_the_file(
        halves, map_to, novalink):
    image, (one, _), (other, _) = halves
    map_to(0, one)
    map_to(1, other)
    with pytest.raises(exceptions.VolumeInUse, match='loop device'):
        map_to(1, image)
    assert len(novalink.mappings()) == 2


def test_a_loop_device_that_seems_to_be_over_itself_is_over_nothing(monkeypatch):
    monkeypatch.setattr(in_use, '_behind', lambda loop: '7:0')
    assert in_use._layers('7:0') == (['7:0'], [])


@pytest.mark.parametrize('order', [1, -1])
@pytest.mark.parametrize('lpar', [0, 1])
@pytest.mark.parametrize('is_multiattach', [False, True])
def test_of_a_disk_and_its_partition_one_is_mapped_at_a_time(
        order, lpar, is_multiattach, make_image, attach, novalink, map_to):
    node, loop = attach(make_image('disk'))
    with partitions(loop, 2) as [one, other]:
        first, second = (node, attach.node(one))[::order]
        info = map_to(0, first)
        with pytest.raises(exceptions.VolumeInUse, match=f'{first} is mapped .* partition'):
            map_to(lpar, second, multiattach=is_multiattach)
        assert [mapping.path for mapping in novalink.mappings()] == [str(first)]
        assert dataclasses.replace(map_to(0, first), is_new=info.is_new) == info
        if order < 0:
            map_to(1, attach.node(other))
            assert len(novalink.mappings()) == 2


@pytest.mark.parametrize('order', [1, -1])
@pytest.mark.parametrize('kinds', ['file, loop', 'file, partition', 'loop, loop over file',
                                   'loop, loop over loop'])
def test_of_a_file_and_a_loop_device_over_it_one_is_mapped_at_a_time(
        kinds, order, make_image, attach, novalink, map_to):
    image = make_image('disk')
    node, loop = attach(image)
    with contextlib.ExitStack() as stack:
        pair = {'file, loop': lambda: (image, node),
                'file, partition': lambda: (image, attach.node(
                    stack.enter_context(partitions(loop))[0])),
                'loop, loop over file': lambda: (node, attach(image)[0]),
                'loop, loop over loop': lambda: (node, attach(loop)[0])}[kinds]()
        first, second = pair[::order]
        map_to(0, first)
        with pytest.raises(exceptions.VolumeInUse, match=f'{first} is mapped .* loop device'):
            map_to(1, second)
        assert [mapping.path for mapping in novalink.mappings()] == [str(first)]


def test_of_a_disk_and_its_partition_that_are_attached_at_once_one_is_mapped(
        make_image, attach, novalink, allowing, prober):
    attachments = Attachments(allowing, prober, client_for(allowing, novalink.adapter()))
    node, loop = attach(make_image('disk'))
    with partitions(loop) as [one]:
        plans = [attachments.plan_attach(VolumeSpec(
            protocol='local', path=str(path), lpar_uuid=lpar.uuid))
            for path, lpar in zip((node, attach.node(one)), novalink.lpars, strict=True)]
        attachments.carry_out(plans[0])
        with pytest.raises(exceptions.VolumeInUse, match='meanwhile'):
            attachments.carry_out(plans[1])
    assert [mapping.path for mapping in novalink.mappings()] == [str(node)]


def test_the_device_of_an_external_journal_and_its_file_are_refused(
        make_image, attach, mounter, tmp_path, find):
    image = make_image('journal')
    node, loop = attach(image)
    with partitions(loop) as [partition]:
        file_system = attach(make_image('disk'))[1]
        for device, options in ((partition, ('-O', 'journal_dev')),
                                (file_system, ('-J', f'device={partition}'))):
            make_file_system('ext4', '-q', '-b', '4096', *options, device)
        assert find(node).is_block_device
        mounter._mount(tmp_path / 'var', file_system)
        for path in (attach.node(partition), node, image):
            with pytest.raises(exceptions.UnsafeVolumePath, match='journal of ext4'):
                find(path)
        mounter.unmount(tmp_path / 'var')


@pytest.mark.parametrize('option', ['logdev', 'rtdev'])
def test_the_devices_that_xfs_names_in_its_options_and_their_files_are_in_use(
        option, make_image, attach):
    image = make_image('log')
    node, loop = attach(image)
    os.symlink(loop, '/dev/shm/by id')
    table = mount_table.parse(
        f'1 0 8:1 / /mnt rw - xfs /dev/sda1 rw,{option}=/dev/shm/by\\040id,noquota'.encode())
    device = os.stat(node).st_rdev
    [mount] = table
    assert checks.devices_of(mount) == {'8:1', f'{os.major(device)}:{os.minor(device)}'}
    assert in_use.regular_file(
        os.stat(image), image.name, list(lookup.mounted_loops(table))) is not None


def test_a_device_that_is_swap_space_is_refused(make_image, attach, find):
    node, loop = attach(make_image('swap', 2 << 20))
    with swap_space(loop), pytest.raises(exceptions.UnsafeVolumePath, match='swap space'):
        find(node)
    assert find(node).is_block_device


@pytest.mark.parametrize('is_linked', [False, True])
def test_a_file_that_is_swap_space_is_refused(
        is_linked, make_image, attach, mounter, tmp_path, find):
    image = make_image('disk')
    make_file_system('ext4', image)
    place = mounter._mount(tmp_path / 'var', attach(image)[1])
    swap = place / 'swap'
    swap.write_bytes(bytes(2 << 20))
    swap.chmod(0o600)
    path = place / 'link' if is_linked else swap
    if is_linked:
        os.link(swap, path)
    with swap_space(swap), pytest.raises(exceptions.UnsafeVolumePath, match='swap space'):
        find(path)
    assert find(path).path == str(path)
    mounter.unmount(place)


@pytest.mark.parametrize('is_unmounted', [False, True])
def test_a_file_behind_a_mounted_loop_device_is_refused_whatever_name_it_was_bound_to(
        is_unmounted, make_image, attach, mounter, tmp_path, find):
    image = make_image('disk')
    make_file_system('ext4', image)
    bound = tmp_path / 'bound'
    bound.touch()
    mounter.bind(image, bound)
    place = mounter._mount(tmp_path / 'var', attach(bound)[1])
    if is_unmounted:
        mounter.unmount(bound)
    with pytest.raises(exceptions.UnsafeVolumePath, match=IN_USE):
        find(image)
    mounter.unmount(place)


def test_a_file_that_is_swap_space_under_a_bound_name_is_refused(
        make_image, attach, mounter, tmp_path, find):
    image = make_image('disk')
    make_file_system('ext4', image)
    place = mounter._mount(tmp_path / 'var', attach(image)[1])
    swap, bound = place / 'swap', tmp_path / 'a\tbound name'
    swap.write_bytes(bytes(2 << 20))
    swap.chmod(0o600)
    bound.touch()
    mounter.bind(swap, bound)
    with swap_space(bound), pytest.raises(exceptions.UnsafeVolumePath, match='swap space'):
        find(swap)
    mounter.unmount(place)


def test_a_file_behind_an_unused_loop_device_is_served(make_image, attach, find):
    # NovaLink serves files through loop devices: that is no use by this host.
    image = make_image('disk')
    attach(image)
    assert find(image).path == str(image)


def test_a_device_with_a_holder_is_refused(make_image, attach, find, tmp_path, monkeypatch):
    # Device mapper, LVM and md are not everywhere; what they leave in sysfs is.
    node, _ = attach(make_image('disk'))
    device = os.stat(node).st_rdev
    place = tmp_path / f'{os.major(device)}:{os.minor(device)}'
    (place / 'disk1/holders/dm-7').mkdir(parents=True)
    (place / 'holders').mkdir()
    for name, text in (('size', '524288'), ('dev', place.name), ('disk1/dev', '7:99'),
                       ('disk1/partition', '1')):
        (place / name).write_text(text)
    monkeypatch.setattr(in_use, '_SYS_DEVICES', str(tmp_path))
    assert in_use.block_device(device, []) == {
        'size': 524288 * 512, 'devices': [place.name, '7:99'], 'same_as': [place.name],
        'part_of': [], 'handles': [None], 'is_read_only': False, 'used_as': 'a part of dm-7'}


def test_a_read_only_block_device_is_not_supported(make_image, attach, find):
    node, _ = attach(make_image('disk'), '--read-only')
    with pytest.raises(exceptions.UnsupportedVolume, match=f'{node} is a read-only block device'):
        find(node)


@pytest.fixture
def recheck(allowing, prober):
    def recheck(found):
        finder.recheck(found, allowing, prober=prober)
    return recheck


@pytest.mark.parametrize('before', [
    {'same_as': frozenset({'7:999', '44/3'})}, {'part_of': frozenset({'44/3'})},
    {'device': '7:999'}, {'handles': ('before',)}])
def test_a_loop_device_that_was_bound_to_other_data_meanwhile_is_not_the_same(
        before, make_image, attach, find, recheck):
    # As found before: one that is detached here for a moment might be taken by another test.
    node, _ = attach(make_image('disk'), '--sizelimit', str(1 << 20))
    found = find(node)
    recheck(found)
    if None in found.handles and 'handles' in before:
        pytest.skip('the kernel gives disks no sequence numbers')
    with pytest.raises(exceptions.UnsafeVolumePath, match='while it was being attached'):
        recheck(dataclasses.replace(found, **before))


def test_a_device_has_another_handle_each_time_that_it_is_bound(make_image, attach, find):
    image = make_image('disk')
    (one, _), (other, _) = attach(image), attach(image)
    assert find(one).handles == find(one).handles
    assert find(one).handles != find(other).handles or None in find(one).handles


@pytest.mark.parametrize(('size', 'is_same'), [(512 << 20, True), (1 << 20, False)])
def test_a_block_device_may_have_grown_meanwhile_but_not_shrunk(
        size, is_same, make_image, attach, find, recheck):
    image = make_image('disk')
    node, loop = attach(image)
    found = find(node)
    os.truncate(image, size)
    subprocess.run(['losetup', '--set-capacity', loop], check=True)
    with contextlib.nullcontext() if is_same else pytest.raises(exceptions.UnsafeVolumePath):
        recheck(found)


def test_a_partition_that_appears_meanwhile_leaves_a_device_the_same(
        make_image, attach, find, recheck):
    node, loop = attach(make_image('disk'))
    found = find(node)
    with partitions(loop) as [partition]:
        recheck(found)
        found = find(attach.node(partition))
        recheck(found)
        assert None not in found.handles or None in find(node).handles


@pytest.mark.parametrize('is_swap', [False, True])
def test_a_block_device_that_came_into_use_meanwhile_is_refused(
        is_swap, make_image, attach, mounter, tmp_path, find, recheck):
    image = make_image('disk')
    make_file_system('ext4', image)
    node, loop = attach(image)
    found = find(node)
    with contextlib.ExitStack() as stack:
        if is_swap:
            stack.enter_context(swap_space(loop))
        else:
            mounter._mount(tmp_path / 'var', loop)
        with pytest.raises(exceptions.UnsafeVolumePath, match=IN_USE):
            recheck(found)
    if not is_swap:
        mounter.unmount(tmp_path / 'var')
