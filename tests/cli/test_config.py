# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio config``, configuration files, exit codes, and the weight of the command."""

import os
import subprocess
import sys

import pytest

from powervm_fileio_connector import conf
from powervm_fileio_connector.cli import errors

SECRET = 'correct-horse-battery'


@pytest.fixture
def config_file(tmp_path):
    def write(text, name='powervm-fileio.conf'):
        path = tmp_path / name
        path.write_text(f'[powervm_fileio]\n{text}\n', encoding='latin-1')
        path.chmod(0o600)
        return path
    return write


def shown(outcome):
    assert (outcome.code, outcome.err) == (0, '')
    return {row['option']: (row['value'], row['set_by']) for row in outcome.json}


def test_config_shows_every_option_and_where_it_was_set(run, config_file):
    path = config_file('probe_timeout_s = 3\nmount_point_base = /a,/b')
    options = shown(run('config', '--config-file', path, '-f', 'json'))
    assert list(options) == [option.dest for option in conf.OPTS]
    assert options['probe_timeout_s'] == (3.0, str(path))
    assert options['mount_point_base'] == ('/a,/b', str(path))
    assert options['rest_timeout_s'] == (600.0, 'default')


def test_config_shows_the_value_in_force_of_an_option_that_is_capped(run, config_file):
    path = config_file('max_mappings_per_bus = 64')
    outcome = run('config', '--config-file', path, '-f', 'json')
    row = next(row for row in outcome.json if row['option'] == 'max_mappings_per_bus')
    assert (row['value'], row['set_by']) == (32, str(path))
    assert outcome.err == ('Warning: max_mappings_per_bus = 64 counts as 32: a Linux client scans '
                           'no more disks on one bus.\n')
    assert run('-q', 'config', '--config-file', path).err == ''


def test_config_masks_the_password(run, config_file):
    outcome = run('--debug', 'config', '--config-file',
                  config_file(f'novalink_password = {SECRET}'), '-f', 'json')
    assert '"***"' in outcome.out
    assert SECRET not in outcome.out + outcome.err


def test_later_files_win_and_the_simulator_wins_over_all(run, config_file):
    first = config_file('novalink_host = hmc1\nbackstore = fileio', 'first.conf')
    second = config_file('novalink_host = hmc2\nnovalink_password = x', 'second.conf')
    files = ['--config-file', first, '--config-file', second]
    assert shown(run('config', *files, '-f', 'json'))['novalink_host'] == ('hmc2', str(second))
    options = shown(run('config', *files, '--simulator', 'http://localhost:8080', '-f', 'json'))
    assert options['novalink_host'] == ('localhost', '--simulator')
    assert options['novalink_port'] == (8080, '--simulator')
    assert options['novalink_password'] == (None, '--simulator')
    assert options['backstore'] == ('fileio', str(first))
    options = shown(run('config', *files, '--timeout', '5', '-f', 'json'))
    assert options['rest_timeout_s'] == (5.0, '--timeout')


def test_options_of_a_file_are_in_force(run, novalink, config_file):
    path = config_file(f'novalink_host = localhost\nnovalink_port = {novalink.port}\n'
                       'novalink_protocol = http')
    assert run('list', '--config-file', path).code == 0
    assert novalink.requests.count('GET') > 0


@pytest.mark.parametrize(('text', 'words'), [
    ('probe_timeout_s = soon', 'soon'), ('backstore = tape', 'tape'), ('nonsense', 'nonsense'),
    ('mount_point_base =', 'option mount_point_base in {path}: it is empty.'),
    ('trusted_directories = fileio', "option trusted_directories in {path}: 'fileio' is not an"),
    ('mount_point_base = mnt,/srv', "option mount_point_base in {path}: 'mnt' is not an absolute"),
    ('[DEFAULT]\nuse_syslog = maybe', 'option use_syslog in {path}: Unexpected boolean value'),
    ('# \N{LATIN SMALL LETTER E WITH ACUTE}', '{path} is not text in UTF-8.')])
def test_a_file_that_makes_no_sense_is_a_usage_error(run, config_file, text, words):
    path = config_file(text)
    words = words.format(path=path)
    outcome = run('list', '--config-file', path)
    assert outcome.code == 2
    assert outcome.err.startswith('The configuration cannot be used')
    assert words in outcome.err
    assert '(' not in outcome.err


def test_a_missing_file_is_a_usage_error(run):
    outcome = run('list', '--config-file', '/no/such.conf')
    assert outcome.code == 2
    assert '/no/such.conf' in outcome.err


@pytest.mark.parametrize('url', ['localhost', 'https://localhost:1', 'http://localhost:port',
                                 'http://localhost:99999'])
def test_a_simulator_that_is_no_address_is_a_usage_error(run, url):
    outcome = run('list', '--simulator', url)
    assert outcome.code == 2
    assert f'--simulator {url} is not an address' in outcome.err


def test_every_error_of_ours_has_an_exit_code():
    from powervm_fileio_connector import exceptions

    ours = [value for value in vars(exceptions).values() if isinstance(value, type)
            and issubclass(value, exceptions.FileIOConnectorError)
            and value is not exceptions.FileIOConnectorError]
    assert all(errors.exit_code(error()) is not errors.ExitCode.UNEXPECTED for error in ours)


@pytest.mark.parametrize(('error', 'code'), [
    (KeyboardInterrupt(), 130), (errors.UsageError(), 2), (errors.NotAttached(), 13),
    (ValueError(), 1)])
def test_other_errors_have_theirs(error, code):
    assert errors.exit_code(error) == code


@pytest.mark.parametrize(('arguments', 'more'), [
    (['--help'], {'email.parser'}),     # which reads the metadata of distributions
    (['list', '--help'], {'email.parser', 'powervm_fileio_connector.cli.commands.attach'}),
    (['--version'], {'cliff.lister'})])
def test_help_imports_nothing_heavy(arguments, more):
    code = (f'import sys\nfrom powervm_fileio_connector.cli import main\n'
            f'try: main.main({arguments})\nexcept SystemExit: pass\n'
            'heavy = {"os_brick", "pypowervm", "oslo_config", "oslo_utils", "lxml", "ssl"}\n'
            f'sys.exit(", ".join((heavy | {more}) & set(sys.modules)) or 0)')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, '')


@pytest.mark.parametrize(('name', 'unused'), [
    ('list', {'os_brick.initiator', 'eventlet', 'taskflow', 'jsonschema',
              'powervm_fileio_connector.cli.commands.attach'}), ('demo', {'dns'})])
def test_a_command_imports_no_more_than_it_uses(novalink, name, unused):
    arguments = [name] if name == 'demo' else [name, '--simulator', novalink.url]
    code = (f'import sys\nfrom powervm_fileio_connector.cli import main\nmain.main({arguments})\n'
            f'sys.exit(", ".join({unused} & set(sys.modules)) or 0)')
    environment = {name: value for name, value in os.environ.items()
                   if name != 'EVENTLET_NO_GREENDNS'}
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True,
                          text=True, check=False, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr


def test_help_behind_a_command_is_of_that_command(run):
    outcome = run('detach', '--help')
    assert outcome.code == 0
    assert 'powervm-fileio detach' in outcome.out
    assert '--device-info FILE' in outcome.out
    assert outcome.out == run('help', 'detach').out


def test_the_environment_sets_options_too(run, config_file):
    outcome = run('config', '--config-file', config_file('backstore = loop'), '-f', 'json',
                  environment={'OS_POWERVM_FILEIO__BACKSTORE': 'fileio'})
    row = next(row for row in outcome.json if row['option'] == 'backstore')
    assert (row['value'], row['set_by']) == ('fileio', 'OS_POWERVM_FILEIO__BACKSTORE')
