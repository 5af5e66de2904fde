# SPDX-License-Identifier: Apache-2.0
"""Which files under two names of a server are one, by recorded mount tables and by their facts."""

import hashlib

import pytest

from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host import mount_table
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.host import spellings
from tests.kernel import tables

RECORDED = tables.recorded()


def test_a_server_that_hangs_takes_half_of_the_time_that_is_left(caplog):
    table = mount_table.parse(RECORDED['3-second_name_nosharecache'].encode())
    path = f'{place_of("nas1:/vols/cinder")}/v'
    asked = []

    class HangingProber:
        def probe_all(self, probes, deadline):
            asked.append(deadline.left())
            return [probe.Answer(is_hung=True) for _ in probes]

    deadline = Deadline(100)
    assert spellings.of_other_servers(
        table, table.covering(path), path, HangingProber(), deadline) == ((), ())
    assert asked[0] <= 50 < deadline.left()
    assert 'did not answer' in caplog.text


class Prober:
    """Answers the probes for handles, in their order, with facts given beforehand."""

    def __init__(self, *facts):
        self._facts = facts

    def probe_all(self, probes, deadline):
        return [probe.Answer(facts, 0.0) for _, facts in zip(probes, self._facts, strict=True)]


def place_of(export):
    return f'/mnt/base/{hashlib.md5(export.encode()).hexdigest()}'


# What Linux shows of an NFS file: a handle since version 4.1, and with version 3.
@pytest.mark.parametrize(('case', 'other_path', 'facts', 'other_facts', 'expected'), [
    ('4.1-second_name_nosharecache', f'{place_of("nas2:/vols")}/cinder/v',
     ('1:aa', 7), ('1:aa', 7), 'certain'),
    ('4.1-second_name_nosharecache', f'{place_of("nas2:/vols")}/cinder/v',
     ('1:aa', 7), ('1:bb', 7), 'none'),
    ('3-second_address', f'{place_of("nas3:/vols/cinder")}/v',
     ('1:aa', 7), ('1:aa', 7), 'lookalike'),
    ('4.0-second_name_nosharecache', f'{place_of("nas2:/vols")}/cinder/v',
     (None, 7), (None, 7), 'certain'),
    ('4.0-second_name_nosharecache', f'{place_of("nas2:/vols")}/cinder/v',
     (None, 7), (None, 8), 'none'),
    ('4.0-second_address', f'{place_of("nas3:/vols/cinder")}/v',
     (None, 7), (None, 7), 'none'),
])
def test_handle_or_inode_number_tells_one_file_under_another_name(
        case, other_path, facts, other_facts, expected):
    table = mount_table.parse(RECORDED[case].encode())
    path = f'{place_of("nas1:/vols/cinder")}/v'
    found = spellings.of_other_servers(
        table, table.covering(path), path,
        Prober(probe.HandleFacts(*facts), probe.HandleFacts(*other_facts)), Deadline(1))
    assert found == {'certain': ((other_path,), ()), 'lookalike': ((), (other_path,)),
                     'none': ((), ())}[expected]
