# SPDX-License-Identifier: Apache-2.0
"""Answers that are not what was asked for, or not NovaLink's, never say that something is gone."""

import dataclasses
import re

import pytest

from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.novalink import retry
from powervm_fileio_connector.simulator import Busy500
from powervm_fileio_connector.simulator import Busy503
from powervm_fileio_connector.simulator import DropAfterApply
from powervm_fileio_connector.simulator import Fault
from powervm_fileio_connector.simulator import InternalError500
from tests.contract.conftest import client_of
from tests.contract.conftest import deadline
from tests.contract.conftest import make_connector
from tests.contract.test_writer_answers import SECTION


@dataclasses.dataclass(frozen=True)
class Rewrite(Fault):
    """Writes something else where an answer fits an expression."""

    pattern: bytes = rb'.*'
    by: bytes = b''

    def concerns(self, request):
        return super().concerns(request) and bool(re.search(self.path or '', request.target))

    def on_answer(self, exchange, answer):
        return dataclasses.replace(answer, body=re.sub(
            self.pattern, self.by, answer.body, count=1, flags=re.S))


@dataclasses.dataclass(frozen=True)
class Status(Fault):
    """Answers with another status, and with nothing else."""

    status: int = 204

    def on_answer(self, exchange, answer):
        return dataclasses.replace(answer, status=self.status, body=b'')


@dataclasses.dataclass(frozen=True)
class Bare404(Fault):
    """Answers like a web server in which NovaLink is not there."""

    def on_request(self, exchange):
        return dataclasses.replace(exchange.error(404, 'Not Found', ''), body=b'<html/>')


CONTENT = rb'(<content\b[^>]*>).*(</content>)'
NO_SUCH_THING = rb'\1<foo:Foo xmlns:foo="http://example.org/foo"/>\2'


@pytest.fixture
def path(connector, make_volume):
    """A file that is attached."""
    path = make_volume()
    connector.connect_volume({'path': path})
    return path


@pytest.fixture
def hasty(path, novalink, config):
    """A connector that has logged on by itself, so has kept nothing, and waits a second."""
    config.set_override('rest_timeout_s', 1.0, group=conf.GROUP)
    return make_connector(novalink, config)


@pytest.mark.parametrize('element', ['VirtualIOServer/', 'LogicalPartition/'])
def test_an_answer_about_something_else_is_no_sign_that_a_volume_is_gone(
        novalink, hasty, path, element):
    novalink.faults.add(Rewrite(method='GET', times=None, path=element, pattern=CONTENT,
                                by=NO_SUCH_THING))
    with pytest.raises(exceptions.NovaLinkUnavailable, match='Foo'):
        hasty.disconnect_volume({'path': path}, None)
    assert len(novalink.mappings()) == 1


def test_an_lpar_without_id_is_no_lpar_that_is_gone(novalink, hasty, path):
    novalink.faults.add(Rewrite(method='GET', times=None, path='LogicalPartition/',
                                pattern=rb'<PartitionID [^>]*>\d+</PartitionID>'))
    for call in (lambda: hasty.disconnect_volume({'path': path}, None),
                 lambda: hasty.connect_volume({'path': path})):
        with pytest.raises(exceptions.NovaLinkUnavailable, match='the id of LPAR'):
            call()
    assert len(novalink.mappings()) == 1


@pytest.mark.parametrize('status', [102, 103])
def test_a_change_whose_answer_is_yet_to_come_is_no_refused_one(novalink, connector, make_volume,
                                                                status):
    novalink.faults.add(Status(method='POST', status=status))
    path = make_volume()
    assert connector.connect_volume({'path': path})['path'] == path
    assert novalink.requests.count('POST') == 1


@pytest.mark.parametrize('element', ['VirtualIOServer', 'LogicalPartition'])
def test_a_partition_without_uuid_is_no_answer(novalink, element):
    novalink.faults.add(Rewrite(method='GET', path=element, by=rb'\1',
                                pattern=rb'(<entry\b.*?)<id>.*?</id>'))
    client = client_of(novalink.adapter())
    with pytest.raises(exceptions.NovaLinkUnavailable, match='the UUID of partition'):
        (client.lpars if element == 'LogicalPartition' else client.management_partition)(deadline())


@pytest.mark.parametrize('element', ['VirtualIOServer', 'LogicalPartition'])
def test_a_404_that_is_not_novalinks_is_no_sign_that_anything_is_gone(novalink, hasty, path,
                                                                      element):
    novalink.faults.add(Bare404(times=None, path=element))
    for call in (lambda: hasty.disconnect_volume({'path': path}, None),
                 lambda: hasty.connect_volume({'path': path})):
        with pytest.raises(exceptions.NovaLinkUnavailable, match='404'):
            call()
    assert len(novalink.mappings()) == 1


def test_an_lpar_of_which_the_server_says_no_more_than_404_is_gone_if_it_is_not_listed(
        novalink, lpar, monkeypatch):
    for spelling in (lpar, lpar.lower()):
        novalink.faults.add(Bare404(times=None, path=f'LogicalPartition/{spelling}'))
    client = client_of(novalink.adapter())
    with monkeypatch.context() as patch:
        patch.setattr(retry, 'PATIENCE_S', 0.0)
        with pytest.raises(exceptions.NovaLinkUnavailable):
            client.lpar(lpar, deadline())
    novalink.remove_lpar(lpar)
    before = novalink.requests.count('GET')
    with pytest.raises(exceptions.LPARNotFound):
        client.lpar(lpar, deadline())
    assert novalink.requests.count('GET') - before == 3     # by two spellings, and the list


def test_the_mappings_of_others_stay_where_an_answer_leaves_all_out(novalink, hasty, make_volume):
    before = novalink.mappings()
    novalink.faults.add(Rewrite(method='GET', times=None, path='group=ViosSCSIMapping',
                                pattern=SECTION))
    with pytest.raises(exceptions.NovaLinkUnavailable, match='lacks the SCSI mappings'):
        hasty.connect_volume({'path': make_volume('other')})
    assert novalink.mappings() == before
    assert novalink.requests.count('POST') == 1


@pytest.mark.parametrize('novalink', [{'foreign': False}], indirect=True)
def test_a_vios_that_shows_no_mappings_anywhere_has_none(novalink, connector, make_volume):
    novalink.faults.add(Rewrite(method='GET', times=None, path='VirtualIOServer/',
                                pattern=SECTION))
    connector.connect_volume({'path': make_volume()})
    assert len(novalink.mappings()) == 1


class TestRescan:
    """The rescan of an extended disk, which is a job."""

    @pytest.fixture
    def volume(self, path):
        return {'path': path}

    @pytest.mark.parametrize('fault', [
        Status(times=None, path='/do/'),
        Status(times=None, path='/do/', method='PUT', status=202),
        Rewrite(times=None, path='/do/', method='GET', pattern=CONTENT),
        Rewrite(times=None, path='/do/', method='GET', pattern=CONTENT, by=NO_SUCH_THING),
        Rewrite(times=None, path='/do/', method='PUT', pattern=CONTENT),
    ], ids=['no template', 'accepted only', 'empty template', 'other template', 'empty job'])
    def test_what_is_no_job_is_no_answer(self, novalink, hasty, volume, fault):
        novalink.faults.add(fault)
        with pytest.raises(exceptions.NovaLinkUnavailable) as caught:
            hasty.extend_volume(volume)
        assert isinstance(caught.value, exceptions.Retryable)

    def test_a_job_that_is_shown_by_nothing_is_no_answer(self, novalink, hasty, volume):
        novalink.faults.add(Status(times=None, path='/jobs/', method='GET'),
                            Rewrite(path='/do/', method='PUT', pattern=rb'COMPLETED_OK',
                                    by=b'RUNNING'))
        with pytest.raises(exceptions.NovaLinkUnavailable):
            hasty.extend_volume(volume)

    @pytest.mark.parametrize('fault', [Busy503, Busy500, DropAfterApply])
    def test_it_is_asked_for_again_while_the_server_is_busy_or_away(self, novalink, connector,
                                                                    volume, fault):
        novalink.faults.add(fault(method='PUT', path='/do/'))
        assert connector.extend_volume(volume) == 1 << 20

    @pytest.mark.parametrize('method', ['GET', 'PUT'])
    def test_a_server_that_stays_busy_is_no_failed_job(self, novalink, hasty, volume, method):
        novalink.faults.add(Busy503(method=method, path='/do/', times=None))
        with pytest.raises(exceptions.NovaLinkBusy):
            hasty.extend_volume(volume)

    def test_a_server_that_fails_over_it_has_not_rescanned(self, novalink, hasty, volume):
        novalink.faults.add(InternalError500(method='PUT', path='/do/', times=None))
        with pytest.raises(exceptions.ExtendFailed, match='did not rescan'):
            hasty.extend_volume(volume)
