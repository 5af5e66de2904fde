# SPDX-License-Identifier: Apache-2.0
"""Single requests: quick properties, searches, jobs, the administration, malformed bodies."""

import http.client
import json

import pytest
from lxml import etree
from pypowervm import exceptions
from pypowervm.wrappers import logical_partition

from powervm_fileio_connector.simulator import NovaLinkSimulator


def ask(sim, method, path, body=None, token=None):
    """A request as it is, without pypowervm."""
    connection = http.client.HTTPConnection(sim.host, sim.port, timeout=10)
    try:
        headers = {'X-API-Session': token} if token else {}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.fixture
def token(novalink):
    session = novalink.session()
    novalink.kept = session
    return session._sessToken


def message(body):
    return etree.fromstring(body).findtext('.//{*}Message')


def test_all_quick_properties_are_one_object(novalink, token):
    lpar = novalink.lpars[0]
    for suffix in ('quick', 'quick/All'):
        status, body = ask(novalink, 'GET', f'/rest/api/uom/LogicalPartition/{lpar.uuid}/{suffix}',
                           token=token)
        assert status == 200
        assert json.loads(body)['PartitionState'] == 'running'


def test_quick_feed_has_all_partitions(novalink, token):
    _, body = ask(novalink, 'GET', '/rest/api/uom/LogicalPartition/quick/All', token=token)
    assert [p['PartitionName'] for p in json.loads(body)] == ['lpar1', 'lpar2']


def test_quick_property_of_the_machine(novalink, token):
    path = f'/rest/api/uom/ManagedSystem/{novalink.system_uuid}/quick/SystemName'
    assert json.loads(ask(novalink, 'GET', path, token=token)[1]) == 'simulated'


def test_unknown_quick_property_names_the_known_ones(novalink, token):
    status, body = ask(novalink, 'GET', f'/rest/api/uom/LogicalPartition/{novalink.lpars[0].uuid}'
                       '/quick/ShoeSize', token=token)
    assert (status, 'PartitionState' in message(body)) == (404, True)


@pytest.mark.parametrize(('wanted', 'found'), [
    ("(IsManagementPartition=='true')", []), ("(PartitionName!='lpar1')", ['lpar2']),
    ("(PartitionState=='running')", ['lpar1', 'lpar2'])])
def test_search_by_property(novalink, wanted, found):
    adapter = novalink.adapter()
    answer = adapter.read('LogicalPartition', suffix_type='search', suffix_parm=wanted)
    assert [p.name for p in logical_partition.LPAR.wrap(answer)] == found


@pytest.mark.parametrize('wanted', ['gibberish', "(ShoeSize=='44')"])
def test_search_that_is_not_understood_says_what_is_expected(novalink, wanted):
    with pytest.raises(exceptions.HttpError, match='expected'):
        novalink.adapter().read('LogicalPartition', suffix_type='search', suffix_parm=wanted)


@pytest.mark.parametrize(('method', 'path'), [
    ('PUT', '/rest/api/web/Logon'), ('POST', '/rest/api/uom/VirtualIOServer/{vios}'),
    ('PUT', '/rest/api/uom/VirtualIOServer/{vios}/do/RescanVirtualDisk'),
    ('PUT', '/rest/api/uom/Event')])
def test_malformed_body_is_refused(novalink, token, method, path):
    with novalink.state.rules.without('etag_given'):
        status, body = ask(novalink, method, path.format(vios=novalink.vios_uuid), b'<open>',
                           token)
    assert (status, 'not well-formed' in message(body)) == (400, True)


@pytest.mark.parametrize(('method', 'path'), [
    ('PUT', '/rest/api/web/Logon'),
    ('PUT', '/rest/api/uom/VirtualIOServer/{vios}/do/RescanVirtualDisk')])
def test_other_document_is_refused(novalink, token, method, path):
    status, body = ask(novalink, method, path.format(vios=novalink.vios_uuid), b'<other/>', token)
    assert (status, 'Expected a' in message(body)) == (400, True)


@pytest.mark.parametrize(('method', 'path', 'status'), [
    ('GET', 'web/Logon', 404), ('DELETE', 'uom/Event', 404), ('GET', 'uom/Event', 400),
    ('DELETE', 'uom/VirtualIOServer/{vios}/do/RescanVirtualDisk', 404),
    ('GET', 'uom/VirtualIOServer/{lpar}', 404), ('GET', 'uom/LogicalPartition/{vios}', 404),
    ('GET', 'uom/VirtualIOServer/{vios}/Something', 404),
    ('DELETE', 'uom/VirtualIOServer/{vios}', 404), ('DELETE', 'uom/ManagedSystem', 404),
    ('GET', 'uom/ManagedSystem/{vios}', 404), ('GET', 'uom/ManagedSystem/{system}/Thing', 404)])
def test_request_that_is_not_known_is_refused(novalink, token, method, path, status):
    path = path.format(vios=novalink.vios_uuid, lpar=novalink.lpars[0].uuid,
                       system=novalink.system_uuid)
    assert ask(novalink, method, f'/rest/api/{path}', token=token)[0] == status


def test_machine_is_read_by_its_uuid_in_any_case(novalink, token):
    path = f'/rest/api/uom/ManagedSystem/{novalink.system_uuid.upper()}'
    status, body = ask(novalink, 'GET', path, token=token)
    assert (status, etree.fromstring(body).tag) == (200, '{http://www.w3.org/2005/Atom}entry')


def test_feed_is_answered_by_304_while_nothing_changes(novalink):
    adapter = novalink.adapter()
    first = adapter.read('LogicalPartition')
    path = '/rest/api/uom/LogicalPartition?group=None'
    assert adapter.read_by_path(path, etag=first.etag).status == 304
    novalink.change_lpar(novalink.lpars[0].uuid, state='not activated')
    assert adapter.read_by_path(path, etag=first.etag).status == 200


def test_partition_is_found_by_its_uuid_in_any_case(novalink):
    lpar = novalink.lpars[0]
    found = logical_partition.LPAR.get(novalink.adapter(), uuid=lpar.uuid.lower())
    assert found.uuid == lpar.uuid


def job(sim, token, polls):
    sim.jobs.polls = polls
    body = (b'<JobRequest xmlns="http://www.ibm.com/xmlns/systems/power/firmware/web/mc/2012_10/">'
            b'<RequestedOperation><OperationName>RescanVirtualDisk</OperationName>'
            b'</RequestedOperation></JobRequest>')
    _, body = ask(sim, 'PUT', f'/rest/api/uom/VirtualIOServer/{sim.vios_uuid}/do/'
                  'RescanVirtualDisk', body, token)
    return etree.fromstring(body).findtext('.//{*}JobID')


def status_of(sim, token, name):
    return etree.fromstring(ask(sim, 'GET', f'/rest/api/uom/jobs/{name}', token=token)[1]).findtext(
        './/{*}Status')


def test_job_is_running_before_it_is_over_and_cannot_be_deleted_then(novalink, token):
    name = job(novalink, token, 2)
    assert status_of(novalink, token, name) == 'RUNNING'
    assert ask(novalink, 'DELETE', f'/rest/api/uom/jobs/{name}', token=token)[0] == 400
    assert status_of(novalink, token, name) == 'COMPLETED_WITH_ERROR'
    assert ask(novalink, 'DELETE', f'/rest/api/uom/jobs/{name}', token=token)[0] == 204
    assert ask(novalink, 'GET', f'/rest/api/uom/jobs/{name}', token=token)[0] == 404


def test_job_is_cancelled(novalink, token):
    name = job(novalink, token, 5)
    assert ask(novalink, 'PUT', f'/rest/api/uom/jobs/{name}', token=token)[0] == 404
    assert ask(novalink, 'POST', f'/rest/api/uom/jobs/{name}/cancel', token=token)[0] == 204
    assert status_of(novalink, token, name) == 'COMPLETED_WITH_ERROR'


def test_job_that_is_over_stays_as_it_is_when_it_is_cancelled(novalink, token):
    name = job(novalink, token, 0)
    results = [_results(novalink, token, name)]
    assert ask(novalink, 'POST', f'/rest/api/uom/jobs/{name}/cancel', token=token)[0] == 204
    results.append(_results(novalink, token, name))
    assert 'RETURN_CODE' in results[0]
    assert results[0] == results[1]


def _results(sim, token, name):
    root = etree.fromstring(ask(sim, 'GET', f'/rest/api/uom/jobs/{name}', token=token)[1])
    return ''.join(root.find('.//{*}Results').itertext())


def administer(sim, method, what, data=None):
    status, body = ask(sim, method, f'/simulator/{what}', json.dumps(data) if data else None)
    return status, json.loads(body)


def test_administration_inspects_and_changes(novalink, token):
    assert administer(novalink, 'GET', 'info')[1]['vios_uuid'] == novalink.vios_uuid
    assert len(administer(novalink, 'GET', 'state')[1]['partitions']) == 3
    assert administer(novalink, 'GET', 'violations') == (200, [])
    _, logged = administer(novalink, 'GET', 'requests')
    assert [request['path'] for request in logged] == ['/rest/api/web/Logon']
    assert administer(novalink, 'DELETE', 'requests')[0] == 200
    assert administer(novalink, 'POST', 'faults', {'fault': 'Busy503'})[0] == 200
    assert administer(novalink, 'GET', 'faults')[1][0]['fault'] == 'Busy503'
    assert administer(novalink, 'DELETE', 'faults')[0] == 200
    _, lpar = administer(novalink, 'POST', 'lpars', {'name': 'new', 'id': 50})
    administer(novalink, 'PATCH', f'lpars/{lpar["uuid"]}', {'state': 'not activated'})
    assert novalink.lpars[-1].state == 'not activated'
    administer(novalink, 'DELETE', f'lpars/{lpar["uuid"]}?leave_orphans=false')
    assert len(novalink.lpars) == 2
    assert administer(novalink, 'POST', 'restart', {'now': True})[0] == 200
    assert novalink.sessions.count() == 0
    assert len(novalink.requests) == 0


@pytest.mark.parametrize(('method', 'what', 'data', 'status'), [
    ('GET', 'weather', None, 404), ('POST', 'faults', {'fault': 'Earthquake'}, 400),
    ('POST', 'lpars', {'shoe_size': 44}, 400), ('POST', 'lpars', {'id': 1}, 400),
    ('POST', 'lpars', {'id': 'x'}, 400), ('POST', 'lpars', {'name': {'a': 1}}, 400),
    ('POST', 'lpars', {'name': 'a\0b'}, 400), ('POST', 'lpars', {'uuid': 'zz/../'}, 400),
    ('POST', 'faults', {'fault': 'Slow', 'seconds': 'x'}, 400),
    ('POST', 'faults', {'fault': 'Busy503', 'times': []}, 400),
    ('PATCH', 'lpars/{uuid}', {'state': 5}, 400)])
def test_wrong_request_to_the_administration_says_why(novalink, method, what, data, status):
    before = novalink.lpars
    got, body = administer(novalink, method, what.format(uuid=before[0].uuid), data)
    assert (got, bool(body['error'])) == (status, True)
    assert novalink.lpars == before
    assert novalink.faults.pending() == []


def test_connection_is_kept_for_the_next_request(novalink, token):
    connection = http.client.HTTPConnection(novalink.host, novalink.port, timeout=10)
    for _ in range(2):
        connection.request('GET', '/rest/api/uom/ManagedSystem', headers={'X-API-Session': token})
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
        used = connection.sock
    assert connection.sock is used
    connection.close()


def test_given_port_is_used_and_freed():
    with NovaLinkSimulator() as sim:
        port = sim.port
    with NovaLinkSimulator(port=port) as sim:
        assert sim.port == port


def test_simulator_that_does_not_run_has_no_port():
    with pytest.raises(RuntimeError, match='not running'):
        _ = NovaLinkSimulator().port


def test_stop_may_be_called_again_and_ends_the_wait():
    sim = NovaLinkSimulator(latency=0.001).start()
    assert not sim.wait(0)
    sim.restart()
    sim.stop()
    sim.stop()
    assert sim.wait(0)


def test_mappings_without_lpars_make_no_sense():
    with pytest.raises(ValueError, match='at least one LPAR'):
        NovaLinkSimulator(lpars=0, mappings=1)
