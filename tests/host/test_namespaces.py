# SPDX-License-Identifier: Apache-2.0
"""A thread may see other mounts than the rest of its process."""

import concurrent.futures
import ctypes
import subprocess

import pytest

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.volume import VolumeSpec
from tests.host.conftest import CLONE_NEWNS
from tests.host.conftest import write

SPEC = VolumeSpec(export='nas1:/vols', name='volume-1')


def test_a_look_sees_the_mounts_of_the_thread_that_takes_it(tmp_path, settings, prober):
    def find_where_it_is_mounted():
        assert ctypes.CDLL(None).unshare(CLONE_NEWNS) == 0
        subprocess.run(['mount', '-t', 'tmpfs', 'nas1:/vols', tmp_path], check=True)
        path = write(tmp_path / 'volume-1')
        assert finder.find(SPEC, settings, prober=prober).path == str(path)

    def find_where_it_is_not():
        with pytest.raises(exceptions.ShareNotMounted):
            finder.find(SPEC, settings, prober=prober)
        with pytest.raises(exceptions.ShareNotMounted):
            finder.find(VolumeSpec(path=f'{tmp_path}/volume-1'), settings, prober=prober)

    find_where_it_is_not()
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        thread.submit(find_where_it_is_mounted).result()
    find_where_it_is_not()
