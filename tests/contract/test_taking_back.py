# SPDX-License-Identifier: Apache-2.0
"""A mapping that NovaLink made otherwise than asked is not left behind."""

import dataclasses
import re

import pytest

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.simulator import Fault


@dataclasses.dataclass(frozen=True)
class OtherLUA(Fault):
    """A server that gives each disk the LUA it likes, whatever was asked for."""

    def on_answer(self, exchange, answer):
        return dataclasses.replace(answer, body=re.sub(rb'>lun7<', b'>lun1<', answer.body))


@dataclasses.dataclass(frozen=True)
class NoRemoval(Fault):
    """A server that refuses whatever asks for no LUA."""

    def on_request(self, exchange):
        if b'lun7' in exchange.request.body:
            return None
        return exchange.error(400, 'Invalid input.', 'Not now.')


@dataclasses.dataclass(frozen=True)
class OtherBackstore(Fault):
    """A server that serves each file as it likes, whatever was asked for."""

    shown: bytes = b'fileio'

    def on_answer(self, exchange, answer):
        return dataclasses.replace(answer, body=answer.body.replace(
            b'>loop</BackStoreType>', b'>%s</BackStoreType>' % self.shown))


@pytest.fixture
def wilful(novalink):
    novalink.faults.add(OtherLUA(times=None))
    return novalink


def test_it_is_taken_back_and_the_first_error_shown(wilful, connector, make_volume):
    with pytest.raises(exceptions.SlotOrLUAConflict, match='lun7'):
        connector.connect_volume({'path': make_volume(), 'lua': 'lun7'})
    assert wilful.mappings() == []


def test_what_cannot_be_taken_back_is_said_to_remain(wilful, connector, make_volume):
    wilful.faults.add(NoRemoval(method='POST', times=None))
    with pytest.raises(exceptions.SlotOrLUAConflict, match=r'lun7.* remains mapped.*Not now'):
        connector.connect_volume({'path': make_volume(), 'lua': 'lun7'})
    assert len(wilful.mappings()) == 1


@pytest.mark.parametrize(('shown', 'volume'), [
    (b'fileio', {'backstore': 'loop'}), (b'user:qcow', {}), (b'user:qcow', {'backstore': 'loop'})])
def test_a_file_that_is_served_otherwise_than_asked_is_not_left_mapped(novalink, connector,
                                                                       make_volume, shown, volume):
    novalink.faults.add(OtherBackstore(times=None, shown=shown))
    with pytest.raises(exceptions.MappingFailed, match='loop was asked for'):
        connector.connect_volume(volume | {'path': make_volume()})
    assert novalink.mappings() == []
