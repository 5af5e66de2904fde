# SPDX-License-Identifier: Apache-2.0
"""The mount table, as the kernel writes it."""

import errno
import os
import subprocess
import sys

import hypothesis
import pytest
from hypothesis import strategies as st

from powervm_fileio_connector import exceptions
from powervm_fileio_connector import export
from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host import table_watch

# Everything up to the root mount of a plain host.
HOST = '''\
22 27 0:21 / /proc rw,relatime - proc proc rw
24 27 0:6 / /dev rw,nosuid shared:2 - devtmpfs devtmpfs rw,size=12334460k,mode=755
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
'''


def table_of(*lines, host=HOST):
    return mount_table.parse((host + '\n'.join(lines)).encode())


def parse(*lines, host=HOST):
    return list(table_of(*lines, host=host))


def points(table):
    return [mount.mount_point for mount in table]


def escape(text):
    """Escape as the kernel does."""
    return b''.join(b'\\%03o' % byte if byte in b' \t\n\\#' else bytes((byte,))
                    for byte in os.fsencode(text))


def test_a_line_is_taken_apart():
    mount = parse('30 27 0:50 / /mnt/vols rw,noatime shared:7 master:1 - nfs4 nas1:/vols '
                  'ro,vers=4.2,addr=192.0.2.1')[-1]
    assert (mount.id, mount.parent_id, mount.device, mount.root) == (30, 27, '0:50', '/')
    assert (mount.mount_point, mount.fstype, mount.source) == ('/mnt/vols', 'nfs4', 'nas1:/vols')
    assert mount.options == 'rw,noatime,ro,vers=4.2,addr=192.0.2.1'
    assert (mount.option('vers'), mount.option('time')) == ('4.2', None)


@pytest.mark.parametrize(('options', 'super_options', 'is_read_only'), [
    ('rw', 'rw', False), ('ro', 'rw', True), ('rw', 'ro,vers=3', True),
    ('rw,relatime', 'rw,errors=remount-ro', False)])
def test_read_only_is_what_the_mount_or_its_file_system_is(options, super_options, is_read_only):
    mount = parse(f'30 27 0:50 / /mnt {options} - nfs nas1:/vols {super_options}')[-1]
    assert mount.is_read_only is is_read_only


def test_a_source_may_be_missing():
    # mount(2) takes an empty source, and the kernel then writes nothing between two blanks.
    mount = parse('30 27 0:50 / /mnt rw - tmpfs  rw')[-1]
    assert (mount.fstype, mount.source) == ('tmpfs', '')


# Any bytes, but for those that no path has.
paths = st.binary(min_size=1).map(
    lambda name: '/mnt/x' + os.fsdecode(name.replace(b'\0', b'').replace(b'/', b'')))


@hypothesis.given(mount_point=paths, source=paths, root=paths)
def test_every_name_is_read_as_it_was_mounted(mount_point, source, root):
    line = b'30 27 0:50 %s %s rw - nfs %s rw\n' % tuple(map(escape, (root, mount_point, source)))
    mount = list(mount_table.parse(HOST.encode() + line))[-1]
    assert (mount.mount_point, mount.source, mount.root) == (mount_point, source, root)


def test_the_last_mount_on_a_mount_point_is_the_one_that_counts():
    table = parse('30 27 0:50 / /mnt rw - nfs nas1:/a rw', '31 30 0:51 / /mnt rw - nfs nas1:/b rw')
    assert [mount.source for mount in table if mount.mount_point == '/mnt'] == ['nas1:/b']


def test_what_is_mounted_below_a_covered_directory_cannot_be_reached():
    table = parse('30 27 0:50 / /mnt/a rw - nfs nas1:/a rw', '31 27 0:51 / /mnt rw - tmpfs b rw',
                  '32 31 0:52 / /mnt/c rw - nfs nas1:/c rw')
    assert points(table)[-2:] == ['/mnt', '/mnt/c']


def test_a_mount_below_another_can_be_reached():
    assert points(parse('30 27 0:50 / /mnt rw - nfs nas1:/a rw',
                        '31 30 0:51 / /mnt/b rw - nfs nas1:/a/b rw'))[-2:] == ['/mnt', '/mnt/b']


def test_a_changed_root_may_be_no_mount_at_all():
    table = table_of('30 27 0:50 / /mnt rw - nfs nas1:/a rw', host='')
    assert points(table) == ['/mnt']
    assert table.root is None


@pytest.mark.parametrize(('path', 'mount_point'), [
    ('/', '/'), ('/mnt', '/mnt'), ('/mnt/x', '/mnt'), ('/mnt2', '/'), ('/mnt/b/c', '/mnt/b'),
    ('/mnt/bc', '/mnt')])
def test_a_path_lies_on_the_innermost_mount_above_it(path, mount_point):
    table = table_of('30 27 0:50 / /mnt rw - nfs nas1:/a rw',
                     '31 30 0:51 / /mnt/b rw - nfs n:/b rw')
    assert table.covering(path).mount_point == mount_point


@pytest.mark.parametrize(('one', 'other'), [
    ('nas1:/vols', 'nas1:/vols/'), ('nas1:/vols', 'nas1://vols//'), ('nas1:/', 'nas1:'+'//'),
    ('NAS1.example:/vols', 'nas1.example:/vols'), ('[fd00::3]:/vols', 'fd00::3:/vols'),
    ('[FD00:0:0::3]:/vols', 'fd00::3:/vols/'), ('reg1/volume/', 'reg1/volume')])
def test_spellings_of_one_export_are_the_same_source(one, other):
    assert export.are_same(one, other)


@pytest.mark.parametrize(('one', 'other'), [
    ('nas1:/vols', 'nas2:/vols'), ('nas1:/vols', 'nas1:/Vols'), ('nas1:/vols', 'nas1:/vols2'),
    ('nas1:/vols', 'nas1:/'), ('fd00::3:/vols', 'fd00::4:/vols'), ('nas1:/a:/b', 'nas1:/a'),
    ('nas1:/vols', '/vols')])
def test_different_exports_are_different_sources(one, other):
    assert not export.are_same(one, other)


@hypothesis.given(source=st.text())
def test_every_source_is_the_same_as_itself_with_a_slash(source):
    assert export.are_same(source, source)
    assert export.are_same(source, source + '/') or not source.strip('/')


def test_neither_source_nor_options_show_a_password():
    mount = parse('30 27 0:50 / /a rw - fuse.x mds1,mds2:/cluster:CANARY rw,password=CANARY')[-1]
    assert 'CANARY' not in f'{mount} {mount!r}'
    assert 'cluster' in str(mount)


@pytest.mark.parametrize('line', [
    'rubbish', '31 27 0:51 / /b rw', 'x 27 0:51 / /b rw - nfs nas1:/b rw', '31 27 0:51 / /b rw - ',
    '9' * 5000 + ' 27 0:51 / /b rw - nfs nas1:/b rw', '31 27 51 / /b rw - nfs nas1:/b rw',
    '31 27 0:51 / b rw - nfs nas1:/b rw', ' - '])
def test_a_line_that_is_none_does_not_hide_the_others(line, caplog):
    mounts = parse('30 27 0:50 / /a rw - nfs nas1:/a rw', line, '32 27 0:52 / /c rw - nfs n:/c rw')
    assert points(mounts)[-2:] == ['/a', '/c']
    assert 'left out' in caplog.text


def test_mounts_that_name_each_other_as_parents_end():
    mounts = parse('30 31 0:50 / /a rw - nfs nas1:/a rw', '31 30 0:51 / /a rw - nfs nas1:/b rw')
    assert points(mounts) == ['/proc', '/dev', '/']


def test_names_are_those_of_utf8_whatever_the_locale():
    code = r"""
from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host import table_watch
[mount] = mount_table.parse(b'30 27 0:50 / /mnt/\xc3\xa9 rw - tmpfs x rw')
assert mount.mount_point == '/mnt/\xe9', ascii(mount.mount_point)
"""
    subprocess.run([sys.executable, '-X', 'utf8=0', '-c', code], check=True, timeout=60,
                   env=os.environ | {'LC_ALL': 'C', 'PYTHONCOERCECLOCALE': '0'})


def test_the_table_is_read_again_only_after_a_change(monkeypatch):
    parsed = []
    real = mount_table.parse
    monkeypatch.setattr(mount_table, 'parse', lambda text: parsed.append(text) or real(text))
    table_watch.close()
    first = mount_table.table()
    assert [mount_table.table() is first for _ in range(3)] == [True] * 3
    assert len(parsed) == 1


def test_a_process_without_descriptors_left_says_so(monkeypatch):
    table_watch.close()

    def open_(*args):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, 'open', open_)
    with pytest.raises(exceptions.MountNotResponding, match='shortage of this host'):
        mount_table.table()


def test_a_fork_reads_a_table_of_its_own():
    mount_table.table()
    child = os.fork()
    if not child:
        os._exit(0 if mount_table.table() and table_watch._idle[0].owner[0] == os.getpid() else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_comma_that_the_kernel_escapes_ends_no_option():
    mount = parse(r'30 27 0:50 / /a rw - overlay x rw,lowerdir=/a\054ro,upperdir=/b')[-1]
    assert not mount.is_read_only
    assert mount.option('upperdir') == '/b'


def test_mount_points_may_be_nested_deeper_than_functions():
    path = '/d' * 1500
    assert points(table_of(f'30 27 0:50 / {path} rw - nfs nas1:/a rw'))[-1] == path
