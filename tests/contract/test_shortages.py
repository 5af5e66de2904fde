# SPDX-License-Identifier: Apache-2.0
"""This host has no process, descriptor or time left for probes: errors are ours, detach goes on."""

import contextlib
import errno
import os
import resource
import sys

import pytest

from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.host import table_watch
from tests.contract.conftest import make_connector


@pytest.fixture
def volume(make_volume):
    return {'path': make_volume()}


def no_process(monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, 'posix_spawn', fail)


def no_python(monkeypatch):
    monkeypatch.setattr(sys, 'executable', '/nowhere/python3')


@pytest.fixture(params=[no_process, no_python])
def without_probes(request, monkeypatch):
    """Let no share probe process start any more, from when it is called."""
    def begin():
        probe.close_idle()
        request.param(monkeypatch)
    return begin


def test_connect_without_a_process_for_probes_may_be_retried(connector, volume, without_probes):
    without_probes()
    with pytest.raises(exceptions.MountNotResponding, match='cannot start') as caught:
        connector.connect_volume(volume)
    assert isinstance(caught.value, exceptions.Retryable)


@pytest.mark.parametrize('options', [{}, {'force': True, 'ignore_errors': True}])
def test_disconnect_without_a_process_for_probes_goes_by_the_mount_table(
        connector, novalink, volume, options, without_probes):
    before = len(novalink.mappings())
    connector.connect_volume(volume)
    assert len(novalink.mappings()) == before + 1
    without_probes()
    for _ in range(2):
        connector.disconnect_volume(volume, None, **options)
        assert len(novalink.mappings()) == before


@pytest.fixture
def no_descriptors():
    """Take all descriptors that this process may still open, in a ``with`` block."""
    @contextlib.contextmanager
    def no_descriptors(spared=0):
        probe.close_idle()
        table_watch.close()
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = max(map(int, os.listdir('/proc/self/fd')))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 16, before[1]))
        taken = []
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            for _ in range(spared):
                os.close(taken.pop())
            yield
        finally:
            for descriptor in taken:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
    return no_descriptors


@pytest.mark.parametrize('spared', range(6))
def test_a_lack_of_descriptors_at_any_moment_is_an_error_of_ours(
        connector, novalink, config, volume, spared, no_descriptors):
    connector.connect_volume(volume)            # imports, and logs on
    connector.disconnect_volume(volume, None)
    before = len(novalink.mappings())
    # Where there is none for a connection, a request is repeated until its deadline.
    config.set_override('rest_timeout_s', 1.0, group=conf.GROUP)
    hasty = make_connector(novalink, config)
    with no_descriptors(spared), contextlib.suppress(exceptions.FileIOConnectorError):
        hasty.connect_volume(volume)
    with no_descriptors(spared), contextlib.suppress(exceptions.FileIOConnectorError):
        hasty.disconnect_volume(volume, None)
    connector.disconnect_volume(volume, None)
    assert len(novalink.mappings()) == before


@pytest.mark.parametrize('timeout_s', ['inf', '1e300'])
def test_probes_without_a_deadline_are_made(novalink, config, volume, timeout_s):
    config.set_override('probe_timeout_s', float(timeout_s), group=conf.GROUP)
    connector = make_connector(novalink, config)
    before = len(novalink.mappings())
    info = connector.connect_volume(volume)
    assert connector.connect_volume(volume) == info
    connector.disconnect_volume(volume, None)
    assert len(novalink.mappings()) == before


@pytest.mark.parametrize('key', ['slot', 'lua', 'volume_id', 'multiattach'])
def test_a_number_of_thousands_of_digits_is_an_invalid_property(connector, volume, key):
    for value in ('9' * 5000, 10 ** 5000):
        with pytest.raises(exceptions.FileIOConnectorError):
            connector.connect_volume({**volume, key: value} if key != 'volume_id' else {
                **volume, 'slot': value, 'volume_id': 'v'})
        connector.disconnect_volume({**volume, key: value}, None)
