# SPDX-License-Identifier: Apache-2.0
"""Shares that hang, go stale or lose their daemon."""

import concurrent.futures
import contextlib
import dataclasses
import errno
import logging
import os
import select
import subprocess
import sys
import threading
import time

import psutil
import pytest

import powervm_fileio_connector as pfc
from powervm_fileio_connector import exceptions
from powervm_fileio_connector import host
from powervm_fileio_connector.host import finder
from powervm_fileio_connector.host import health
from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.host.probe import root_helper
from powervm_fileio_connector.volume import VolumeSpec
from tests.host.conftest import children
from tests.host.conftest import write

EXPORT = 'nas1:/export/a'
SPEC = VolumeSpec(protocol='nfs', export=EXPORT, name='volume-1')

# What a look at a hung share may take beyond its deadline on a loaded machine: 0.5 s for a helper
# that the kernel holds, and the start of another.
SLACK_S = 1.5


def ended(pid):
    """Wait until a process has ended, whatever reaps it."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], 10)[0], 'still there'
    finally:
        os.close(descriptor)


def members(group):
    """Return the processes of a process group, whatever their parent is."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError):       # it has just ended
            found += [pid] if os.getpgid(pid) == group else []
    return found


@pytest.fixture
def share(fuse_share):
    return fuse_share()


def both_specs(share):
    return SPEC, VolumeSpec(path=f'{share.place}/volume-1')


def test_a_share_that_answers_is_healthy(share, settings, prober):
    for spec in both_specs(share):
        assert finder.find(spec, settings, prober=prober).size == 1 << 20


def test_a_share_that_hangs_is_told_by_the_deadline(share, settings, hasty_prober):
    share.tell('hang')
    for spec in both_specs(share):
        started = time.monotonic()
        with pytest.raises(exceptions.MountNotResponding, match='did not answer') as e:
            finder.find(spec, settings, prober=hasty_prober, attempts=3)
        assert time.monotonic() - started < hasty_prober.timeout_s + SLACK_S
        assert e.value.kwargs['mount_point'] == str(share.place)
        assert isinstance(e.value, exceptions.Retryable)


def test_a_share_that_hangs_only_for_a_while_is_found(share, settings, prober):
    share.tell('hang')
    with concurrent.futures.ThreadPoolExecutor() as pool:
        found = pool.submit(finder.find, SPEC, settings, prober=prober)
        share.wait_until_it_holds_a_request()
        share.tell('answer')
        assert found.result().path == f'{share.place}/volume-1'


def test_a_file_that_is_replaced_while_it_is_looked_up_is_no_stale_mount(share, settings, prober):
    for spec in both_specs(share):
        share.tell('stale-once')
        assert finder.find(spec, settings, prober=prober).path == f'{share.place}/volume-1'


def test_a_stale_share_is_told(share, settings, prober):
    share.tell('stale')
    for spec in both_specs(share):
        with pytest.raises(exceptions.StaleMount, match='Stale file handle'):
            finder.find(spec, settings, prober=prober)


def test_a_share_whose_daemon_died_is_stale(share, settings, prober):
    share.die()
    for spec in both_specs(share):
        with pytest.raises(exceptions.StaleMount, match='not connected'):
            finder.find(spec, settings, prober=prober)


def test_a_handle_of_a_fuse_share_may_change(share, settings, prober):
    found = finder.find(SPEC, settings, prober=prober)
    finder.recheck(dataclasses.replace(found, handles=('1:other',)), settings, prober=prober)


def test_a_share_that_goes_silent_meanwhile_is_told_at_the_second_look(
        share, settings, prober, hasty_prober):
    found = finder.find(SPEC, settings, prober=prober)
    finder.recheck(found, settings, prober=prober)
    share.tell('stale')
    with pytest.raises(exceptions.StaleMount):
        finder.recheck(found, settings, prober=prober)
    share.tell('hang')
    with pytest.raises(exceptions.MountNotResponding):
        finder.recheck(found, settings, prober=hasty_prober)


def test_a_helper_that_the_kernel_holds_is_reported_and_no_child_of_ours(
        share, settings, caplog):
    before = set(children())
    share.tell('hang')
    # Long enough for its process to start and to ask the share, on a busy host as well.
    with pytest.raises(exceptions.MountNotResponding):
        finder.find(SPEC, settings, prober=probe.Prober(4))
    share.wait_until_it_holds_a_request()
    assert set(children()) == before
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING
                  and 'held by the kernel' in record.message]
    (group,) = warning.args
    (held,) = members(group)
    share.tell('answer')
    ended(held)
    assert set(children()) == before


@pytest.mark.parametrize('silence', ['hang', 'stale', 'die'])
def test_another_mount_of_the_export_serves_where_one_does_not(
        silence, share, mounter, tmp_path, settings, prober):
    path = write(mounter.tmpfs(EXPORT, tmp_path / 'other') / 'volume-1')
    share.die() if silence == 'die' else share.tell(silence)
    started = time.monotonic()
    assert finder.find(SPEC, settings, prober=prober).path == str(path)
    assert time.monotonic() - started < prober.timeout_s / 2


def test_a_hung_share_delays_no_other_share(share, mounter, tmp_path, settings, prober):
    healthy = mounter.tmpfs('nas2:/healthy', tmp_path / 'healthy')
    specs = [VolumeSpec(export='nas2:/healthy', name=write(healthy / f'volume-{number}').name)
             for number in range(20)]
    share.tell('hang')
    with concurrent.futures.ThreadPoolExecutor(21) as pool:
        hung = pool.submit(finder.find, SPEC, settings, prober=prober)
        share.wait_until_it_holds_a_request()
        found = list(pool.map(
            lambda spec: finder.find(spec, settings, prober=prober), specs))
        assert [file.path for file in found] == [f'{healthy}/{spec.name}' for spec in specs]
        assert not hung.done()
        share.tell('answer')
        assert hung.result().path == f'{share.place}/volume-1'


def test_a_hung_mount_is_left_out_of_the_list(share, mounter, tmp_path, settings, caplog):
    prober = probe.Prober(3)
    base = dataclasses.replace(settings, mount_point_base=(str(tmp_path),))
    path = write(mounter.tmpfs('nas2:/healthy', tmp_path / 'healthy') / 'volume-1')
    assert host.list_files(None, base, prober=prober) == [
        f'{share.place}/volume-1', str(path)]
    share.tell('hang')
    assert host.list_files(None, base, prober=prober) == [str(path)]
    assert f'{share.place} are left out: no answer' in caplog.text


def test_the_state_of_a_mount_is_told_with_the_time_it_took(
        share, mounter, tmp_path, prober, hasty_prober):
    def health_of(place, prober=prober):
        [told] = health.of_mounts([mount_table.table().covering(str(place))], prober)
        return told

    healthy = health_of(share.place)
    assert (healthy.state, healthy.mount.mount_point) == (
        health.MountState.HEALTHY, str(share.place))
    assert 0 < healthy.took_s < prober.timeout_s
    share.tell('hang')
    hung = health_of(share.place, hasty_prober)
    assert hung.state == health.MountState.HUNG
    assert hung.took_s >= hasty_prober.timeout_s
    share.tell('stale')
    assert health_of(share.place).state == health.MountState.STALE
    other = mounter.tmpfs('nas2:/vols', tmp_path / 'other')
    mounter.remount_read_only(other)
    assert health_of(other).state == health.MountState.READ_ONLY


def test_a_mount_that_could_not_be_probed_is_not_said_to_hang(share, settings, monkeypatch):
    # Idle processes would answer.
    probe.close_idle()
    monkeypatch.setattr(sys, 'executable', '/no-python')
    mount = mount_table.table().covering(str(share.place))
    [told] = health.of_mounts([mount], probe.Prober(20))
    assert told.state == health.MountState.UNKNOWN
    assert 'cannot start a share probe process' in told.note
    path = f'{share.place}/volume-1'
    file = health.of_files([path], settings, probe.Prober(20))[path]
    assert (file.file, file.mount_state, file.note) == ('unknown', 'unknown', told.note)


@pytest.fixture
def prober_with_root_helper():
    """A prober whose root helper may look where it may not itself."""
    def make(timeout_s=20):
        def execute(*command, run_as_root, root_helper):
            # As os-brick does: wait for the end of the process, and of its output.
            assert (run_as_root, root_helper) == (True, 'sudo')
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            return done.stdout, done.stderr
        return probe.Prober(timeout_s, execute, 'sudo')
    return make


def test_the_root_helper_looks_where_the_caller_may_not(share, settings, prober_with_root_helper):
    share.tell('only-once')
    for spec in both_specs(share):
        found = finder.find(spec, settings, prober=prober_with_root_helper())
        assert (found.path, found.size) == (f'{share.place}/volume-1', 1 << 20)


def test_the_root_helper_is_not_troubled_where_the_caller_may_look(share, settings):
    calls = []
    prober = probe.Prober(20, lambda *command, **options: calls.append(command), 'sudo')
    for spec in both_specs(share):
        finder.find(spec, settings, prober=prober)
    assert calls == []


def test_a_probe_that_is_denied_to_root_as_well_is_told(
        share, settings, prober, prober_with_root_helper):
    share.tell('only-once')
    with pytest.raises(exceptions.UnsafeVolumePath, match='Permission denied'):
        finder.find(SPEC, settings, prober=prober)
    share.tell('deny')
    with pytest.raises(exceptions.UnsafeVolumePath, match='Permission denied'):
        finder.find(SPEC, settings, prober=prober_with_root_helper())


def test_a_root_helper_that_fails_is_reported(share, settings):
    def execute(*command, **kwargs):
        raise OSError(errno.ENOENT, 'no sudo here')

    share.tell('deny')
    with pytest.raises(exceptions.UnsafeVolumePath, match=r'root helper failed: .*no sudo here'):
        finder.find(SPEC, settings, prober=probe.Prober(20, execute, 'sudo'))
    with pytest.raises(exceptions.UnsafeVolumePath, match=r'Permission denied\. Let root'):
        finder.find(SPEC, settings, prober=probe.Prober(20))


def test_a_root_helper_that_is_set_later_is_used(share):
    helpers = []

    def execute(*command, run_as_root, root_helper):
        helpers.append(root_helper)
        raise OSError(errno.ENOENT, 'not here')

    share.tell('deny')
    connector = pfc.FileIOConnector('sudo', execute=execute)
    connector.set_root_helper('nova-rootwrap')
    with pytest.raises(exceptions.UnsafeVolumePath, match='not here'):
        connector.get_volume_paths({'path': f'{share.place}/volume-1'})
    assert set(helpers) == {'nova-rootwrap'}


def test_a_root_helper_that_takes_long_costs_one_deadline(share, settings):
    ends, begun = threading.Event(), []

    def execute(*command, **kwargs):
        begun.append(command)
        ends.wait(60)
        return '', ''

    share.tell('deny')
    try:
        while len(begun) < root_helper._MOST:       # a busy machine may not come that far in time
            with pytest.raises(exceptions.MountNotResponding, match='did not answer'):
                finder.find(SPEC, settings, prober=probe.Prober(2, execute, 'sudo'))
        with pytest.raises(exceptions.MountNotResponding, match='do not answer already'):
            finder.find(SPEC, settings, prober=probe.Prober(60, execute, 'sudo'))
        assert len(begun) == root_helper._MOST
    finally:
        ends.set()


def test_files_of_healthy_shares_are_listed_however_many_hang(mounter, share, tmp_path, settings):
    mounter.tmpfs(EXPORT, tmp_path / 'healthy')
    (tmp_path / 'healthy' / 'volume-2').touch()
    hung = [mounter.bind(share.place, tmp_path / f'hung{number}') for number in range(60)]
    share.tell('hang')
    prober = probe.Prober(2)
    answers = prober.probe_all([probe.ListFiles(str(path))
                                for path in (*hung, tmp_path / 'healthy')])
    assert all(answer.is_hung for answer in answers[:-1])
    assert answers[-1].facts.names == ('volume-2',)


def test_a_share_that_hangs_for_the_root_helper_is_told_by_the_deadline(
        share, settings, prober_with_root_helper):
    share.tell('only-once-hang')
    prober = prober_with_root_helper(timeout_s=6)     # its process starts in that, too
    started = time.monotonic()
    with pytest.raises(exceptions.MountNotResponding):
        finder.find(SPEC, settings, prober=prober)
    assert time.monotonic() - started < prober.timeout_s + SLACK_S
    share.wait_until_it_holds_a_request()

def test_a_thousand_probes_are_asked_again_through_the_root_helper(share, prober_with_root_helper):
    """Linux takes 128 KiB in one argument of a command."""
    share.tell('only-once')
    requests = [probe.FileProbe(str(share.place), f'volume-1-{number}-{"x" * 90}')
                for number in range(1000)]
    assert all(answer.facts and answer.is_from_root_helper
               for answer in prober_with_root_helper(60).probe_all(requests))
