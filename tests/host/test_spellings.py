# SPDX-License-Identifier: Apache-2.0
"""The paths of one file by the mount table, held against what the kernel opens."""

import contextlib
import ctypes
import os

import hypothesis
from hypothesis import strategies as st

from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host import same_file
from tests import effort

MS_BIND, MS_REC, MNT_DETACH = 4096, 16384, 2
DIRECTORIES = [f'{top}{below}' for top in 'abc' for below in ('', '/x', '/x/y', '/z')]

directories = st.sampled_from(DIRECTORIES)
steps = st.lists(st.one_of(
    st.tuples(st.just('new'), directories, directories),
    st.tuples(st.just('bind'), directories, directories),
    st.tuples(st.just('rbind'), directories, directories),
    st.tuples(st.just('file'), directories, directories)), max_size=8)


@contextlib.contextmanager
def mounted(place, made):
    """Make mounts, one after the other; those that the kernel refuses are left out."""
    libc = ctypes.CDLL(None, use_errno=True)
    tops = []

    def mount(source, target, fstype=None, flags=0):
        if not libc.mount(os.fsencode(source), os.fsencode(target), fstype, flags, None):
            tops.append(target)

    def fill(directory):
        for below in ('', '/x', '/x/y', '/z'):
            os.makedirs(f'{directory}{below}', exist_ok=True)
            with open(f'{directory}{below}/v', 'wb'):
                pass

    try:
        mount('outer', place, b'tmpfs')
        for top in 'abc':
            fill(f'{place}/{top}')
        for number, (kind, source, target) in enumerate(made):
            source, target = f'{place}/{source}', f'{place}/{target}'
            if kind == 'new':
                # A server of its own: equal sources are the same files.
                mount(f'nas{number}:/vols', target, b'tmpfs')
                fill(target)
            elif kind == 'file' and source != target:
                mount(f'{source}/v', f'{target}/v', None, MS_BIND)
            else:
                mount(source, target, None, MS_BIND | MS_REC * (kind == 'rbind'))
        yield
    finally:
        for target in reversed(tops):
            libc.umount2(os.fsencode(target), MNT_DETACH)


@hypothesis.settings(max_examples=effort.of(40, 150), deadline=None, suppress_health_check=[
    hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(made=steps)
@hypothesis.example(made=[('new', 'a', 'a'), ('bind', 'a/x', 'b'), ('new', 'a', 'a/x/y'),
                          ('bind', 'a/z', 'a/x/y')])
def test_all_paths_of_a_file_are_known_and_none_else(made, tmp_path):
    with mounted(str(tmp_path), made):
        files = {}
        for directory, _, names in os.walk(tmp_path):
            for name in names:
                path = f'{directory}/{name}'
                seen = os.stat(path)
                files.setdefault((seen.st_dev, seen.st_ino), set()).add(path)
        table = mount_table.table()
        for paths in files.values():
            for path in paths:
                found = same_file.index(table).spellings(table.covering(path), path)
                assert set(found) == paths, made
