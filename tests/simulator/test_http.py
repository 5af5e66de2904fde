# SPDX-License-Identifier: Apache-2.0
"""Requests that are wrong, hostile, too large or too slow are refused, and the server goes on."""

import contextlib
import json
import random
import socket
import threading

import psutil
import pytest

from powervm_fileio_connector import simulator as s
from powervm_fileio_connector.simulator import http_messages

GET = b'GET /rest/api/uom/ManagedSystem HTTP/1.1\r\nHost: localhost\r\n'


def send(sim, data):
    """Send bytes; the status of the answer, 0 if there is none, and the answer."""
    with socket.create_connection(('127.0.0.1', sim.port), timeout=20) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        answer = b''
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(65536):
                answer += data
    return (int(answer.split()[1]) if answer else 0), answer


@pytest.mark.parametrize(('status', 'data'), [
    (413, GET + b'Content-Length: 1500000000\r\n\r\n'),
    (400, GET + b'Content-Length: -1\r\n\r\n'),
    (400, GET + b'Content-Length: +5\r\n\r\nabcde'),
    (400, GET + b'Content-Length: many\r\n\r\n'),
    (400, GET + b'Content-Length: ' + b'9' * 5000 + b'\r\n\r\n'),
    (400, GET + b'Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef'),
    (411, GET + b'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n'),
    (400, b'GET //[ HTTP/1.1\r\n\r\n'),
    (400, b'GET http://localhost/rest HTTP/1.1\r\n\r\n'),
    (400, b'GET /rest/%00/%1b HTTP/1.1\r\n\r\n'),
    (400, b'GET /rest /api HTTP/1.1\r\n\r\n'),
    (400, b'get / HTTP/1.1\r\n\r\n'),
    (400, b'GET / HTTP/3\r\n\r\n'),
    (400, b'nonsense\r\n\r\n'),
    (400, b'\x16\x03\x01\x02\x00\x01\r\n\r\n'),
    (400, b'GET / HTTP/1.1\r\nno header\r\n\r\n'),
    (400, b'GET / HTTP/1.1\n\n'),
    (431, b'GET / HTTP/1.1\r\nA: ' + b'x' * 200_000 + b'\r\n\r\n')],
    ids=lambda value: str(value)[:60])
def test_request_that_is_none_is_refused_with_the_reason(novalink, status, data):
    got, answer = send(novalink, data)
    assert got == status
    assert len(answer.partition(b'\r\n\r\n')[2]) > 10
    assert novalink.adapter().read('LogicalPartition').status == 200


def test_request_that_does_not_come_is_not_waited_for(novalink, monkeypatch):
    monkeypatch.setattr(http_messages, '_RECEIVE_S', 0.2)
    for started in (GET, GET + b'Content-Length: 10\r\n\r\n12345'):
        with socket.create_connection(('127.0.0.1', novalink.port), timeout=20) as connection:
            connection.sendall(started)
            assert connection.recv(65536).startswith(b'HTTP/1.1 408 ')


def test_large_body_without_a_session_is_not_kept_and_is_answered_by_401(novalink):
    length = 20_000_000
    head = (f'POST /rest/api/uom/VirtualIOServer/{novalink.vios_uuid} HTTP/1.1\r\n'
            f'Content-Length: {length}\r\n\r\n')
    assert send(novalink, head.encode() + b'x' * length)[0] == 401
    assert novalink.requests.records('POST')[-1].bytes_in == 0


def test_error_of_the_simulator_is_answered_and_printed(novalink, monkeypatch, capsys):
    def fail(**_):
        raise ZeroDivisionError('for a test')

    monkeypatch.setattr(novalink.state, 'partitions', fail)
    with pytest.raises(Exception, match='for a test'):
        novalink.adapter().read('LogicalPartition')
    assert 'for a test' in capsys.readouterr().err


ADMIN = b' /simulator/restart HTTP/1.1\r\nContent-Type: text/plain\r\n'


@pytest.mark.parametrize(('status', 'headers'), [
    (200, b'Host: localhost:{port}\r\n'), (200, b'Host: [::1]:{port}\r\n'),
    (200, b'Host: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n'),
    (403, b''), (403, b'Host: rebound.example.org:{port}\r\n'),
    (403, b'Host: localhost:{port}\r\nOrigin: https://page.example.org\r\n'),
    (403, b'Host: localhost:{port}\r\nOrigin: null\r\n'),
    (403, b'Host: localhost:{port}\r\nOrigin: http://localhost:1\r\n')])
def test_web_page_of_another_origin_cannot_change_the_state(novalink, status, headers):
    kept = novalink.session()
    headers = headers.replace(b'{port}', str(novalink.port).encode())
    assert send(novalink, b'POST' + ADMIN + headers + b'\r\n')[0] == status
    assert novalink.sessions.count() == (0 if status == 200 else 1)
    assert kept is not None


@pytest.mark.parametrize('address', ['/simulator', '/simulator/'])
def test_simulator_says_that_it_is_one(novalink, address):
    status, answer = send(novalink, f'GET {address} HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode())
    assert status == 200
    assert json.loads(answer.partition(b'\r\n\r\n')[2])['simulator'] == 'NovaLink'


def test_too_deep_json_is_refused(novalink):
    body = b'[' * 60_000
    head = f'POST /simulator/faults HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}'
    assert send(novalink, head.encode() + b'\r\n\r\n' + body)[0] == 400


def hostile(rng):
    """A request that somebody sends who means no good, or does not know better."""
    pieces = [b'GET', b'POST', b'PUT', b' ', b'/', b'/rest/api/web/Logon', b'/simulator/state',
              b'%', b'HTTP/1.1', b'\r\n', b'\n', b'Content-Length: ', b':',
              b'Transfer-Encoding: chunked', rng.randbytes(20),
              str(rng.randrange(-10, 10**rng.randrange(1, 30))).encode(),
              b'<a>' * rng.randrange(20_000), b'\r\n\r\n', b'x' * rng.randrange(100_000)]
    known = (b'PUT /rest/api/web/Logon HTTP/1.1\r\nContent-Length: %d\r\n\r\n'
             % rng.choice([0, 10, 60_000, 10**9]))
    return rng.choice([b'', GET, known]) + b''.join(rng.choices(pieces, k=rng.randrange(1, 20)))


def test_1000_hostile_requests_leave_it_answering_below_200_mib():
    rng = random.Random(7)
    with s.NovaLinkProcess() as sim:
        adapter = sim.adapter()
        process = psutil.Process(sim._process.pid)
        requests = [hostile(rng) for _ in range(1000)]

        def attack(some):
            for request in some:
                send(sim, request)

        # Besides, connections that begin a request and say no more.
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                connection = stack.enter_context(socket.create_connection(('127.0.0.1', sim.port)))
                connection.sendall(GET + b'Content-Length: 60000\r\n\r\n')
            threads = [threading.Thread(target=attack, args=(requests[i::8],)) for i in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(120)
                assert not thread.is_alive()
            assert adapter.read('LogicalPartition').status == 200
            assert process.memory_info().rss < 200 * 2**20
        sim.check_invariants()


def test_a_request_that_is_made_while_a_connection_is_accepted_is_answered(novalink):
    """As by a session of pypowervm that Python happens to collect in the thread that accepts."""
    class LogsOff(s.Fault):
        def on_connect(self):
            with socket.create_connection(('127.0.0.1', novalink.port), timeout=20) as client:
                client.sendall(GET + b'\r\n')
                answers.append(client.recv(20))
            return False

    answers = []
    novalink.faults.add(LogsOff(times=1))
    assert send(novalink, GET + b'\r\n')[0] == 401
    assert [one.split()[1] for one in answers] == [b'401']
