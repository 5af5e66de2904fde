# SPDX-License-Identifier: Apache-2.0
"""What NovaLink is asked about partitions, and about disks that grow."""

import os
import time

import pytest

from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.novalink import jobs
from powervm_fileio_connector.simulator import Busy503
from powervm_fileio_connector.simulator import NovaLinkSimulator
from powervm_fileio_connector.simulator import Slow
from tests.contract.conftest import client_of
from tests.contract.conftest import committer_for
from tests.contract.conftest import deadline


def test_the_management_partition_is_asked_for_once_a_session(novalink):
    adapter = novalink.adapter()
    for _ in range(3):
        partition = client_of(adapter).management_partition(deadline())
    assert (partition.uuid, partition.id) == (novalink.vios_uuid, novalink.vios_id)
    assert novalink.requests.count('GET') == 1


def test_a_management_partition_that_serves_no_disks_is_refused():
    with NovaLinkSimulator(mgmt_is_io_server=False) as novalink, \
            pytest.raises(exceptions.NovaLinkNotIOServer, match='ordinary LPAR'):
        client_of(novalink.adapter()).management_partition(deadline())


@pytest.mark.parametrize(('text', 'is_here'), [
    ('serial_number=IBM,03212E9\npartition_id={id}\n', True),
    ('lparcfg 1.9\npartition_id=77\n', False), ('lparcfg 1.9\n', True)])
def test_the_host_has_to_be_the_management_partition(novalink, tmp_path, monkeypatch, text,
                                                     is_here):
    lparcfg = tmp_path / 'lparcfg'
    lparcfg.write_text(text.format(id=novalink.vios_id))
    monkeypatch.setattr(conf, 'LPARCFG', str(lparcfg))
    client = client_of(novalink.adapter())
    if is_here:
        assert client.management_partition(deadline())
    else:
        with pytest.raises(exceptions.NotOnNovaLink, match='partition 77'):
            client.management_partition(deadline())


def test_an_lpar_is_told_with_what_it_can_do(novalink):
    uuid = novalink.lpars[0].uuid
    info = client_of(novalink.adapter()).lpar(uuid, deadline())
    assert (info.uuid, info.name, info.can_change_io, info.why_not) == (uuid, 'lpar1', True, '')
    novalink.change_lpar(uuid, rmc_state='inactive')
    info = client_of(novalink.adapter()).lpar(uuid, deadline())
    assert not info.can_change_io
    assert 'RMC' in info.why_not
    assert [one.name for one in client_of(novalink.adapter()).lpars(deadline())] == [
        'lpar1', 'lpar2', 'other']


def test_an_lpar_that_is_unknown_is_not_found(novalink, lpar_uuid):
    with pytest.raises(exceptions.LPARNotFound, match=lpar_uuid):
        client_of(novalink.adapter()).lpar(lpar_uuid, deadline())


def test_reads_wait_out_a_busy_server_but_not_past_the_deadline(novalink):
    novalink.faults.add(Busy503(times=3))
    assert client_of(novalink.adapter()).lpars(deadline())
    novalink.faults.add(Busy503(times=None))
    clock, started = deadline(0.5), time.monotonic()
    with pytest.raises(exceptions.NovaLinkBusy):
        client_of(novalink.adapter()).lpars(clock)
    assert time.monotonic() - started < 2.5


class TestRescan:
    @pytest.fixture
    def disk(self, novalink, make_volume):
        record = committer_for(novalink.adapter(), novalink.vios_uuid).submit(
            AddMapping(novalink.lpars[0].uuid, make_volume(size=1 << 30)), deadline())
        os.truncate(record.path, 3 << 30)
        return record

    @pytest.mark.parametrize('novalink', [{'job_polls': 0}, {'job_polls': 3}], indirect=True)
    def test_a_disk_is_seen_in_its_new_size(self, novalink, disk):
        clock, started = deadline(), time.monotonic()
        client_of(novalink.adapter()).rescan(novalink.vios_uuid, disk.udid, clock)
        [mapping] = novalink.mappings()
        assert float(mapping.capacity_gb) == 3.0
        assert time.monotonic() - started < 2

    def test_a_disk_that_is_unknown_cannot_be_rescanned(self, novalink, disk):
        with pytest.raises(exceptions.ExtendFailed, match='none-such'):
            client_of(novalink.adapter()).rescan(novalink.vios_uuid, 'none-such', deadline())

    @pytest.mark.parametrize('novalink', [{'job_polls': 1000}], indirect=True)
    def test_a_job_that_does_not_end_is_given_up_by_the_deadline(self, novalink, disk):
        clock, started = deadline(0.5), time.monotonic()
        with pytest.raises(exceptions.ExtendFailed, match='did not end'):
            client_of(novalink.adapter()).rescan(novalink.vios_uuid, disk.udid, clock)
        assert time.monotonic() - started < 2.5

    def test_a_job_that_ended_is_not_waited_for_until_it_is_deleted(self, novalink, disk,
                                                                    monkeypatch):
        monkeypatch.setattr(jobs, '_DELETE_S', 0.2)
        novalink.faults.add(Slow(times=None, seconds=60, method='DELETE'))
        clock = deadline()
        client_of(novalink.adapter()).rescan(novalink.vios_uuid, disk.udid, clock)
        assert clock.left() > 10

    def test_a_server_that_is_silent_is_given_up_by_the_deadline(self, novalink, disk):
        novalink.faults.add(Slow(times=None, seconds=30))
        clock, started = deadline(0.5), time.monotonic()
        with pytest.raises(exceptions.NovaLinkUnavailable):
            client_of(novalink.adapter()).rescan(novalink.vios_uuid, disk.udid, clock)
        assert time.monotonic() - started < 2.5
