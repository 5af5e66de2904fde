# SPDX-License-Identifier: Apache-2.0
"""The state alone: no HTTP, no XML, no files."""

from dataclasses import replace

import pytest

from powervm_fileio_connector.simulator.buses import capacity_gb
from powervm_fileio_connector.simulator.buses import file_udid
from powervm_fileio_connector.simulator.etags import SCSI
from powervm_fileio_connector.simulator.initial_state import make_state
from powervm_fileio_connector.simulator.model import FileFact
from powervm_fileio_connector.simulator.model import NewMapping
from powervm_fileio_connector.simulator.model import Partition
from powervm_fileio_connector.simulator.rules import Refused
from powervm_fileio_connector.simulator.state import State


@pytest.fixture
def state():
    return make_state(lpars=2, mappings=6)


def vios_of(state):
    return state.partitions(io_servers=True)[0]


def put(state, kept=None, **wish):
    """Keep all mappings, or those given, and add one file mapping."""
    uuid = vios_of(state).uuid
    ids = {m.id for m in state.mappings()} if kept is None else kept
    new = [NewMapping('file', **{'path': '/f', **wish})] if wish else []
    facts = {'/f': FileFact(True, True, 2**30)}
    return state.replace_mappings(uuid, state.etag(uuid, SCSI), SCSI, ids, new, facts)


def test_udid_is_the_recorded_one():
    assert file_udid('/var/lib/pvm/fileio/vios_msp_1') == 'd9b9278c-9772-3b1e-ae4e-358002eda5bd'


@pytest.mark.parametrize(('size', 'shown'), [(35 * 2**30, '35'), (1514694306, '1.410669')])
def test_capacity_is_shown_as_recorded(size, shown):
    assert capacity_gb(size) == shown


def test_seeded_state_keeps_its_invariants(state):
    state.check_invariants()


def test_each_group_has_an_etag_of_its_own(state):
    uuid = vios_of(state).uuid
    groups = ['None', SCSI, 'ViosStorage', f'ViosFCMapping,{SCSI}', None]
    assert len({state.etag(uuid, group) for group in groups}) == 5
    assert state.etag(uuid, f'{SCSI},ViosFCMapping') == state.etag(uuid, f'ViosFCMapping,{SCSI}')


def test_change_of_mappings_changes_the_etags_of_groups_with_them(state):
    uuid = vios_of(state).uuid
    before = {group: state.etag(uuid, group) for group in ('None', SCSI, 'ViosStorage', None)}
    put(state, lpar_uuid=state.partitions(False)[0].uuid)
    changed = {group for group, etag in before.items() if state.etag(uuid, group) != etag}
    assert changed == {SCSI, None}


def test_subscriber_is_told_of_each_change_in_order(state):
    told = []
    state.subscribe(told.append)
    lpar = Partition('NEW', 'new', 77)
    state.add_partition(lpar)
    put(state, lpar_uuid='NEW')
    state.remove_partition('NEW')
    assert [(c.action, c.partition.name) for c in told] == [
        ('add', 'new'), ('modify', 'novalink'), ('modify', 'novalink'), ('delete', 'new')]


def test_removed_slot_may_be_asked_for_in_the_same_change(state):
    gone = state.mappings()[0]
    bus = [m.id for m in state.mappings() if m.server_slot == gone.server_slot]
    kept = {m.id for m in state.mappings()} - set(bus)
    made, = put(state, kept, lpar_uuid=gone.lpar_uuid, slot=gone.slot)
    assert made.slot == gone.slot
    state.check_invariants()


def test_full_partition_has_no_free_slot(state):
    lpar = state.partitions(False)[0]
    state.change_partition(lpar.uuid, max_slots=3)
    with pytest.raises(Refused, match='no free virtual slot'):
        put(state, lpar_uuid=lpar.uuid)


def test_os400_and_stopped_lpars_can_change_their_io():
    lpar = Partition('A', 'a', 3, rmc_state='inactive')
    assert not lpar.can_change_io
    assert replace(lpar, type='OS400').can_change_io
    assert replace(lpar, state='not activated').can_change_io


@pytest.mark.parametrize('fields', [{'id': 3}, {'is_io_server': True}, {'uuid': 'B'}])
def test_what_mappings_go_by_is_no_field_to_change(state, fields):
    before = state.partitions()
    with pytest.raises(ValueError, match='cannot be changed'):
        state.change_partition(state.lpars[0].uuid, **fields)
    assert state.partitions() == before


def test_an_io_server_stays(state):
    before = state.snapshot()
    with pytest.raises(ValueError, match='is an I/O server'):
        state.remove_partition(state.vios.uuid)
    assert state.snapshot() == before


def test_removed_lpar_takes_its_mappings_if_told_to(state):
    lpar = state.partitions(False)[0]
    state.remove_partition(lpar.uuid, leave_orphans=False)
    assert {m.lpar_id for m in state.mappings()} == {state.partitions(False)[0].id}
    state.check_invariants()


def test_reused_id_is_refused(state):
    with pytest.raises(ValueError, match='exists'):
        state.add_partition(Partition('B', 'b', state.partitions()[1].id))


def test_broken_state_is_noticed(state):
    snapshot = state.snapshot()
    first = snapshot['mappings'][0]
    broken = [
        {**first, 'id': 90},
        {**first, 'id': 91, 'server_slot': 90, 'lua': 'lun9'},
        {**first, 'id': 92, 'server_slot': 91, 'slot': 91, 'udid': 'wrong'}]
    for mapping in broken:
        with pytest.raises(AssertionError, match=r'twice|wrong UDID'):
            State.from_snapshot(
                {**snapshot, 'mappings': [*snapshot['mappings'], mapping]}).check_invariants()


def test_buses_that_are_not_those_of_the_mappings_are_noticed(state):
    state._buses[vios_of(state).uuid].clear()
    with pytest.raises(AssertionError, match='not those of its mappings'):
        state.check_invariants()


def test_rescan_of_a_file_that_is_gone_is_refused(state):
    udid = next(m.udid for m in state.mappings() if m.kind == 'file')
    with pytest.raises(Refused, match='does not exist'):
        state.rescan(vios_of(state).uuid, udid, lambda path: None)
    with state.rules.without('file_exists'):
        state.rescan(vios_of(state).uuid, udid, lambda path: None)


def test_snapshot_gives_back_the_state(state):
    again = State.from_snapshot(state.snapshot())
    assert again.mappings() == state.mappings()
    assert again.partitions() == state.partitions()
    uuid = vios_of(state).uuid
    assert again.etag(uuid, SCSI) != state.etag(uuid, SCSI)
