# SPDX-License-Identifier: Apache-2.0
"""A mapping whose link names an LPAR, but which has no client adapter yet, is just being made."""

import pytest

import powervm_fileio_connector as pfc
from powervm_fileio_connector import exceptions
from tests.contract.test_writer_answers import Without

# Only a link names the LPAR of a mapping without client adapter.
pytestmark = pytest.mark.parametrize('novalink', [{'links_of_files': True}], indirect=True)

CLIENTS = rb'<ClientAdapter\b.*?</ClientAdapter>'


@pytest.fixture
def path(novalink, config, make_volume):
    """A file whose mapping to the second LPAR is being made."""
    path = make_volume()
    # By a session of its own, so that the connector's has kept no document.
    pfc.FileIOConnector('sudo', adapter=novalink.adapter(), conf=config,
                        lpar_uuid=novalink.lpars[1].uuid).connect_volume({'path': path})
    novalink.faults.add(Without(times=None, pattern=CLIENTS))
    return path


def test_it_is_in_use_for_another_lpar(novalink, connector, path):
    with pytest.raises(exceptions.VolumeInUse, match='being mapped'):
        connector.connect_volume({'path': path})
    assert len(novalink.mappings()) == 1


def test_detaching_the_file_from_another_lpar_leaves_it(novalink, connector, path):
    connector.disconnect_volume({'path': path}, None)
    assert len(novalink.mappings()) == 1


def test_it_is_replaced_once_its_lpar_is_gone(novalink, connector, path):
    novalink.faults.clear()
    novalink.remove_lpar(novalink.lpars[1].uuid, leave_orphans=True)
    connector.connect_volume({'path': path})
    assert [one.lpar_uuid for one in novalink.mappings()] == [novalink.lpars[0].uuid]
