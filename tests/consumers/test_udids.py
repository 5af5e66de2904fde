# SPDX-License-Identifier: Apache-2.0
"""The UDIDs by which a slot map knows disks, and what an evacuation asks of each volume.

By nova-powervm's own flows, as in ``test_lives``.
"""

import itertools
import os

import pytest

pytest.importorskip('nova_powervm', reason='nova-powervm is not installed')

from nova_powervm.virt.powervm import exception as pvm_exception

import powervm_fileio_connector as pfc
from powervm_fileio_connector.simulator import InternalError500
from powervm_fileio_connector.simulator import placement


@pytest.fixture
def issues_udids_of_its_own(monkeypatch):
    """Have NovaLink issue UDIDs that no path tells, and never the same one again."""
    numbers = itertools.count(1)
    monkeypatch.setattr(
        placement, 'file_udid', lambda path: f'{next(numbers):08x}-0000-4000-8000-000000000000')


def test_a_volume_that_was_mapped_under_another_path_keeps_its_slot_in_an_evacuation(
        one, two, make_volumes, map_elsewhere, options):
    options('max_mappings_per_bus', 1)
    server = one.create(make_volumes(3))
    [volume] = make_volumes(1)
    one.detach(server, server.rows[0].volume_id)
    map_elsewhere(one, server.uuid, volume)
    one.attach(server, volume)
    assert one.disagreement(server) is None
    before = one.places(server)
    two.evacuate(server)
    assert two.places(server) == before
    assert two.disagreement(server) is None


def test_a_resize_that_maps_a_volume_under_its_own_path_again_saves_its_new_udid(
        one, two, make_volumes, map_elsewhere):
    """nova-powervm saves no slot map when a resize ends on the same host."""
    server = one.create(make_volumes(1))
    [volume] = make_volumes(1)
    map_elsewhere(one, server.uuid, volume)
    one.attach(server, volume)
    one.resize(server, one)
    assert one.disagreement(server) is None
    two.evacuate(server)
    assert two.disagreement(server) is None


def test_a_udid_that_novalink_issued_is_known_after_each_act(
        one, two, make_volumes, issues_udids_of_its_own, options):
    options('max_mappings_per_bus', 1)
    server = one.create(make_volumes(2))
    for act in (lambda: one.rebuild(server), lambda: one.resize(server, one),
                lambda: one.attach(server, make_volumes(1)[0]),
                lambda: one.detach(server, server.rows[0].volume_id)):      # a slot is free then
        act()
        assert one.disagreement(server) is None
    before = one.places(server)
    two.evacuate(server)
    assert two.places(server) == before
    assert two.disagreement(server) is None
    one.clean_up_evacuated(server)
    two.shelve(server)
    two.unshelve(server)
    assert two.disagreement(server) is None


def test_another_lpars_disk_of_the_same_file_gives_no_udid_to_ours(
        one, two, make_volumes, map_elsewhere):
    [volume] = make_volumes(1)
    volume.more = {'multiattach': True}
    other = one.create([])
    map_elsewhere(one, other.uuid, volume)
    server = one.create([volume, *make_volumes(1)])
    assert one.disagreement(server) is None
    one.detach(server, server.rows[1].volume_id)
    two.evacuate(server)
    assert two.disagreement(server) is None
    assert len(one.novalink.mappings(other.uuid)) == 1


def test_an_orphan_of_the_same_file_gives_no_udid_to_ours(one, two, make_volumes, map_elsewhere):
    [volume] = make_volumes(1)
    gone = one.create([])
    map_elsewhere(one, gone.uuid, volume)
    one.novalink.remove_lpar(gone.uuid, leave_orphans=True)
    server = one.create([volume])
    assert one.disagreement(server) is None
    two.evacuate(server)
    assert two.disagreement(server) is None


# -- what cannot be told ---------------------------------------------------------------------------


def test_an_evacuation_of_a_volume_that_is_not_there_says_that_it_is_not_found(
        one, two, make_volumes, caplog):
    server = one.create(make_volumes(2))
    [volume, _] = server.volumes.values()
    os.unlink(volume.path)
    with pytest.raises(pvm_exception.InvalidRebuild, match='was not found on any'):
        two.evacuate(server)
    assert f'{volume.path} does not exist' in caplog.text
    assert two.novalink.lpars == two.novalink.mappings() == []


def test_an_evacuation_to_where_nothing_can_be_mapped_says_that_the_volume_is_not_found(
        one, cluster, make_volumes, caplog):
    server = one.create(make_volumes(1))
    other = cluster('neo-3', mgmt_is_io_server=False)
    with pytest.raises(pvm_exception.InvalidRebuild, match='was not found on any'):
        other.evacuate(server)
    assert 'not an I/O server' in caplog.text
    assert other.novalink.lpars == []


def test_an_evacuation_that_novalink_does_not_answer_says_so(one, two, make_volumes, options):
    options('rest_timeout_s', 1.0)
    server = one.create(make_volumes(1))
    # What the adapter asks first; nova-powervm's own questions are about its managed system.
    two.novalink.faults.add(
        InternalError500(path='uom/VirtualIOServer?group=None', times=None))
    with pytest.raises(pvm_exception.InvalidRebuild) as raised:
        two.evacuate(server)
    assert isinstance(raised.value.__cause__, pfc.exceptions.NovaLinkUnavailable)
    assert str(raised.value.__cause__) in str(raised.value)
    assert two.novalink.lpars == []
    two.novalink.faults.clear()
    two.evacuate(server)
    assert two.disagreement(server) is None
