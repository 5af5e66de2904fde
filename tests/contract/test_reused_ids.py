# SPDX-License-Identifier: Apache-2.0
"""Ids of LPARs are reused: an LPAR comes back under its UUID with a new one, while another has its.

Mappings of files name their LPAR by its id alone, as in recordings.
"""

import pytest

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.simulator import NovaLinkSimulator


@pytest.fixture
def novalink():
    with NovaLinkSimulator(lpars=2, links_of_files=False) as simulator:
        yield simulator


def properties(path, lpar):
    return {'device_path': path, 'name': 'volume-1', 'lpar_uuid': lpar}


def test_the_mapping_of_another_lpar_with_the_old_id_is_not_taken(novalink, connector, make_volume):
    lpar = novalink.lpars[0].uuid
    old_id, path = novalink.lpars[0].id, make_volume('volume-1')
    connector.connect_volume(properties(path, lpar))
    novalink.recreate_lpar(lpar, successor='tenant')
    tenant = next(partition for partition in novalink.lpars if partition.name == 'tenant')
    assert tenant.id == old_id
    tenants = connector.connect_volume(properties(make_volume('volume-2'), tenant.uuid))

    with pytest.raises(exceptions.VolumeInUse):
        connector.connect_volume(properties(tenants['path'], lpar))
    connector.disconnect_volume(properties(tenants['path'], lpar), None)
    assert [one.path for one in novalink.mappings(tenant.uuid)] == [tenants['path']]

    info = connector.connect_volume(properties(path, lpar))
    connector.disconnect_volume(properties(path, lpar), info)
    assert novalink.mappings(lpar) == []
    assert len(novalink.mappings()) == 1


def test_disks_of_one_lpar_share_its_adapters(novalink, connector, make_volume):
    lpar = novalink.lpars[0].uuid
    infos = [connector.connect_volume(properties(make_volume(f'volume-{i}'), lpar))
             for i in range(3)]
    assert len({info['slot'] for info in infos}) == 1
