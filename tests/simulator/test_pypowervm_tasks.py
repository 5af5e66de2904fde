# SPDX-License-Identifier: Apache-2.0
"""pypowervm's own tasks run against the simulator as they are."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pypowervm import const
from pypowervm import exceptions
from pypowervm.tasks import partition
from pypowervm.tasks import scsi_mapper
from pypowervm.tasks import storage as storage_tasks
from pypowervm.utils import transaction
from pypowervm.wrappers import managed_system
from pypowervm.wrappers import storage
from pypowervm.wrappers import virtual_io_server as vios

from powervm_fileio_connector.simulator import NovaLinkSimulator


def add(sim, adapter, path, lpar=0, **kwargs):
    return scsi_mapper.add_vscsi_mapping(
        None, sim.vios_uuid, sim.lpars[lpar].uuid, storage.FileIO.bld(adapter, path), **kwargs)


def test_active_vioses_begin_with_the_management_partition(novalink):
    found, = partition.get_active_vioses(novalink.adapter(), find_min=1)
    assert found.uuid == novalink.vios_uuid


def test_all_partitions_are_found(novalink):
    found = partition.get_partitions(novalink.adapter(), mgmt=True)
    assert [p.id for p in found] == [1, 2, 3]


def test_validation_finds_the_vios_ready(novalink):
    partition.validate_vios_ready(novalink.adapter(), max_wait_time=0)


def test_adding_the_same_disk_again_sends_no_post(novalink, make_file):
    adapter, path = novalink.adapter(), make_file()
    add(novalink, adapter, path)
    novalink.requests.clear()
    add(novalink, adapter, path)
    assert novalink.requests.count('POST') == 0


def test_fuse_limit_opens_a_second_bus(novalink, make_file):
    adapter = novalink.adapter()
    for name in 'abc':
        add(novalink, adapter, make_file(name), fuse_limit=2)
    assert [m.slot for m in novalink.mappings()] == [2, 2, 3]


def test_mappings_built_for_one_slot_in_one_post_share_the_adapters(novalink, make_file):
    adapter = novalink.adapter()
    wrapper = vios.VIOS.get(adapter, uuid=novalink.vios_uuid, xag=[const.XAG.VIO_SMAP])
    for number, name in enumerate('ab', 1):
        wrapper.scsi_mappings.append(scsi_mapper.build_vscsi_mapping(
            None, wrapper, novalink.lpars[0].uuid, storage.FileIO.bld(adapter, make_file(name)),
            lpar_slot_num=9, lua=f'lun{number}'))
    wrapper.update()
    assert [(m.slot, m.lua) for m in novalink.mappings()] == [(9, 'lun1'), (9, 'lun2')]
    assert len({m.server_slot for m in novalink.mappings()}) == 1


def test_detached_storage_leaves_the_adapters(novalink, make_file):
    adapter = novalink.adapter()
    wrapper = add(novalink, adapter, make_file())
    scsi_mapper.detach_storage(wrapper, novalink.lpars[0].id)
    wrapper.update()
    mapping, = novalink.mappings()
    assert (mapping.kind, mapping.slot, mapping.lua) == ('none', 2, None)


def test_orphans_of_one_lpar_are_scrubbed(novalink, make_file):
    adapter = novalink.adapter()
    add(novalink, adapter, make_file('gone'), lpar=0)
    add(novalink, adapter, make_file('stays'), lpar=1)
    gone = novalink.lpars[0]
    novalink.remove_lpar(gone.uuid)
    storage_tasks.ScrubOrphanStorageForLpar(adapter, gone.id).execute()
    assert [m.path.rsplit('/', 1)[1] for m in novalink.mappings()] == ['stays']


@pytest.mark.parametrize('name', ['fake_vios_mappings.txt', 'fake_vios_ssp_npiv.txt',
                                  'fake_vios_feed.txt'])
def test_recorded_orphans_are_scrubbed_and_wild_cards_stay(name):
    with NovaLinkSimulator(recording=name) as sim:
        orphans = [m for m in sim.mappings() if m.is_orphan]
        others = [m for m in sim.mappings() if not m.is_orphan]
        assert orphans
        adapter = sim.adapter()
        task = transaction.FeedTask('scrub', vios.VIOS.getter(
            adapter, xag=[const.XAG.VIO_FMAP, const.XAG.VIO_SMAP]))
        storage_tasks.add_orphan_storage_scrub_tasks(task)
        task.execute()
        left = sim.mappings()
        assert not [m for m in left if m.is_orphan]
        assert [m for m in others if m.is_wild_card] == [m for m in left if m.is_wild_card]


def test_feed_task_tries_again_after_a_stale_etag(novalink, make_file):
    adapter = novalink.adapter()
    task = partition.build_active_vio_feed_task(adapter, xag=[const.XAG.VIO_SMAP])
    path = make_file('mine')

    def edit(wrapper):
        mapping = scsi_mapper.build_vscsi_mapping(None, wrapper, novalink.lpars[0].uuid,
                                                  storage.FileIO.bld(adapter, path))
        return scsi_mapper.add_map(wrapper, mapping)

    task.add_functor_subtask(edit)
    assert task.feed
    add(novalink, adapter, make_file('someone elses'), lpar=1)
    task.execute()
    assert 412 in [r.status for r in novalink.requests]
    assert len(novalink.mappings()) == 2


def test_feed_task_with_all_groups_posts_to_all_groups(novalink, make_file):
    adapter = novalink.adapter()
    task = partition.build_active_vio_feed_task(adapter)
    task.add_functor_subtask(lambda wrapper: wrapper.scsi_mappings.append(
        vios.VSCSIMapping.bld(adapter, None, novalink.lpars[0].uuid,
                              storage.FileIO.bld(adapter, make_file()))) or wrapper)
    task.execute()
    record, = novalink.requests.records('POST')
    assert record.query == 'group=ViosFCMapping,ViosSCSIMapping,ViosStorage'
    assert len(novalink.mappings()) == 1


def test_children_of_the_machine_are_the_partitions(novalink):
    adapter = novalink.adapter()
    system = managed_system.System.get(adapter)[0]
    found = vios.VIOS.get(adapter, parent=system)
    assert f'/ManagedSystem/{system.uuid}/VirtualIOServer/' in found[0].href
    assert found[0].refresh().uuid == novalink.vios_uuid
    assert found[0].assoc_sys_uuid == system.uuid


def test_password_logon_checks_the_password():
    with NovaLinkSimulator(password='right') as sim:
        sim.session(password='right')
        with pytest.raises(exceptions.HttpUnauth):
            sim.session(password='wrong')


def test_local_traits_are_those_of_a_novalink(novalink):
    adapter = novalink.adapter()
    traits = adapter.traits
    assert (traits.local_api, traits.vnet_aware, traits.has_high_slot) == (True, False, True)


def test_logged_off_session_is_forgotten(novalink):
    session = novalink.session()
    assert novalink.sessions.count() == 1
    session._logoff()
    assert novalink.sessions.count() == 0


def test_token_files_are_private_and_vanish():
    with NovaLinkSimulator() as sim:
        session = sim.session()
        directory = Path(sim.sessions._directory)
        file, = directory.iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.read_text() == session._sessToken
    assert not directory.exists()


def test_many_clients_at_once_each_get_their_mapping(make_file):
    paths = [make_file(f'v{i}') for i in range(32)]
    with NovaLinkSimulator(lpars=4) as sim:
        adapter = sim.adapter()
        start = threading.Barrier(32)

        def attach(i):
            start.wait()
            for _ in range(200):
                wrapper = vios.VIOS.get(adapter, uuid=sim.vios_uuid, xag=[const.XAG.VIO_SMAP])
                wrapper.scsi_mappings.append(scsi_mapper.build_vscsi_mapping(
                    None, wrapper, sim.lpars[i % 4].uuid, storage.FileIO.bld(adapter, paths[i])))
                try:
                    wrapper.update()
                except exceptions.HttpError as err:
                    if err.response.status != 412:
                        raise
                else:
                    return
            raise AssertionError(f'{paths[i]} never got through')

        with ThreadPoolExecutor(32) as pool:
            list(pool.map(attach, range(32)))
        assert sorted(m.path for m in sim.mappings()) == sorted(paths)
        sim.state.check_invariants()
