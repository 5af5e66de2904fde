# SPDX-License-Identifier: Apache-2.0
"""What NovaLink is asked about partitions, and about disks that grow."""

import os

import pytest

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.novalink import partitions
from powervm_fileio_connector.novalink import writer
from powervm_fileio_connector.simulator import Busy503
from powervm_fileio_connector.simulator import NovaLinkSimulator
from powervm_fileio_connector.simulator import Slow
from tests.contract.conftest import deadline


def test_the_management_partition_is_asked_for_once_a_session(novalink):
    adapter = novalink.adapter()
    for _ in range(3):
        partition = partitions.management_partition(adapter, deadline())
    assert (partition.uuid, partition.id) == (novalink.vios_uuid, novalink.vios_id)
    assert novalink.requests.count('GET') == 1


def test_a_management_partition_that_serves_no_disks_is_refused():
    with NovaLinkSimulator(mgmt_is_io_server=False) as novalink, \
            pytest.raises(exceptions.NovaLinkNotIOServer, match='ordinary LPAR'):
        partitions.management_partition(novalink.adapter(), deadline())


@pytest.mark.parametrize(('text', 'is_here'), [
    ('serial_number=IBM,03212E9\npartition_id={id}\n', True),
    ('lparcfg 1.9\npartition_id=77\n', False), ('lparcfg 1.9\n', True)])
def test_the_host_has_to_be_the_management_partition(novalink, tmp_path, text, is_here):
    lparcfg = tmp_path / 'lparcfg'
    lparcfg.write_text(text.format(id=novalink.vios_id))
    adapter = novalink.adapter()
    if is_here:
        assert partitions.management_partition(adapter, deadline(), str(lparcfg))
    else:
        with pytest.raises(exceptions.NotOnNovaLink, match='partition 77'):
            partitions.management_partition(adapter, deadline(), str(lparcfg))


def test_an_lpar_is_told_with_what_it_can_do(novalink):
    uuid = novalink.lpars[0].uuid
    info = partitions.lpar(novalink.adapter(), uuid, deadline())
    assert (info.uuid, info.name, info.can_change_io, info.why_not) == (uuid, 'lpar1', True, '')
    novalink.change_lpar(uuid, rmc_state='inactive')
    info = partitions.lpar(novalink.adapter(), uuid, deadline())
    assert not info.can_change_io
    assert 'RMC' in info.why_not
    assert [one.name for one in partitions.lpars(novalink.adapter(), deadline())] == [
        'lpar1', 'lpar2', 'other']


def test_an_lpar_that_is_unknown_is_not_found(novalink, lpar_uuid):
    with pytest.raises(exceptions.LPARNotFound, match=lpar_uuid):
        partitions.lpar(novalink.adapter(), lpar_uuid, deadline())


def test_reads_wait_out_a_busy_server_but_not_past_the_deadline(novalink):
    novalink.faults.add(Busy503(times=3))
    assert partitions.lpars(novalink.adapter(), deadline())
    novalink.faults.add(Busy503(times=None))
    clock = deadline(0.5)
    with pytest.raises(exceptions.NovaLinkBusy):
        partitions.lpars(novalink.adapter(), clock)
    assert clock.elapsed() < 2.5


class TestRescan:
    @pytest.fixture
    def disk(self, novalink, make_volume):
        record = writer.writer_for(novalink.adapter(), novalink.vios_uuid).submit(
            AddMapping(novalink.lpars[0].uuid, make_volume(size=1 << 30)), deadline())
        os.truncate(record.path, 3 << 30)
        return record

    @pytest.mark.parametrize('novalink', [{'job_polls': 0}, {'job_polls': 3}], indirect=True)
    def test_a_disk_is_seen_in_its_new_size(self, novalink, disk):
        clock = deadline()
        partitions.rescan(novalink.adapter(), novalink.vios_uuid, disk.udid, clock)
        [mapping] = novalink.mappings()
        assert float(mapping.capacity_gb) == 3.0
        assert clock.elapsed() < 2

    def test_a_disk_that_is_unknown_cannot_be_rescanned(self, novalink, disk):
        with pytest.raises(exceptions.ExtendFailed, match='none-such'):
            partitions.rescan(novalink.adapter(), novalink.vios_uuid, 'none-such', deadline())

    @pytest.mark.parametrize('novalink', [{'job_polls': 1000}], indirect=True)
    def test_a_job_that_does_not_end_is_given_up_by_the_deadline(self, novalink, disk):
        clock = deadline(0.5)
        with pytest.raises(exceptions.ExtendFailed, match='did not end'):
            partitions.rescan(novalink.adapter(), novalink.vios_uuid, disk.udid, clock)
        assert clock.elapsed() < 2.5

    def test_a_server_that_is_silent_is_given_up_by_the_deadline(self, novalink, disk):
        novalink.faults.add(Slow(times=None, seconds=30))
        clock = deadline(0.5)
        with pytest.raises(exceptions.ExtendFailed):
            partitions.rescan(novalink.adapter(), novalink.vios_uuid, disk.udid, clock)
        assert clock.elapsed() < 2.5
