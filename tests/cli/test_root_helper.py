# SPDX-License-Identifier: Apache-2.0
"""What is denied to the operator is asked of the root helper, also by commands that only read."""

import json
import os
import shutil
import subprocess
import sys

import pytest

# Root without the right to enter directories of others, and which takes itself for another user,
# since what runs the root helper has root do without. It can start this Python wherever it lies.
OPERATOR = [
    'setpriv', '--bounding-set', '-dac_override,-dac_read_search', sys.executable, '-W', 'ignore',
    '-c', 'import os, sys\n'
    'os.geteuid = lambda: 1000\n'
    'from powervm_fileio_connector.cli import main\n'
    'sys.exit(main.main(sys.argv[1:]))']

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or shutil.which('setpriv') is None,
                                reason='needs root, whose rights setpriv takes away')


@pytest.fixture
def closed(share, make_volume, add_mapping):
    """An attached file in a directory that only another user may enter."""
    path = make_volume('closed/volume-1')
    add_mapping(path)
    os.chmod(share / 'closed', 0o700)
    os.chown(share / 'closed', 65534, 65534)
    return path


@pytest.fixture
def as_operator(novalink, tmp_path):
    """Run a command as a user for whom ``sudo`` does what a script says, if told not to ask."""
    def as_operator(sudo, *arguments):
        (tmp_path / 'sudo').write_text(f'#!/bin/sh\n[ "$1" = -n ] && shift || exit 9\n{sudo}\n')
        (tmp_path / 'sudo').chmod(0o755)
        done = subprocess.run(
            [*OPERATOR, *arguments, '--simulator', novalink.url, '-f', 'json'],
            capture_output=True, text=True, check=False, timeout=120,
            env={**os.environ, 'OS_POWERVM_FILEIO__PROBE_TIMEOUT_S': '60',
                 'PATH': f'{tmp_path}:{os.environ["PATH"]}'})
        assert done.stdout, done
        return json.loads(done.stdout)
    return as_operator


@pytest.mark.parametrize('name', ['list', 'show', 'audit', 'check'])
def test_a_file_that_only_the_root_helper_may_see_is_present(as_operator, closed, name):
    opens = f'chmod 755 {os.path.dirname(closed)}; exec "$@"'
    shown = as_operator(opens, name, *([] if name in ('list', 'audit') else [closed]))
    if name in ('list', 'show'):
        [disk] = shown if isinstance(shown, list) else [shown]
        assert disk['file_state'] == 'present'
    elif name == 'check':
        assert {row['verdict'] for row in shown} <= {'ok', 'not checked'}, shown
    else:
        assert shown == []


def test_a_file_that_only_the_root_helper_may_open_is_present(as_operator, closed):
    """Root without the rights that a container lacks is denied what NovaLink is not."""
    os.chmod(os.path.dirname(closed), 0o755)
    os.chmod(closed, 0o600)
    os.chown(closed, 65534, 65534)
    [row] = [row for row in as_operator('echo no rights >&2; exit 1', 'check', closed)
             if row['error_type'] is not None]
    assert 'the root helper failed: no rights' in row['detail']
    assert as_operator(f'chmod 666 {closed}; exec "$@"', 'audit') == []


def test_a_root_helper_that_fails_is_named_with_its_reason(as_operator, closed):
    [row] = [row for row in as_operator('echo no rights >&2; exit 1', 'check', closed)
             if row['error_type'] is not None]
    assert 'the root helper failed: no rights' in row['detail']
    assert 'also through' not in row['detail']


@pytest.mark.parametrize('name', ['list', 'show', 'audit'])
def test_a_file_that_is_denied_to_the_operator_alone_is_unknown(as_operator, closed, name):
    shown = as_operator('echo no rights >&2; exit 1', name, *([closed] if name == 'show' else []))
    [row] = shown if isinstance(shown, list) else [shown]
    if name == 'audit':
        assert row['finding'] == 'file unknown'
        assert 'the root helper failed: no rights' in row['detail']
    else:
        assert (row['file_state'], row['mount_state']) == ('unknown', 'healthy')
