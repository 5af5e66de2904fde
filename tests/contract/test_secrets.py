# SPDX-License-Identifier: Apache-2.0
"""No secret reaches a log at any level, an error, or a repr."""

import logging
import traceback

import pytest

import powervm_fileio_connector as pfc
from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions

CANARY = 'xyzzy-CANARY-42'


@pytest.fixture(autouse=True)
def everything_is_logged(caplog):
    caplog.set_level(1)
    logging.getLogger('powervm_fileio_connector').setLevel(1)


def texts(caplog, error=None):
    yield caplog.text
    yield from (str(vars(record)) for record in caplog.records)
    if error is not None:
        yield from (str(error), repr(error), str(error.kwargs),
                    ''.join(traceback.format_exception(error)))


@pytest.mark.parametrize('export', [
    f'cluster1:{CANARY}', f'mds1,mds2:/cluster1:{CANARY}', f'//user:{CANARY}@nas/share'])
@pytest.mark.parametrize('call', ['attach', 'detach', 'extend', 'paths', 'available'])
def test_a_password_in_an_export_is_shown_nowhere(connector, caplog, export, call):
    volume = {'driver_volume_type': 'vzstorage',
              'data': {'export': export, 'name': 'volume-1',
                       'options': f'-o username=u,password={CANARY}'}}
    act = {'attach': connector.connect_volume, 'extend': connector.extend_volume,
           'detach': lambda volume: connector.disconnect_volume(volume, None),
           'paths': connector.get_volume_paths,
           'available': connector.get_all_available_volumes}[call]
    error = None
    try:
        act(volume)
    except exceptions.FileIOConnectorError as err:
        error = err
    assert (error is not None) == (call in ('attach', 'extend'))
    assert not any(CANARY in text for text in texts(caplog, error))


@pytest.mark.parametrize('fails', [False, True])
def test_the_password_of_the_session_is_shown_nowhere(novalink, config, caplog, make_volume, fails):
    for option, value in {
            'novalink_port': 1 if fails else novalink.port, 'novalink_protocol': 'http',
            'novalink_username': 'padmin', 'novalink_password': CANARY}.items():
        config.set_override(option, value, group=conf.GROUP)
    connector = pfc.FileIOConnector('sudo', conf=config, lpar_uuid=novalink.lpars[0].uuid)
    error = None
    try:
        connector.connect_volume({'path': make_volume()})
    except exceptions.NovaLinkUnavailable as err:
        error = err
    assert (error is not None) == fails
    assert not any(CANARY in text for text in texts(caplog, error))
    assert CANARY not in repr(connector.settings)
