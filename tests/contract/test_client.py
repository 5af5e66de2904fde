# SPDX-License-Identifier: Apache-2.0
"""One client per session: partitions, mappings and the shared local session."""

import gc
import weakref

import pytest

from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector import novalink as novalink_package
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.simulator import Forbidden403
from tests.contract.conftest import deadline


@pytest.fixture
def settings(novalink):
    return conf.Settings(novalink_port=novalink.port, novalink_protocol='http',
                         rest_timeout_s=20.0)


@pytest.fixture
def client(novalink, settings):
    return novalink_package.client_for(settings, novalink.adapter())


def test_a_client_attaches_finds_and_detaches(client, novalink, lpar, make_volume):
    partition = client.management_partition(deadline())
    committer = client.committer(partition.uuid)
    path = make_volume()
    record = committer.submit(AddMapping(lpar, path), deadline())
    assert committer.find(lpar, [path], None, deadline()) == record
    assert [entry.record for entry in committer.read_table(deadline()).of_paths([path])] == [record]
    assert committer.submit(RemoveMapping(lpar, paths=(path,)), deadline()) == (record,)
    assert novalink.mappings() == []


def test_edits_that_are_submitted_together_have_an_outcome_each(client, novalink, lpar,
                                                                make_volume):
    committer = client.committer(novalink.vios_uuid)
    edits = [AddMapping(lpar, make_volume()), AddMapping(lpar, '/dev/shm/none'),
             RemoveMapping(lpar, paths=('/gone',))]
    record, error, removed = committer.submit_all(edits, deadline())
    assert (record.path, removed) == (edits[0].path, ())
    assert isinstance(error, exceptions.MappingFailed)


def test_clients_without_adapter_share_one_session(novalink, settings, lpar):
    for _ in range(3):
        client = novalink_package.client_for(settings)
        assert client.lpar(lpar, deadline()).uuid == lpar
    assert novalink.requests.count('PUT') == 1


def test_a_failure_that_callers_share_does_not_keep_the_session(novalink, settings):
    adapter = novalink.adapter()
    session = weakref.ref(adapter.session)
    novalink.faults.add(Forbidden403())
    with pytest.raises(exceptions.MappingFailed):
        novalink_package.client_for(settings, adapter).management_partition(deadline())
    session()._logged_in = False        # else pypowervm logs off when it is dropped
    del adapter
    gc.collect()
    assert session() is None
