# SPDX-License-Identifier: Apache-2.0
"""Errors: no template leaks, and each says what to do."""

import pickle

import pytest
from os_brick import exception as brick

from powervm_fileio_connector import exceptions

CLASSES = [value for value in vars(exceptions).values()
           if isinstance(value, type) and issubclass(value, exceptions.FileIOConnectorError)]
CONTRACT = """
    InvalidConnectionProperties UnsupportedVolume ShareNotMounted MountNotResponding StaleMount
    VolumeFileNotFound UnsafeVolumePath UnsafeVolumeFormat NovaLinkUnavailable NovaLinkNotIOServer
    NotOnNovaLink LPARNotFound LPARNotReady NovaLinkBusy VolumeInUse SlotOrLUAConflict MappingFailed
    ExtendFailed""".split()


@pytest.mark.parametrize('name', CONTRACT)
def test_every_agreed_error_is_a_brick_exception(name):
    assert issubclass(getattr(exceptions, name), brick.BrickException)


@pytest.mark.parametrize('cls', CLASSES)
@pytest.mark.parametrize('fields', [{}, {'reason': '50%(x)s of it'}, {'path': '/mnt/a'}])
def test_no_template_leaks(cls, fields):
    text = str(cls(**fields))
    assert text.startswith('Cannot ')
    assert '%(' not in text.replace('50%(x)s of it', '')


@pytest.mark.parametrize('cls', CLASSES)
def test_every_error_says_what_to_do_and_documents_its_recovery(cls):
    assert str(cls()).endswith(f'. {cls.remedy}')
    assert cls is exceptions.FileIOConnectorError or 'Recovery:' in cls.__doc__


def test_context_is_added_where_it_is_known():
    err = exceptions.VolumeFileNotFound(reason='/mnt/a does not exist', path='/mnt/a')
    err.add_context(doing='attach volume 7 to LPAR web01', volume='7', path='/other')
    assert str(err) == ('Cannot attach volume 7 to LPAR web01: /mnt/a does not exist. '
                        + exceptions.VolumeFileNotFound.remedy)
    assert err.msg == str(err)
    assert err.kwargs['path'] == '/mnt/a'
    assert err.kwargs['volume'] == '7'


def test_a_whole_message_is_kept_as_it_is():
    err = exceptions.MappingFailed('said elsewhere').add_context(doing='attach')
    assert str(err) == 'said elsewhere'


@pytest.mark.parametrize('cls', CLASSES)
def test_a_copy_of_an_error_is_equal_and_has_no_traceback(cls):
    for given in cls(path='/mnt/v'), cls('own words'):
        try:
            raise given
        except cls as err:
            copy = err.copy()
        assert (type(copy), str(copy), copy.kwargs) == (cls, str(given), given.kwargs)
        assert copy.__traceback__ is None


@pytest.mark.parametrize('cls', CLASSES)
def test_errors_can_be_pickled(cls):
    err = cls(reason='it rained', path='/mnt/a')
    copy = pickle.loads(pickle.dumps(err))
    assert str(copy) == str(err)
    assert copy.kwargs == err.kwargs


def test_what_passes_by_itself_is_marked():
    marked = {cls.__name__ for cls in CLASSES if issubclass(cls, exceptions.Retryable)}
    assert marked == {'NovaLinkBusy', 'NovaLinkUnavailable', 'MountNotResponding', 'LPARNotReady'}


# As os-brick's own errors, which callers may answer a request with: the status of HTTP that says
# whose turn it is. Whatever is for the deployer alone to mend is 500.
@pytest.mark.parametrize(('code', 'names'), [
    (400, {'InvalidConnectionProperties', 'UnsupportedVolume', 'UnsafeVolumePath',
           'UnsafeVolumeFormat'}),
    (404, {'VolumeFileNotFound', 'LPARNotFound'}),
    (409, {'LPARNotReady', 'VolumeInUse', 'SlotOrLUAConflict'}),
    (500, {'FileIOConnectorError', 'ShareNotMounted', 'StaleMount', 'NovaLinkNotIOServer',
           'NotOnNovaLink', 'MappingFailed', 'ExtendFailed'}),
    (503, {'MountNotResponding', 'NovaLinkUnavailable', 'NovaLinkBusy'})])
def test_the_code_of_an_error_is_the_http_status_of_its_kind(code, names):
    errors = [cls(reason='it rained') for cls in CLASSES]
    assert {type(err).__name__ for err in errors if err.code == code} == names
    assert {type(err).__name__ for err in errors if err.kwargs['code'] == code} == names
