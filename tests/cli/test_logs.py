# SPDX-License-Identifier: Apache-2.0
"""journald and syslog get what this package logs, by oslo.log's options."""

import importlib.util
import logging
import subprocess
import sys

import pytest

from powervm_fileio_connector.cli import logs

# In place of the C library's syslog, which writes to the machine's own.
STAND_IN = """
import sys, syslog
messages = open(sys.argv.pop(1), 'a')
syslog.openlog = lambda name, options, facility: messages.write(f'facility {facility}\\n')
syslog.syslog = lambda priority, text: messages.write(f'{priority} {text}\\n')
from powervm_fileio_connector.cli import main
sys.exit(main.main())
"""
LOG_LOCAL3 = 19 << 3


@pytest.mark.parametrize(('options', 'default'), [
    (['--use-syslog'], ''), ([], 'use_syslog = true\nsyslog_log_facility = LOCAL3')],
    ids=['option', 'configuration file'])
def test_syslog_gets_what_this_package_logs_and_no_noise(novalink, make_volume, tmp_path, options,
                                                         default):
    messages, config = tmp_path / 'messages', tmp_path / 'my.conf'
    config.write_text(f'[DEFAULT]\n{default}\n[powervm_fileio]\n')
    subprocess.run([sys.executable, '-W', 'ignore', '-c', STAND_IN, messages, *options, 'attach',
                    make_volume(), '--lpar', 'lpar1', '--config-file', config, '--simulator',
                    novalink.url], check=True, capture_output=True)
    first, *lines = messages.read_text().splitlines()
    assert (first == f'facility {LOG_LOCAL3}') == bool(default)
    assert [line for line in lines if 'is attached to LPAR' in line]
    assert [line for line in lines
            if 'powervm_fileio_connector' not in line and 'WARNING' not in line] == []


@pytest.mark.skipif(importlib.util.find_spec('systemd') is not None,
                    reason='systemd-python is installed')
def test_journald_without_its_package_is_a_usage_error(run):
    outcome = run('--use-journal', 'list')
    assert (outcome.code, outcome.out) == (2, '')
    assert outcome.err.startswith('powervm-fileio: use_journal needs the Python package systemd-')
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize('facility', ['LOCAL9', 'x'])
def test_a_facility_that_there_is_not_is_a_usage_error(run, tmp_path, facility):
    config = tmp_path / 'my.conf'
    config.write_text(f'[DEFAULT]\nuse_syslog = true\nsyslog_log_facility = {facility}\n')
    outcome = run('config', '--config-file', config)
    assert (outcome.code, outcome.out) == (2, '')
    assert f'syslog has no facility {facility}' in outcome.err


def test_the_terminal_shows_each_warning_of_this_package_once(capsys):
    handler = logging.StreamHandler(sys.stderr)
    logs.Console(handler, 1)
    for name, level in (('powervm_fileio_connector.host', logging.WARNING),
                        ('powervm_fileio_connector.host', logging.WARNING),
                        ('powervm_fileio_connector.host', logging.INFO),
                        ('pypowervm.adapter', logging.WARNING)):
        handler.handle(logging.LogRecord(name, level, __file__, 1, '%s of %s',
                                         (logging.getLevelName(level), name), None))
    assert capsys.readouterr().err == (
        'Warning: WARNING of powervm_fileio_connector.host\n')
