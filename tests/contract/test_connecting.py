# SPDX-License-Identifier: Apache-2.0
"""Connecting to NovaLink: over TLS, by several addresses, and to hosts that say nothing."""

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.novalink import exchange
from powervm_fileio_connector.novalink import retry
from tests.contract.conftest import client_of
from tests.contract.conftest import deadline


@pytest.fixture
def certificate(tmp_path):
    """A file with a certificate of 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, 'novalink')])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(
        key.public_key()).serial_number(1).not_valid_before(now).not_valid_after(
        now + datetime.timedelta(hours=1)).add_extension(x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address('127.0.0.1'))]), critical=False).sign(
        key, hashes.SHA256())
    path = tmp_path / 'novalink.pem'
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    return path


def relay(client, port):
    """Carry what a client and the server on a port send, until the client closes."""
    with client, socket.create_connection(('127.0.0.1', port)) as server:
        back = threading.Thread(target=carry, args=(server, client))
        back.start()
        carry(client, server)
        server.shutdown(socket.SHUT_WR)
        back.join()


def carry(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)


@pytest.fixture
def tls_port(novalink, certificate):
    """Where the simulator is reached over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with contextlib.closing(socket.create_server(('127.0.0.1', 0))) as listener:
        def serve():
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                relay(context.wrap_socket(client, server_side=True), novalink.port)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.fixture
def silent_port():
    """Of a server that takes connections, and says nothing."""
    with contextlib.closing(socket.create_server(('127.0.0.1', 0))) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def full_port():
    """Of a server on two addresses that lets nobody connect any more."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(contextlib.closing(socket.socket()))
        listener.bind(('0.0.0.0', 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for address in ('127.0.0.1', '127.0.0.2') * 4:
            client = stack.enter_context(contextlib.closing(socket.socket()))
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect((address, port))
        yield port


@pytest.fixture
def client_at(novalink):
    """Make a client of a session, by another address than the simulator's own."""
    adapter = novalink.adapter()
    own = adapter.session.dest

    def make(address):
        adapter.session.dest = address
        return client_of(adapter)

    yield make
    # pypowervm logs off when the session is dropped.
    adapter.session.dest = own


@pytest.fixture
def resolving(monkeypatch):
    """Have a host name resolved by a function of the test's."""
    known = socket.getaddrinfo

    def resolve_by(resolver):
        monkeypatch.setattr(socket, 'getaddrinfo', lambda host, *args, **kwargs: (
            resolver(known, *args, **kwargs) if host == 'novalink.test'
            else known(host, *args, **kwargs)))
    return resolve_by


def both(known, *args, **kwargs):
    return [found for address in ('127.0.0.2', '127.0.0.1')
            for found in known(address, *args, **kwargs)]


def test_requests_go_over_tls(client_at, lpar, tls_port):
    client = client_at(f'https://127.0.0.1:{tls_port}')
    assert client.lpar(lpar, deadline()).uuid == lpar


def test_the_first_address_that_lets_one_connect_is_taken(novalink, client_at, lpar, resolving):
    resolving(both)
    client = client_at(f'http://novalink.test:{novalink.port}')
    assert client.lpar(lpar, deadline()).uuid == lpar


def test_all_addresses_together_are_tried_until_the_deadline(client_at, lpar, resolving, full_port):
    resolving(both)
    clock = deadline(1.0)
    with pytest.raises(exceptions.NovaLinkUnavailable, match='did not reach the server'):
        client_at(f'http://novalink.test:{full_port}').lpar(lpar, clock)
    clock.end += 0.7
    assert not clock.has_passed


def test_a_name_server_that_says_nothing_is_waited_for_until_the_deadline(client_at, lpar,
                                                                          resolving):
    ended = threading.Event()
    resolving(lambda known, *args, **kwargs: ended.wait(20))
    try:
        with pytest.raises(exceptions.NovaLinkUnavailable,
                           match=r'did not reach the server.*: the address of novalink\.test'):
            client_at('http://novalink.test:12080').lpar(lpar, deadline(0.5))
    finally:
        ended.set()


def test_a_name_that_cannot_be_resolved_is_told(client_at, lpar, resolving):
    def unknown(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, 'Name or service not known')

    resolving(unknown)
    with pytest.raises(exceptions.NovaLinkUnavailable, match='Name or service not known'):
        client_at('http://novalink.test:12080').lpar(lpar, deadline(0.5))


@pytest.mark.parametrize('seconds', [1.0, 60.0])
def test_a_server_that_never_answers_to_tls_is_given_up(client_at, lpar, silent_port, seconds,
                                                        monkeypatch):
    monkeypatch.setattr(exchange, 'CONNECT_TIMEOUT_S', 1.0)
    monkeypatch.setattr(retry, 'PATIENCE_S', 0.0)
    clock = deadline(seconds)
    with pytest.raises(exceptions.NovaLinkUnavailable, match='did not reach the server'):
        client_at(f'https://127.0.0.1:{silent_port}').lpar(lpar, clock)
    assert clock.left() > seconds - 5
