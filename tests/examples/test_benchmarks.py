# SPDX-License-Identifier: Apache-2.0
"""The benchmarks run, and what the documentation shows of them is what was measured."""

import json
import re

import pytest

from benchmarks import __main__ as runner
from benchmarks import calls
from benchmarks import contenders
from benchmarks import questions
from benchmarks import results
from benchmarks import stage
from benchmarks.report import Figures
from benchmarks.report import Table
from benchmarks.report import Target
from tests import effort

SMALLEST = stage.Size(rounds=1, cost_rounds=1, mappings=(3,), at_once=(2,), limit_s=10.0,
                      mixed_s=0.3, processes=1, threads=2, probes=2, attaches_beside_hung=2,
                      mounts=(1, 10))


# Where the others take part, a question is put to them as to us; one such shows that they can.
OTHERS_ANSWER = ('cost',)


@pytest.fixture
def few_contenders(monkeypatch, name):
    there = [contenders.OURS]
    if effort.IS_FULL or name in OTHERS_ANSWER:
        there.append(contenders.PLAIN)
    monkeypatch.setattr(contenders, 'missing', lambda: {
        other: 'it is slow to start' for other in contenders.KNOWN if other not in there})


@pytest.mark.slow
@pytest.mark.parametrize('name', questions.ALL)
@pytest.mark.usefixtures('few_contenders')
def test_a_question_is_answered(name):
    found = runner.measured([name], SMALLEST)
    rows = found['questions'][name]
    assert rows
    text = results.text(json.loads(json.dumps(found)))
    assert questions.ALL[name].TITLE in text
    if 'why_not' not in rows[0]:
        assert all(table.title in text for table in questions.ALL[name].TABLES)


def test_a_target_that_was_not_measured_is_not_met_either():
    assert [Target('t', 3, measured).verdict for measured in (3.0, 3.1, None)] == [
        'met', 'not met', 'not measured']


def test_a_table_marks_what_did_not_end_in_time():
    table = Table('t', {'n': 'n'}, 'wall_s')
    lines = table.text([{'contender': 'a', 'n': 1, 'wall_s': 9.0, 'is_late': True},
                        {'contender': 'b', 'n': 1, 'wall_s': 1.0}]).splitlines()
    assert [re.split(r' {2,}', line.strip()) for line in (lines[1], lines[3])] == [
        ['n', 'a', 'b'], ['1', '> 9.0', '1.0']]


def test_figures_of_one_row_each_stand_side_by_side():
    table = Figures('t', {'n': ('number', '{:.0f}'), 's': ('seconds', '{:.1f}')})
    lines = table.text([{'contender': 'a', 'n': 1, 's': 2.04}, {'contender': 'b', 'n': 3, 's': 4},
                        {'contender': 'c', 'why_not': 'it is missing'}]).splitlines()
    assert [re.split(r' {2,}', line.strip()) for line in (lines[1], *lines[3:5])] == [
        ['figure', 'a', 'b'], ['number', '1', '3'], ['seconds', '2.0', '4.0']]


def test_the_documentation_shows_what_was_measured():
    found = json.loads((runner.DOC / 'results.json').read_text())
    assert (runner.DOC / 'results.inc').read_text() == results.text(found, pictures=True)


def test_a_later_run_replaces_its_own_answers_only():
    before = json.loads((runner.DOC / 'results.json').read_text())
    run = {**before, 'begun': 'later', 'questions': {'probe': [{'what': 'x'}]}}
    merged = results.merged(before, run)
    assert merged['questions'] == {**before['questions'], 'probe': [{'what': 'x'}]}
    assert merged['apart']['probe']['begun'] == 'later'
    assert merged['begun'] == before['begun']
    assert 'later' in results.text(results.merged(before, {**run, 'questions': {
        'probe': before['questions']['probe']}}))


def test_the_published_figures_answer_every_question_in_full_size():
    found = json.loads((runner.DOC / 'results.json').read_text())
    assert {run['size'] for run in (found, *found.get('apart', {}).values())} == {'full'}
    assert list(found['questions']) == list(questions.ALL)
    assert not found['missing']


def test_a_warm_attach_makes_few_calls_and_no_more_with_more_mounts():
    rows = calls.measure()
    if 'why_not' in rows[0]:
        pytest.skip(rows[0]['why_not'])
    few, many = ({row['what']: row['count'] for row in rows if row['mounts'] == str(mounted)}
                 for mounted in (calls.FEW, calls.MANY))
    assert few == many
    assert few[calls.CALLS] <= 530
    assert (few[calls.PROBES], few[calls.READS]) == (3, 2)
