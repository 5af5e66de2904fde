# SPDX-License-Identifier: Apache-2.0
"""No secret reaches a log at any level, an error, or a repr."""

import dataclasses
import logging
import re
import traceback
from typing import ClassVar
from xml.sax import saxutils

import pytest

import powervm_fileio_connector as pfc
from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.novalink import retry
from powervm_fileio_connector.simulator import ExpiredSession
from powervm_fileio_connector.simulator import Fault
from powervm_fileio_connector.simulator import LogonRefused

CANARY = 'xyzzy-CANARY-42'


@dataclasses.dataclass(frozen=True)
class QuotesLogon(Fault):
    """A server that refuses a logon with the words of the request."""

    before: str = ''
    status: int = 400
    scope: ClassVar[str] = '/rest/api/web/Logon'

    def on_request(self, exchange):
        if exchange.request.method != 'PUT':
            return None
        return exchange.error(self.status, 'Bad Request', self.before + saxutils.escape(
            exchange.request.body.decode()))


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


@pytest.mark.parametrize(('password', 'before'), [
    ('plain-CANARY', ''), ('C&ANARY<1>', ''), ('CANARY  two', ''), ('CANARY' * 60, 'x' * 700)],
    ids=['plain', 'escaped', 'blanks', 'cut'])
@pytest.mark.parametrize('is_renewal', [False, True])
def test_a_server_that_quotes_the_password_is_not_quoted(novalink, config, caplog, password, before,
                                                         is_renewal):
    for option, value in {'novalink_port': novalink.port, 'novalink_protocol': 'http',
                          'novalink_host': '127.0.0.1', 'novalink_username': 'padmin',
                          'novalink_password': password}.items():
        config.set_override(option, value, group=conf.GROUP)
    adapter = (novalink.adapter(novalink.session(password=password)) if is_renewal else None)
    connector = pfc.FileIOConnector('sudo', conf=config, adapter=adapter,
                                    lpar_uuid=novalink.lpars[0].uuid)
    novalink.faults.add(ExpiredSession(), QuotesLogon(before=before, times=None))
    with pytest.raises(exceptions.NovaLinkUnavailable, match='400; why is not shown') as caught:
        connector.disconnect_volume({'path': '/dev/shm/volume-1'}, None)
    assert not any(re.search('ANARY', text) for text in texts(caplog, caught.value))


def test_what_is_waited_for_is_logged_without_the_password(novalink, config, caplog, monkeypatch):
    monkeypatch.setattr(retry, 'SILENCE_S', 0.1)
    for option, value in {'novalink_port': novalink.port, 'novalink_protocol': 'http',
                          'novalink_host': '127.0.0.1', 'novalink_username': 'padmin',
                          'novalink_password': CANARY, 'rest_timeout_s': 1.0}.items():
        config.set_override(option, value, group=conf.GROUP)
    connector = pfc.FileIOConnector('sudo', conf=config, lpar_uuid=novalink.lpars[0].uuid)
    novalink.faults.add(QuotesLogon(times=None, status=503))
    with pytest.raises(exceptions.NovaLinkUnavailable) as caught:
        connector.disconnect_volume({'path': '/dev/shm/volume-1'}, None)
    assert 'does not serve requests' in caplog.text
    assert not any(CANARY in text for text in texts(caplog, caught.value))


def test_a_refusal_of_a_logon_is_quoted_otherwise(novalink, config):
    config.set_override('novalink_port', novalink.port, group=conf.GROUP)
    for option, value in {'novalink_protocol': 'http', 'novalink_host': '127.0.0.1',
                          'novalink_username': 'padmin', 'novalink_password': CANARY}.items():
        config.set_override(option, value, group=conf.GROUP)
    connector = pfc.FileIOConnector('sudo', conf=config, lpar_uuid=novalink.lpars[0].uuid)
    novalink.faults.add(LogonRefused(times=None))
    with pytest.raises(exceptions.NovaLinkUnavailable, match='user name or the password is wrong'):
        connector.disconnect_volume({'path': '/dev/shm/volume-1'}, None)
