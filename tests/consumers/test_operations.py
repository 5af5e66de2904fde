# SPDX-License-Identifier: Apache-2.0
"""What is remembered during one operation of Nova."""

import gc
import weakref

import pytest

pytest.importorskip('nova_powervm', reason='nova-powervm is not installed')

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.nova import operations
from powervm_fileio_connector.volume import VolumeSpec


class SlotManager:
    """Has no slots: an operation is known by its slot manager alone."""


def look_for(name, slot_mgr):
    spec = VolumeSpec(path=f'/mnt/vols/{name}')
    with operations.noting_silence(spec, slot_mgr, is_asked_once=True):
        raise exceptions.MountNotResponding(reason='/mnt/vols did not answer', path=spec.path)


def test_a_share_that_did_not_answer_is_told_of_each_volume_by_itself():
    slot_mgr, told = SlotManager(), []
    for name in ('one', 'two'):
        with pytest.raises(exceptions.MountNotResponding, match='did not answer') as failed:
            look_for(name, slot_mgr)
        told.append(str(failed.value.add_context(doing=f'attach {name}')).partition(':')[0])
    assert told == ['Cannot attach one', 'Cannot attach two']


def test_a_share_that_did_not_answer_does_not_keep_the_slot_manager():
    slot_mgr = SlotManager()
    kept = weakref.ref(slot_mgr)
    with pytest.raises(exceptions.MountNotResponding):
        look_for('one', slot_mgr)
    del slot_mgr
    gc.collect()
    assert kept() is None
