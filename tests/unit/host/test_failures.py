# SPDX-License-Identifier: Apache-2.0
"""Which error the answer of a probe stands for."""

import errno

import pytest

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.host import failures
from powervm_fileio_connector.host import probe
from tests.unit.host.test_mount_table import table_of

PATH = '/a/volume-1'


def error_of(answer, fstype='nfs4', options='rw,hard'):
    table = table_of(f'30 27 0:50 / /a rw - {fstype} nas1:/vols {options}')
    context = failures.ErrorContext(PATH, table.at('/a'), {'path': PATH, 'mount_point': '/a'})
    with pytest.raises(exceptions.FileIOConnectorError) as caught:
        failures.raise_for(answer, context)
    return caught.value


@pytest.mark.parametrize(('name', 'error'), [
    ('ENOENT', exceptions.VolumeFileNotFound), ('ENOTDIR', exceptions.VolumeFileNotFound),
    ('ENAMETOOLONG', exceptions.VolumeFileNotFound), ('ELOOP', exceptions.UnsafeVolumePath),
    ('EACCES', exceptions.UnsafeVolumePath), ('EPERM', exceptions.UnsafeVolumePath),
    ('EROFS', exceptions.UnsupportedVolume), ('ESTALE', exceptions.StaleMount),
    ('ENOTCONN', exceptions.StaleMount), ('ESHUTDOWN', exceptions.StaleMount),
    ('ENODEV', exceptions.StaleMount), ('ENXIO', exceptions.StaleMount),
    ('EIO', exceptions.StaleMount)])
def test_an_errno_that_speaks_of_path_or_mount_has_its_own_error(name, error):
    assert type(error_of(probe.Answer(errno=getattr(errno, name)))) is error


_NAMED = {'ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'ELOOP', 'EACCES', 'EPERM', 'EROFS', 'ESTALE',
          'ENOTCONN', 'ESHUTDOWN', 'ENODEV', 'ENXIO', 'EIO'}


@pytest.mark.parametrize('number', [
    number for number, name in errno.errorcode.items() if name not in _NAMED])
def test_every_other_errno_may_pass_and_accuses_no_path(number):
    error = error_of(probe.Answer(errno=number))
    assert type(error) is exceptions.MountNotResponding
    assert isinstance(error, exceptions.Retryable)


@pytest.mark.parametrize(('options', 'error'), [
    ('rw,hard', exceptions.StaleMount), ('rw', exceptions.StaleMount),
    ('rw,soft', exceptions.MountNotResponding), ('rw,softerr', exceptions.MountNotResponding)])
def test_eio_of_a_soft_mount_says_that_its_server_is_down(options, error):
    assert type(error_of(probe.Answer(errno=errno.EIO), options=options)) is error


@pytest.mark.parametrize('number', [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_shortage_of_our_own_is_said_to_be_one(number):
    error = error_of(probe.Answer(errno=number))
    assert 'shortage of this host' in str(error)
    assert 'nas1' not in str(error)


@pytest.mark.parametrize(('answer', 'reason'), [
    (probe.Answer(failure='no process'), 'no process'),
    (probe.Answer(errno=errno.EMFILE), 'Too many open files'),
    (probe.Answer(errno=errno.EIO), None), (probe.Answer(errno=errno.ENOENT), None),
    (probe.Answer(is_hung=True), None), (probe.Answer(), None)])
def test_what_could_not_be_probed_is_told_from_what_does_not_answer(answer, reason):
    assert failures.shortage(answer) == reason


def test_only_a_probe_that_had_no_answer_says_that_there_was_none():
    assert 'did not answer within 2 s' in str(error_of(probe.Answer(is_hung=True, took_s=2.0)))
    text = str(error_of(probe.Answer(errno=errno.ETIMEDOUT, took_s=0.0004)))
    assert 'did not answer within' not in text
    assert 'Connection timed out' in text


def test_a_root_helper_that_does_not_end_is_named_beside_the_share():
    text = str(error_of(probe.Answer(is_hung=True, took_s=2.0, is_from_root_helper=True)))
    assert 'nas1:/vols' in text
    assert 'root helper' in text
    assert 'root helper' not in str(error_of(probe.Answer(is_hung=True, took_s=2.0)))


def test_what_autofs_remembers_is_mentioned():
    for number in (errno.ENOENT, errno.ETIMEDOUT):
        assert 'for a minute' in str(error_of(probe.Answer(errno=number), fstype='autofs'))
        assert 'for a minute' not in str(error_of(probe.Answer(errno=number)))


@pytest.mark.parametrize(('options', 'words', 'absent'), [
    ({}, 'Permission denied', 'root helper'),
    ({'is_from_root_helper': True}, 'also through the root helper', 'failed'),
    ({'root_helper_failure': 'no sudo'}, 'the root helper failed: no sudo', 'also')])
def test_the_root_helper_is_named_where_it_was_asked(options, words, absent):
    text = str(error_of(probe.Answer(errno=errno.EACCES, **options)))
    assert words in text
    assert absent not in text


def test_a_probe_that_could_not_be_made_is_retryable():
    error = error_of(probe.Answer(failure='no process could be started'))
    assert type(error) is exceptions.MountNotResponding
    assert 'no process could be started' in str(error)
