# SPDX-License-Identifier: Apache-2.0
"""Every command in every format: the same keys, numbers as numbers, no table too wide."""

import contextlib
import csv
import io
import json
import os
import pty
import re
import stat
from importlib import metadata

import pytest
import yaml

from powervm_fileio_connector.cli import output
from powervm_fileio_connector.cli import table

TEXT, NUMBER, EITHER = (str, type(None)), (int, float, type(None)), (str, int, float, type(None))

TYPES = {
    'lpar': TEXT, 'lpar_uuid': TEXT, 'lpar_id': NUMBER, 'slot': NUMBER, 'server_slot': NUMBER,
    'lua': TEXT, 'path': TEXT, 'size_bytes': NUMBER, 'file_bytes': NUMBER, 'udid': TEXT,
    'tag': TEXT, 'mount': TEXT, 'mount_state': TEXT, 'file_state': TEXT, 'error': TEXT,
    'error_type': TEXT, 'seconds': NUMBER, 'backstore': TEXT, 'kind': TEXT, 'delayed_by': TEXT,
    'target_name': TEXT, 'type': TEXT, 'volume_id': TEXT, 'vios_uuid': TEXT, 'volume': TEXT,
    'result': TEXT, 'edit': TEXT, 'finding': TEXT, 'detail': TEXT, 'check': TEXT, 'verdict': TEXT,
    'option': TEXT, 'value': (*EITHER, bool), 'set_by': TEXT, 'step': TEXT, 'name': TEXT,
    'get': NUMBER, 'post': NUMBER, 'other_requests': NUMBER, 'export': TEXT, 'mounted_at': list,
    'searched': list, 'fstab': TEXT, 'line': TEXT, 'statement': TEXT, 'seen': TEXT,
    'host': TEXT, 'attached_to': TEXT}
"""The keys that all commands share, and what their values may be."""

COMMANDS = {
    'attach': ['attach', '{free}', '--lpar', 'lpar1'],
    'attach list': ['attach', '{list}'],
    'attach dry run': ['attach', '{free}', '--lpar', 'lpar1', '--dry-run'],
    'extend': ['extend', '{disk}'],
    'extend dry run': ['extend', '{disk}', '--dry-run'],
    'detach dry run': ['detach', '{disk}', '--dry-run'],
    'detach': ['detach', '{free}'],
    'list': ['list'],
    'list all': ['list', '--all-storage'],
    'show': ['show', '{disk}'],
    'check': ['check', '{disk}', '--lpar', 'lpar1'],
    'audit': ['audit'],
    'config': ['config'],
    'where': ['where', 'nas1:/vols'],
    'demo': ['demo'],
    'qualify': ['qualify', '--lpar', 'lpar1', '--directory', '{share}', '--yes'],
    'cinder attach': ['cinder', 'attach', 'data', '--lpar', 'lpar1', '--host', 'neo-1'],
    'cinder extend': ['cinder', 'extend', 'data', '--size', '1', '--host', 'neo-1'],
    'cinder audit': ['cinder', 'audit', '--host', 'neo-1'],
    'cinder detach': ['cinder', 'detach', 'data', '--host', 'neo-1'],
}


def test_every_command_with_a_result_is_walked():
    shown = {line[0] if line[0] != 'cinder' else '_'.join(line[:2]) for line in COMMANDS.values()}
    assert shown == {entry.name for entry in metadata.entry_points(group='powervm_fileio.cli')
                     if issubclass(entry.load(), output.Table)}


@pytest.fixture
def volume_of_cinder(request, cloud, monkeypatch, tmp_path, make_volume):
    """A volume of Cinder, and the credentials of its cloud."""
    for name, value in {**cloud.environment(), 'XDG_STATE_HOME': str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    path = make_volume('data')
    cloud.add_volume('data', {'driver_volume_type': 'gpfs', 'name': 'data', 'device_path': path})
    return path


@pytest.fixture(params=COMMANDS)
def arguments(request, novalink, operate, make_volume, connection_info, write_json, share,
              add_mapping):
    """A command line that shows something."""
    if request.param.startswith('cinder'):
        path = request.getfixturevalue('volume_of_cinder')
        if request.param != 'cinder attach':
            assert operate('cinder', *COMMANDS['cinder attach'][1:]).code == 0
        if request.param == 'cinder audit':
            assert operate('detach', path).code == 0
    disk, free, gone = (make_volume(name) for name in (f'volume-{"x" * 60}', 'free', 'gone'))
    for path in (disk, gone):
        add_mapping(path, tag='vol-a')
    os.unlink(gone)
    volumes = write_json([connection_info('a', lpar='lpar1'), connection_info('b', lpar='web01')])
    given = {'free': free, 'disk': disk, 'list': volumes, 'share': str(share)}
    arguments = [text.format(**given) for text in COMMANDS[request.param]]
    return [*arguments, *([] if arguments[0] == 'demo' else ['--simulator', novalink.url])]


def test_each_format_has_the_same_keys_and_types_and_no_table_is_too_wide(run, on_terminal,
                                                                          arguments):
    data = run(*arguments, '-f', 'json').json
    rows = data if isinstance(data, list) else [data]
    assert rows
    for row in rows:
        for key, value in row.items():
            assert isinstance(value, TYPES[key]), (key, value)
    shown = yaml.safe_load(run(*arguments, '-f', 'yaml').out)
    shown = shown if isinstance(shown, list) else [shown]
    assert [set(row) for row in shown] == [set(row) for row in rows]
    lines = list(csv.reader(io.StringIO(run(*arguments, '-f', 'csv').out)))
    assert lines[0] == list(rows[0])
    assert len(lines) == len(rows) + 1
    # The values of the first key are the same each time.
    key = next(iter(rows[0]))
    plain = run(*arguments, '-f', 'value', '-c', key).out
    assert plain.splitlines() == ['' if row[key] is None else str(row[key]) for row in rows]
    assert_fits(on_terminal(arguments, COLUMNS='80', LINES='25'))


# Again they show that nothing is left to do.
@pytest.mark.parametrize('arguments', ['attach', 'attach list', 'extend', 'cinder attach',
                                       'cinder extend', 'cinder detach'], indirect=True)
def test_the_table_of_what_was_changed_is_not_too_wide(on_terminal, arguments):
    assert_fits(on_terminal(arguments, COLUMNS='80', LINES='25'))


def assert_fits(shown):
    lines = re.sub('\033\\[[0-9;]*m', '', shown).splitlines()
    assert lines
    assert max(map(len, lines)) <= 80, shown


@pytest.fixture
def on_terminal(forks):
    """Run a command whose standard output is a terminal, and return what it shows."""
    def run(arguments, **environment):
        ours, theirs = pty.openpty()
        with open(ours, 'rb', buffering=0) as terminal, open(os.devnull, 'r+') as nothing:
            child = forks.start([str(one) for one in arguments],
                                [nothing.fileno(), theirs, nothing.fileno()],
                                {**os.environ, 'NO_COLOR': '', 'TERM': 'xterm', **environment})
            os.close(theirs)
            shown = b''
            with contextlib.suppress(OSError):      # how a terminal ends
                while chunk := terminal.read(65536):
                    shown += chunk
            child.wait(60)
            return shown.decode()
    return run


@pytest.mark.parametrize(('environment', 'is_coloured'), [
    ({}, True), ({'NO_COLOR': '1'}, False), ({'TERM': 'dumb'}, False)])
def test_verdicts_are_coloured_on_a_terminal(on_terminal, novalink, environment, is_coloured):
    shown = on_terminal(['check', '--simulator', novalink.url], **environment)
    assert ('\033[32mok' in shown) == is_coloured


def test_nothing_is_coloured_where_no_terminal_is(operate):
    assert '\033' not in operate('check').out


def test_a_path_that_is_shortened_keeps_its_end_in_one_line():
    rows = [['file missing', f'/mnt/{"x" * 80}end', 'the mount answers, but the file is not there']]
    table.fit(['finding', 'path', 'detail'], rows, 60)
    assert rows[0][1].startswith('…xx')
    assert rows[0][1].endswith('xxend')
    assert sum(len(str(value).split('\n')[0]) for value in rows[0]) + 10 <= 60


def test_a_path_can_be_had_whole(operate, make_volume, add_mapping):
    path = make_volume(f'volume-{"x" * 60}')
    add_mapping(path)
    assert operate('list', '-f', 'value', '-c', 'path').out == f'{path}\n'
    assert path in operate('list').out


def test_a_key_that_there_is_not_is_a_usage_error_with_the_nearest(operate):
    outcome = operate('list', '-c', 'lpar_uid')
    assert (outcome.code, outcome.out) == (2, '')
    assert 'did you mean lpar_uuid?' in outcome.err


def test_list_is_filtered(as_json, operate, make_volume, add_mapping):
    for name, tag in (('a', 'vol-a'), ('b', 'vol-b')):
        add_mapping(make_volume(name), tag=tag)
    os.unlink(make_volume('b'))
    for filters, left in ((['--path', '/a'], ['vol-a']), (['--tag', 'vol-b'], ['vol-b']),
                          (['--state', 'missing'], ['vol-b']), (['--state', 'hung'], []),
                          (['--lpar', 'lpar2'], [])):
        assert [disk['tag'] for disk in as_json('list', *filters)] == left
    assert operate('list', '--state', 'hung').err == 'No disk fits.\n'


def test_results_say_what_happened(operate, make_volume, write_json):
    path = make_volume()
    volumes = write_json([{'path': path, 'lpar': 'lpar1'}])
    results = []
    for name in ('attach', 'attach', 'extend', 'grow', 'extend', 'detach', 'detach'):
        if name == 'grow':
            os.truncate(path, 1 << 30)
            continue
        results.append(operate(name, volumes, '-f', 'value', '-c', 'result').out.strip())
    assert results == ['attached', 'already attached', 'already 1 MiB', '1 MiB -> 1 GiB',
                       'detached', 'was not attached']


def test_attach_of_one_volume_says_in_the_table_whether_it_was_attached_already(operate,
                                                                                make_volume):
    path = make_volume()
    assert re.search(r'\| result +\| attached +\|', operate('attach', path, '--lpar', 'lpar1').out)
    assert re.search(r'\| result +\| already attached +\|',
                     operate('attach', path, '--lpar', 'lpar1').out)


@pytest.mark.parametrize(('export', 'fstype', 'mount_options'), [
    ('nas1:/vols', 'nfs', 'hard,_netdev,nofail'), ('nas1:/vols', 'nfs4', 'hard,_netdev,nofail'),
    ('//nas1/vols', 'cifs', '_netdev,nofail'), ('gpfs0', 'gpfs', '_netdev,nofail')])
def test_where_shows_mount_options_with_which_a_disk_survives_its_server(run, export, fstype,
                                                                         mount_options):
    line = run('where', export, '--type', fstype, '-f', 'json').json['fstab']
    assert line.startswith(f'{export} /var/lib/nova/mnt/')
    assert line.endswith(f' {fstype} {mount_options} 0 0')


def test_where_names_the_mount_point_and_the_line_of_fstab(run):
    outcome = run('where', 'nas1:/vols', '-f', 'json')
    assert outcome.code == 4
    place = '/var/lib/nova/mnt/df8f2960bc699f860fbd3049c05792c6'
    assert outcome.json['searched'][0] == place
    assert outcome.json['mounted_at'] == []
    assert outcome.json['fstab'] == f'nas1:/vols {place} nfs hard,_netdev,nofail 0 0'


@pytest.mark.parametrize(('options', 'sizes'), [
    (['--sort-column', 'size_bytes'], [1, 2, 3, 10]),
    (['--sort-column', 'size_bytes', '--sort-descending'], [10, 3, 2, 1]),
    (['--sort-column', 'file_state', '--sort-column', 'size_bytes'], [10, 1, 2, 3]),
    (['--sort-column', 'tag', '--sort-column', 'size_bytes'], [3, 1, 2, 10])])
def test_rows_are_sorted_by_their_values_with_unknown_ones_last(options, sizes, operate,
                                                                make_volume, add_mapping):
    for name, mib in (('b', 2), ('a', 1), ('c', 10)):
        add_mapping(path := make_volume(name, mib << 20))
    add_mapping(make_volume('d', 3 << 20), tag='v1')
    os.unlink(path)
    rows = operate('list', *options, '-f', 'json').json
    assert [row['size_bytes'] >> 20 for row in rows] == sizes


def test_rows_are_sorted_by_a_column_that_holds_numbers_texts_and_nothing(run):
    rows = run('config', '--sort-column', 'value', '-f', 'json').json
    values = [row['value'] for row in rows]
    assert values[:4] == [False, 10.0, 32, 600.0]
    assert values[4:7] == ['', '/etc/ssl/certs/', '/var/lib/nova/mnt,/var/lib/cinder/mnt']
    assert values[-4:] == [None] * 4


def test_a_column_to_sort_by_that_does_not_exist_is_a_usage_error(operate):
    outcome = operate('list', '--sort-column', 'colour')
    assert (outcome.code, outcome.out) == (2, '')
    assert 'colour' in outcome.err


def test_metrics_replace_nothing_but_a_file(operate, tmp_path):
    os.mkfifo(tmp_path / 'fifo')
    outcome = operate('audit', '--metrics', tmp_path / 'fifo')
    assert outcome.code == 2
    assert 'is no regular file' in outcome.err
    assert stat.S_ISFIFO(os.lstat(tmp_path / 'fifo').st_mode)
    (tmp_path / 'link').symlink_to('real')
    assert operate('audit', '--metrics', tmp_path / 'link').code == 0
    assert 'powervm_fileio_findings' in (tmp_path / 'real').read_text()
    assert os.readlink(tmp_path / 'link') == 'real'


def test_metrics_are_of_what_is_left(operate, tmp_path, make_volume, novalink):
    assert operate('attach', make_volume(), '--lpar', 'lpar1').code == 0
    novalink.remove_lpar(novalink.lpars[0].uuid, leave_orphans=True)
    operate('audit', '--fix', '--yes', '--metrics', tmp_path / 'metrics')
    text = (tmp_path / 'metrics').read_text()
    assert 'powervm_fileio_findings{finding="orphan"} 0.0' in text
    assert 'powervm_fileio_findings{finding="mount unknown"} 0.0' in text
    assert 'powervm_fileio_disks{' not in text


def test_metrics_that_cannot_be_written_do_not_hide_what_was_removed(operate, make_volume,
                                                                     novalink):
    assert operate('attach', make_volume(), '--lpar', 'lpar1').code == 0
    novalink.remove_lpar(novalink.lpars[0].uuid, leave_orphans=True)
    outcome = operate('audit', '--fix', '--yes', '--metrics', '/no/such/directory/file')
    assert (outcome.code, outcome.out) == (2, '')
    assert 'But the command was carried out: 1 removed.' in outcome.err
    assert novalink.mappings() == []


def test_a_column_may_be_called_by_its_heading(operate, make_volume):
    assert operate('attach', make_volume(), '--lpar', 'lpar1').code == 0
    shown = operate('list', '-c', 'Size', '-c', 'lpar', '-f', 'json').json
    assert shown == [{'size_bytes': 1 << 20, 'lpar': 'lpar1'}]


def test_metrics_are_written_for_prometheus(operate, make_volume, tmp_path, add_mapping):
    path = make_volume()
    add_mapping(path)
    metrics = tmp_path / 'powervm.prom'
    assert operate('audit', '--metrics', metrics).code == 0
    text = metrics.read_text()
    assert 'powervm_fileio_findings{finding="file missing"} 0.0' in text
    assert 'powervm_fileio_disks{file_state="present",mount_state="healthy"} 1.0' in text
    os.unlink(path)
    assert operate('audit', '--metrics', metrics).code == 12
    assert 'powervm_fileio_findings{finding="file missing"} 1.0' in metrics.read_text()
    assert os.listdir(tmp_path) == ['powervm.prom']
    outcome = operate('audit', '--metrics', '/no/such/directory/file')
    assert (outcome.code, outcome.out) == (2, '')


def test_json_is_one_document_even_when_the_command_fails(operate, make_volume):
    os.unlink(path := make_volume())
    outcome = operate('check', path, '-f', 'json')
    assert outcome.code == 12
    assert {row['check']: row['error_type'] for row in json.loads(outcome.out)}[
        'file'] == 'VolumeFileNotFound'
