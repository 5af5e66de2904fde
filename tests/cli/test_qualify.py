# SPDX-License-Identifier: Apache-2.0
"""qualify: each statement holds of the simulator, differs where a rule does; nothing is left."""

import json
import os
import queue
import random
import signal
import tempfile
import urllib.request

import pytest
from lxml import etree

from powervm_fileio_connector.cli.qualification import ALL_LINES
from powervm_fileio_connector.simulator import Fault
from powervm_fileio_connector.simulator import NovaLinkSimulator
from powervm_fileio_connector.simulator.http_messages import Answer
from powervm_fileio_connector.simulator.http_messages import Dropped
from powervm_fileio_connector.simulator.state import State
from tests.simulator.assumptions import assumptions

NOT_TRIED = {'other_target_names', 'only_mappings_change', 'rescan_failures'}


@pytest.fixture
def host():
    with NovaLinkSimulator(lpars=2, mappings=6, links_of_files=False) as novalink:
        yield novalink


@pytest.fixture
def directory():
    with tempfile.TemporaryDirectory(prefix='qualify-', dir='/dev/shm') as path:
        yield path


@pytest.fixture
def qualify(run, host, directory):
    def qualify(*args, **kwargs):
        return run('qualify', '--simulator', host.url, '--lpar', 'lpar1', '--directory', directory,
                   *args, **kwargs)
    return qualify


def verdicts(outcome):
    return {row['line']: row['verdict'] for row in json.loads(outcome.out)}


def test_every_statement_holds_of_the_simulator_and_nothing_is_left(qualify, host, directory):
    before = host.mappings()
    outcome = qualify('--yes', '-f', 'json')
    assert outcome.code == 0, outcome
    found = verdicts(outcome)
    assert {line for line, verdict in found.items() if verdict != 'holds'} <= {
        *NOT_TRIED, 'qcow2', 'lost_answer'}
    assert 'differs' not in found.values()
    assert host.mappings() == before
    assert os.listdir(directory) == []
    host.state.check_invariants()


# The rules of the simulator that have a line, and that line.
RULES = {'etag_given': 'etag_given', 'etag_current': 'etag_current', 'etag_group': 'etag_group',
         'group_taken': 'quick_without_group', 'lpar_known': 'lpar_known',
         'slot_free': 'slot_free', 'slot_range': 'slot_range', 'lua_free': 'lua_free',
         'lua_form': 'lua_form', 'file_exists': 'file_exists',
         'backstore_known': 'backstore_known', 'udid_known': 'udid_known'}


def test_each_rule_that_a_server_lacks_differs_in_the_report(qualify, host, directory):
    before = host.mappings()
    with host.state.rules.without(*RULES):
        outcome = qualify('--yes', '-f', 'json')
    assert outcome.code == 12
    found = verdicts(outcome)
    assert [line for line in RULES.values() if found[line] != 'differs'] == []
    assert host.mappings() == before
    assert os.listdir(directory) == []


class HTMLOfQuickProperties(Fault):
    def on_request(self, exchange):
        is_concerned = exchange.request.path.endswith('/quick/All') and exchange.group is None
        return Answer(200, b'<html/>') if is_concerned else None


class RefusesLost(Fault):
    """Refuses the change whose answer is to be lost, in a document with that disk alone."""

    def concerns(self, request):
        return request.method == 'POST' and b'/lost<' in request.body

    def on_request(self, exchange):
        return exchange.error(400, 'Bad Request', 'No.')


def test_quick_properties_that_are_not_json_differ_and_end_nothing(qualify, host, directory):
    host.faults.add(HTMLOfQuickProperties(times=None))
    outcome = qualify('--yes', '-f', 'json')
    assert outcome.code == 12
    found = verdicts(outcome)
    assert [line for line, verdict in found.items() if verdict == 'differs'] == [
        'quick_properties']
    assert os.listdir(directory) == []


def test_a_change_that_is_refused_is_none_whose_answer_is_lost(qualify, host):
    host.faults.add(RefusesLost(times=None))
    # The refusal may come too late on a machine that is busy, and is lost then.
    assert verdicts(qualify('--yes', '-f', 'json'))['lost_answer'] in ('differs', 'not tried')


def test_a_tool_that_fails_on_this_host_is_no_difference_and_ends_nothing(qualify, tmp_path):
    (tmp_path / 'qemu-img').write_text('#!/bin/sh\nexit 1\n')
    (tmp_path / 'qemu-img').chmod(0o755)
    outcome = qualify('--yes', '-f', 'json', environment={
        'PATH': f'{tmp_path}:{os.environ["PATH"]}'})
    assert outcome.code == 0, outcome
    assert verdicts(outcome)['qcow2'] == 'not tried'


class SignalAt(Fault):
    """Sends a process a signal when a request comes, before it is looked at."""

    def __init__(self, request, number):
        super().__init__(times=request)
        object.__setattr__(self, 'left', [*range(request)])
        object.__setattr__(self, 'number', number)
        object.__setattr__(self, 'pid', queue.Queue())

    def on_request(self, exchange):
        self.left.pop()
        if not self.left:
            os.kill(self.pid.get(timeout=60), self.number)


@pytest.mark.parametrize(('seed', 'number'), [
    *((seed, signal.SIGINT) for seed in range(10)), (10, signal.SIGTERM), (11, signal.SIGHUP)])
def test_a_signal_at_a_random_moment_removes_what_was_made(forks, host, directory, seed, number):
    before = host.mappings()
    fault = SignalAt(random.Random(seed).randint(10, 120), number)
    host.faults.add(fault)
    with open(os.devnull, 'r+') as null:
        child = forks.start(
            ['qualify', '--simulator', host.url, '--lpar', 'lpar1', '--directory', directory,
             '--yes'], [null.fileno()] * 3, dict(os.environ))
        fault.pid.put(child.pid)
        assert child.wait(120) == 128 + number
    assert host.mappings() == before
    assert os.listdir(directory) == []


class AtTheEnd(Fault):
    """Concerns requests that come after the last rescan, which are those that clean up."""

    def __init__(self, **fields):
        super().__init__(**fields)
        object.__setattr__(self, 'left', ['extend', 'job_at_once', 'udid_known'])

    def concerns(self, request):
        if request.method == 'PUT' and request.path.endswith('/do/RescanVirtualDisk'):
            self.left.pop()
            return False
        return not self.left and super().concerns(request)


class LostAtTheEnd(AtTheEnd):
    def on_request(self, exchange):
        raise Dropped


class ForbiddenAtTheEnd(AtTheEnd):
    def on_request(self, exchange):
        return exchange.error(403, 'Forbidden', 'The session is over.')


def test_a_lost_answer_does_not_end_the_cleaning_up(qualify, host, directory):
    before = host.mappings()
    host.faults.add(LostAtTheEnd(method='POST'))
    outcome = qualify('--yes', '-f', 'json')
    assert host.faults.pending() == []
    assert outcome.code == 0, outcome
    assert host.mappings() == before
    assert os.listdir(directory) == []


class AnotherLPARGoesAtTheEnd(AtTheEnd):
    def __init__(self, host):
        super().__init__()
        object.__setattr__(self, 'host', host)

    def on_request(self, exchange):
        [lpar] = [one for one in self.host.lpars if one.name == 'lpar2']
        self.host.remove_lpar(lpar.uuid, leave_orphans=False)


def test_a_mapping_of_another_lpar_that_has_gone_meanwhile_is_a_difference(qualify, host):
    host.faults.add(AnotherLPARGoesAtTheEnd(host))
    outcome = qualify('--yes', '-f', 'json')
    assert outcome.code == 12
    found = verdicts(outcome)
    assert [line for line, verdict in found.items() if verdict == 'differs'] == ['untouched']


def test_what_cannot_be_removed_is_said(qualify, host, directory):
    host.faults.add(ForbiddenAtTheEnd(times=None))
    outcome = qualify('--yes')
    assert (outcome.code, outcome.out) == (9, '')
    [left] = os.listdir(directory)
    assert outcome.err.startswith(
        f'Not removed: {directory}/{left} and the mappings of files in it.\n')


def test_without_an_answer_of_yes_nothing_is_done(qualify, host, directory):
    outcome = qualify(stdin='n\n')
    assert 'LPAR lpar1 will get and lose small disks' in outcome.err
    assert 'Nothing was tried.' in outcome.err
    assert host.requests.count('POST') == 0
    assert os.listdir(directory) == []


def test_a_report_identifies_nothing_and_starts_a_simulator(qualify, host, directory, tmp_path):
    secrets = ['hidden-lpar', 'hidden-disk', 'hidden-tag']
    lpar = host.add_lpar('hidden-lpar')
    snapshot = host.state.snapshot()
    secret_path = '/srv/hidden-disk/volume-of-a-tenant'
    snapshot['mappings'][0].update(path=secret_path, tag='hidden-tag', source=None)
    report = tmp_path / 'report.json'
    with NovaLinkSimulator(state=State.from_snapshot(snapshot), links_of_files=False) as other:
        outcome = qualify('--simulator', other.url, '--yes', '--report', report)
        assert outcome.code == 0, outcome
        secrets += [secret_path, directory, str(other.port), other.vios_uuid, lpar.uuid,
                    other.state.host.uuid, other.state.host.mtms.rpartition('.')[2],
                    other.lpars[0].name, other.lpars[0].uuid]
    text = report.read_text().upper()
    assert [secret for secret in secrets if f'{secret.upper()}' in text] == []
    assert 'X-API-SESSION' not in text
    reported = json.loads(report.read_text())
    assert reported['exchanges']
    with NovaLinkSimulator(recording=str(report)) as again:
        shown = _vios_feed(again)
    assert _mappings(shown) == _mappings(reported['documents'][1].encode())


def test_the_name_of_the_lpar_may_hold_what_no_address_does(qualify, host):
    lpar = host.add_lpar('büro 1')
    outcome = qualify('--yes', '--lpar', lpar.name, '-f', 'json')
    assert verdicts(outcome)['search'] == 'holds'


def test_a_report_is_not_written_over_a_file(qualify, tmp_path):
    report = tmp_path / 'report.json'
    report.write_text('mine')
    outcome = qualify('--yes', '--report', report)
    assert outcome.code == 2
    assert report.read_text() == 'mine'


@pytest.mark.parametrize('more', [['--report', '/no/such/report'], ['--directory', '/proc']])
def test_a_place_that_cannot_be_written_is_a_usage_error_before_anything_is_sent(
        qualify, host, more):
    outcome = qualify('--yes', *more)
    assert (outcome.code, outcome.out) == (2, '')
    assert len(outcome.err.splitlines()) == 1
    assert f'{more[0]} {more[1]}' in outcome.err
    assert host.requests.count('POST') == 0


def test_a_report_of_nothing_leaves_no_file(qualify, tmp_path):
    assert 'Nothing was tried.' in qualify('--report', tmp_path / 'report', stdin='n\n').err
    assert os.listdir(tmp_path) == []


def test_a_directory_whose_files_this_host_refuses_is_no_difference_of_novalink(
        qualify, host, tmp_path):
    outcome = qualify('--yes', '--directory', tmp_path)
    assert (outcome.code, outcome.out) == (5, '')
    assert outcome.err.startswith(f'Cannot attach files of {tmp_path}: ')
    assert 'root file system' in outcome.err
    assert os.listdir(tmp_path) == []
    assert host.requests.count('POST') == 0


def test_each_assumption_of_the_simulator_has_a_line():
    begins = [line.assumption for line in ALL_LINES if line.assumption]
    for assumption in assumptions():
        assert sum(assumption.text.startswith(begin) for begin in begins) == 1, assumption.text
    assert len({line.key for line in ALL_LINES}) == len(ALL_LINES)


def _vios_feed(novalink):
    adapter = novalink.adapter()
    path = '/rest/api/uom/VirtualIOServer?group=ViosSCSIMapping'
    request = urllib.request.Request(novalink.url + path, headers={
        'X-API-Session': adapter.session._sessToken, 'Accept': 'application/atom+xml'})
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def _mappings(document):
    """The mappings of a feed, as canonical XML; links without the server's address."""
    root = etree.fromstring(document)
    found = []
    for mapping in root.iter('{*}VirtualSCSIMapping'):
        for element in mapping.iter():
            element.tail = None
            if 'href' in element.attrib:
                element.set('href', element.get('href').partition('/rest/')[2])
        found.append(etree.tostring(mapping, method='c14n'))
    return found
